//! The tree of cgroups.

use std::{
    fs::{self, DirEntry, Metadata},
    mem,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::cgroup::error::ReadError;

/// The most cgroups that a walk lists.
pub const MAX_CGROUPS: usize = 65_536;

/// The most levels below the root that a walk goes down.
pub const MAX_DEPTH: usize = 64;

/// One cgroup of a hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Inode of its directory, which is the kernel's cgroup id and unique only inside one
    /// hierarchy (`include/linux/cgroup.h`, `cgroup_id`; the same number since Linux 5.5).
    pub id: u64,
    /// Path below the root of the hierarchy, such as `/docker/abc`; `/` for the root.
    pub path: String,
    /// Index of the cgroup that it is in; `None` for the root.
    pub parent: Option<usize>,
}

/// What a walk could not list.
#[derive(Debug, Default)]
pub struct Walk {
    /// [`MAX_CGROUPS`] was reached: there are more.
    pub too_many: bool,
    /// [`MAX_DEPTH`] was reached: there are deeper ones.
    pub too_deep: bool,
    /// Directories that could not be read or whose name is not UTF-8; never because they vanished.
    pub failures: Vec<ReadError>,
}

/// Lists all cgroups at and below a hierarchy's root, parents before their children.
///
/// `nodes` is overwritten, and its memory is used again. A cgroup that vanishes during the walk is
/// left out, or listed without children if it was seen before.
///
/// Most cgroups have no children, and their directories are not opened: a directory's link count
/// is the number of its subdirectories plus two (`fs/kernfs/inode.c`, `kernfs_refresh_inode`; also
/// on ext4, xfs and tmpfs). File systems that do not count say 1; there every directory is opened.
///
/// # Errors
///
/// Only if the root is not there.
pub fn walk(root: &Path, nodes: &mut Vec<Node>) -> Result<Walk, ReadError> {
    walk_within(root, nodes, MAX_CGROUPS, MAX_DEPTH)
}

/// Whether a directory's link count says that it has no subdirectory.
pub(crate) fn is_leaf(directory: &Metadata) -> bool {
    directory.nlink() == 2
}

/// The place of a path below the root of a hierarchy in the file system.
pub(crate) fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn walk_within(
    root: &Path,
    nodes: &mut Vec<Node>,
    max_cgroups: usize,
    max_depth: usize,
) -> Result<Walk, ReadError> {
    let metadata =
        fs::metadata(root).map_err(|source| ReadError::Io { path: root.to_owned(), source })?;
    let mut walker = Walker { root, nodes, length: 0, max_cgroups, walk: Walk::default() };
    walker.add(metadata.ino(), None, "");
    // The directories with subdirectories that are still to be read, and how deep they are.
    let mut inner = if is_leaf(&metadata) { Vec::new() } else { vec![(0, 0)] };
    while let Some((index, depth)) = inner.pop() {
        if depth == max_depth {
            walker.walk.too_deep = true;
        } else if !walker.add_children(index, |child| inner.push((child, depth + 1))) {
            break;
        }
    }
    let Walker { length, walk, .. } = walker;
    nodes.truncate(length);
    Ok(walk)
}

struct Walker<'a> {
    root: &'a Path,
    nodes: &'a mut Vec<Node>,
    /// How many nodes belong to this walk; those behind are of the last one.
    length: usize,
    max_cgroups: usize,
    walk: Walk,
}

impl Walker<'_> {
    /// Adds the subdirectories of a node, and returns those that have subdirectories themselves.
    /// `false` if there is no room for more.
    fn add_children(&mut self, parent: usize, mut found_inner: impl FnMut(usize)) -> bool {
        let directory = below(self.root, &self.nodes[parent].path);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                self.failed(ReadError::from_io(&directory, error));
                return true;
            }
        };
        for entry in entries {
            match entry.and_then(|entry| subdirectory(&entry).map(|found| (entry, found))) {
                Err(error) => self.failed(ReadError::from_io(&directory, error)),
                Ok((_, None)) => {}
                Ok(_) if self.length >= self.max_cgroups => {
                    self.walk.too_many = true;
                    return false;
                }
                Ok((entry, Some(metadata))) => match entry.file_name().to_str() {
                    None => {
                        let what = "its name is not UTF-8";
                        self.failed(ReadError::Malformed { path: entry.path(), what });
                    }
                    Some(name) => {
                        let index = self.add(metadata.ino(), Some(parent), name);
                        if !is_leaf(&metadata) {
                            found_inner(index);
                        }
                    }
                },
            }
        }
        true
    }

    fn add(&mut self, id: u64, parent: Option<usize>, name: &str) -> usize {
        let index = self.length;
        if index == self.nodes.len() {
            self.nodes.push(Node::default());
        }
        self.length += 1;
        let mut path = mem::take(&mut self.nodes[index].path);
        path.clear();
        if let Some(parent) = parent {
            path.push_str(self.nodes[parent].path.trim_end_matches('/'));
        }
        path.push('/');
        path.push_str(name);
        self.nodes[index] = Node { id, path, parent };
        index
    }

    fn failed(&mut self, error: ReadError) {
        if !matches!(error, ReadError::Vanished) {
            self.walk.failures.push(error);
        }
    }
}

/// The metadata of an entry if it is a directory.
fn subdirectory(entry: &DirEntry) -> std::io::Result<Option<Metadata>> {
    if entry.file_type()?.is_dir() { entry.metadata().map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    use super::*;

    fn tree(directories: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for directory in directories {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        fs::write(root.path().join("cgroup.procs"), "").unwrap();
        root
    }

    fn paths(nodes: &[Node]) -> Vec<&str> {
        let mut paths: Vec<_> = nodes.iter().map(|node| node.path.as_str()).collect();
        paths.sort_unstable();
        paths
    }

    #[test]
    fn every_directory_is_listed_after_its_parent() {
        let tree = tree(&["docker/abc/init", "docker/def", "system.slice"]);
        let mut nodes = Vec::new();
        let walk = walk(tree.path(), &mut nodes).unwrap();
        assert!(!walk.too_many && !walk.too_deep && walk.failures.is_empty());
        let expected =
            ["/", "/docker", "/docker/abc", "/docker/abc/init", "/docker/def", "/system.slice"];
        assert_eq!(paths(&nodes), expected);
        assert_eq!((nodes[0].path.as_str(), nodes[0].parent), ("/", None));
        for (index, node) in nodes.iter().enumerate().skip(1) {
            let parent = node.parent.unwrap();
            assert!(parent < index);
            let parent = nodes[parent].path.trim_end_matches('/');
            assert_eq!(node.path.rsplit_once('/').unwrap().0, parent);
            let directory = below(tree.path(), &node.path);
            assert_eq!(node.id, fs::metadata(directory).unwrap().ino());
        }
    }

    #[test]
    fn the_list_of_the_last_walk_is_overwritten() {
        let tree = tree(&["a/b", "c"]);
        let mut nodes = Vec::new();
        walk(tree.path(), &mut nodes).unwrap();
        fs::remove_dir_all(tree.path().join("a")).unwrap();
        walk(tree.path(), &mut nodes).unwrap();
        assert_eq!(paths(&nodes), ["/", "/c"]);
    }

    #[test]
    fn reaching_a_limit_is_reported() {
        let tree = tree(&["a/b/c", "d"]);
        let mut nodes = Vec::new();
        let walk = walk_within(tree.path(), &mut nodes, 3, 9).unwrap();
        assert!(walk.too_many && !walk.too_deep);
        assert_eq!(nodes.len(), 3);
        let walk = walk_within(tree.path(), &mut nodes, 5, 2).unwrap();
        assert!(!walk.too_many && walk.too_deep);
        assert_eq!(paths(&nodes), ["/", "/a", "/a/b", "/d"]);
        let walk = walk_within(tree.path(), &mut nodes, 5, 3).unwrap();
        assert!(!walk.too_many && !walk.too_deep);
        assert_eq!(nodes.len(), 5);
    }

    #[test]
    fn a_missing_root_is_an_error_with_its_path() {
        let error = walk(Path::new("/nonexistent"), &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nonexistent");
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_reported() {
        let tree = tree(&["a"]);
        fs::create_dir(tree.path().join(OsStr::from_bytes(b"\xff"))).unwrap();
        let mut nodes = Vec::new();
        let walk = walk(tree.path(), &mut nodes).unwrap();
        assert_eq!(paths(&nodes), ["/", "/a"]);
        assert_eq!(walk.failures.len(), 1);
    }

    #[test]
    fn kernfs_and_temporary_directories_count_their_subdirectories() {
        let tree = tree(&["a/b", "a/c", "d"]);
        for root in [Path::new("/sys/kernel/mm"), tree.path()] {
            let mut pending = vec![root.to_owned()];
            while let Some(directory) = pending.pop() {
                let links = fs::metadata(&directory).unwrap().nlink();
                let entries = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap());
                let inner: Vec<_> =
                    entries.filter(|e| e.file_type().unwrap().is_dir()).map(|e| e.path()).collect();
                assert!(links == inner.len() as u64 + 2 || links == 1, "{}", directory.display());
                pending.extend(inner);
            }
        }
    }
}
