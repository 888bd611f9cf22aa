//! The directory of a cgroup, as what is seldom read keeps it.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    sync::Arc,
};

/// More hierarchies than a host has.
const ROOTS_MAX: usize = 32;

/// A cgroup below the root of a hierarchy.
///
/// All directories of a cgroup share its path, and all of a hierarchy its root, where they are made
/// one after the other: whole paths took 1.3 KB of each cgroup.
#[derive(Clone, Debug)]
pub struct Directory {
    root: Arc<Path>,
    path: Arc<str>,
}

/// What the latest directories of this thread are made of.
#[derive(Default)]
struct Recent {
    roots: Vec<Arc<Path>>,
    path: Arc<str>,
}

thread_local! {
    static RECENT: RefCell<Recent> = RefCell::default();
    static PATH: RefCell<PathBuf> = const { RefCell::new(PathBuf::new()) };
}

impl Directory {
    /// The cgroup at a path such as `/docker/abc` below this root.
    pub fn new(root: &Path, path: &str) -> Self {
        RECENT.with_borrow_mut(|recent| Self { root: recent.root(root), path: recent.path(path) })
    }

    /// The whole path of a file in it.
    pub fn join(&self, file: &str) -> PathBuf {
        super::below(&self.root, &self.path).join(file)
    }

    /// Calls `then` with the whole path of a file in it, without allocation.
    pub fn with<T>(&self, file: &str, then: impl FnOnce(&Path) -> T) -> T {
        with_path(|whole| {
            whole.push(&*self.root);
            whole.push(self.path.trim_start_matches('/'));
            if !file.is_empty() {
                whole.push(file);
            }
            then(whole)
        })
    }
}

/// Calls `then` with an empty path, whose memory is used again.
pub fn with_path<T>(then: impl FnOnce(&mut PathBuf) -> T) -> T {
    let mut path = PATH.take();
    path.clear();
    let done = then(&mut path);
    PATH.set(path);
    done
}

/// This path of a cgroup, in memory that all who ask for the same one share.
pub fn shared_path(path: &str) -> Arc<str> {
    RECENT.with_borrow_mut(|recent| recent.path(path))
}

/// This directory, in memory that all who ask for the same one share.
pub fn shared(root: &Path) -> Arc<Path> {
    RECENT.with_borrow_mut(|recent| recent.root(root))
}

impl Recent {
    fn root(&mut self, wanted: &Path) -> Arc<Path> {
        if let Some(known) = self.roots.iter().find(|root| ***root == *wanted) {
            return Arc::clone(known);
        }
        self.roots.truncate(ROOTS_MAX - 1);
        let root: Arc<Path> = wanted.into();
        self.roots.insert(0, Arc::clone(&root));
        root
    }

    fn path(&mut self, wanted: &str) -> Arc<str> {
        if *self.path != *wanted {
            self.path = wanted.into();
        }
        Arc::clone(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_a_cgroup_share_what_is_the_same() {
        let [cpu, memory] = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory"].map(Path::new);
        let [one, two] = [cpu, memory].map(|root| Directory::new(root, "/docker/abc"));
        let other = Directory::new(cpu, "/docker/abd");
        assert!(Arc::ptr_eq(&one.path, &two.path) && Arc::ptr_eq(&one.root, &other.root));
        let whole = |directory: &Directory, file| directory.with(file, Path::to_path_buf);
        assert_eq!(whole(&two, "tasks"), Path::new("/sys/fs/cgroup/memory/docker/abc/tasks"));
        assert_eq!(two.join("tasks"), whole(&two, "tasks"));
        assert_eq!(whole(&other, ""), Path::new("/sys/fs/cgroup/cpu/docker/abd"));
        let root = Directory::new(cpu, "/");
        assert_eq!(whole(&root, "tasks"), Path::new("/sys/fs/cgroup/cpu/tasks"));
    }
}
