//! The processes of a cgroup.

use std::{
    cell::{Cell, RefCell},
    fs, io,
    path::{Path, PathBuf},
};

use nix::errno::Errno;

use crate::cgroup::{
    directory::Directory,
    error::ReadError,
    file::read_once,
    mounts::Hierarchies,
    walk::{below, is_leaf},
};
use tare_parsers::procs::{parse_first_pid, parse_pids, parse_process_count};

/// The most cgroups that are searched for a process.
pub const MAX_SEARCHED: usize = 256;

/// Any process of the cgroup at a path such as `/docker/abc` or of its descendants, the nearest
/// first; `None` if it has none, or none within [`MAX_SEARCHED`] cgroups.
///
/// The unified hierarchy is asked first, then the v1 ones that have the path. Inner cgroups of v2
/// have no processes of their own. Processes outside the reader's PID namespace, which the kernel
/// lists as 0, do not count.
///
/// # Errors
///
/// If a `cgroup.procs` is there but cannot be read.
pub fn first_pid(hierarchies: &Hierarchies, path: &str) -> Result<Option<u32>, ReadError> {
    search_all(hierarchies, path, parse_first_pid)
}

/// Processes of the cgroup at a path and of its descendants, `count_max` at most, sorted. The
/// search is that of [`first_pid`].
///
/// # Errors
///
/// If a `cgroup.procs` is there but cannot be read.
pub fn all_pids(
    hierarchies: &Hierarchies,
    path: &str,
    count_max: usize,
) -> Result<Vec<u32>, ReadError> {
    let pids = RefCell::new(Vec::new());
    for root in hierarchies.roots() {
        let mut buffer = Vec::new();
        search(below(root, path), &mut buffer, &|text| {
            let mut pids = pids.borrow_mut();
            let room = count_max - pids.len();
            pids.extend(parse_pids(text).take(room));
            (pids.len() == count_max).then_some(())
        })?;
        if !pids.borrow().is_empty() {
            break;
        }
    }
    let mut pids = pids.into_inner();
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// Whether a process is in the cgroup at a path or in one of its descendants, be it in the reader's
/// PID namespace or not. The search is that of [`first_pid`].
///
/// # Errors
///
/// If a `cgroup.procs` is there but cannot be read.
pub fn has_processes(hierarchies: &Hierarchies, path: &str) -> Result<bool, ReadError> {
    let any = |text: &[u8]| (!text.is_empty()).then_some(());
    Ok(search_all(hierarchies, path, any)?.is_some())
}

/// The processes of one cgroup and of those below it.
#[derive(Debug)]
pub struct ProcessLists {
    directory: Directory,
}

impl ProcessLists {
    /// Those of the cgroup at a path in the hierarchy that limits tasks; `None` if it is not there.
    pub fn find(hierarchies: &Hierarchies, path: &str) -> Option<Self> {
        let directory = Directory::new(hierarchies.controller("pids")?.root, path);
        directory.with("", Path::is_dir).then_some(Self { directory })
    }

    /// Any of them, the nearest to the top first; `None` if there is none that the reader sees.
    /// Does not allocate if there are no cgroups below.
    ///
    /// # Errors
    ///
    /// If a `cgroup.procs` is there but cannot be read.
    pub fn first(&self, buffer: &mut Vec<u8>) -> Result<Option<u32>, ReadError> {
        if self.is_leaf() {
            return self.with_list(|list| ask_in(list, buffer, &parse_first_pid));
        }
        Ok(search(self.directory.join(""), buffer, &parse_first_pid)?.found)
    }

    /// How many there are; `None` if the cgroup is gone, or if [`MAX_SEARCHED`] cgroups or more
    /// are to be searched. Does not allocate if there are no cgroups below.
    ///
    /// # Errors
    ///
    /// If a `cgroup.procs` is there but cannot be read.
    pub fn count(&self, buffer: &mut Vec<u8>) -> Result<Option<usize>, ReadError> {
        if self.is_leaf() {
            let count = |text: &[u8]| Some(parse_process_count(text));
            return self.with_list(|list| ask_in(list, buffer, &count));
        }
        let processes = Cell::new(None);
        let count = |text: &[u8]| -> Option<()> {
            processes.set(Some(processes.get().unwrap_or(0) + parse_process_count(text)));
            None
        };
        let searched = search(self.directory.join(""), buffer, &count)?.searched;
        Ok(processes.get().filter(|_| searched < MAX_SEARCHED))
    }

    fn is_leaf(&self) -> bool {
        let metadata = self.directory.with("", |directory| fs::metadata(directory));
        metadata.is_ok_and(|metadata| is_leaf(&metadata))
    }

    fn with_list<T>(&self, then: impl FnOnce(&Path) -> T) -> T {
        self.directory.with("cgroup.procs", then)
    }
}

/// The first answer to the text of a `cgroup.procs`.
fn search_all<T>(
    hierarchies: &Hierarchies,
    path: &str,
    ask: impl Fn(&[u8]) -> Option<T>,
) -> Result<Option<T>, ReadError> {
    let mut buffer = Vec::new();
    for root in hierarchies.roots() {
        let Search { found, .. } = search(below(root, path), &mut buffer, &ask)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The end of a search.
struct Search<T> {
    /// The first answer.
    found: Option<T>,
    /// How many cgroups were searched.
    searched: usize,
}

fn search<T>(
    directory: PathBuf,
    buffer: &mut Vec<u8>,
    ask: &impl Fn(&[u8]) -> Option<T>,
) -> Result<Search<T>, ReadError> {
    let mut level = vec![directory];
    let mut searched = 0;
    while !level.is_empty() {
        for directory in &level {
            let found = ask_in(&directory.join("cgroup.procs"), buffer, ask)?;
            searched += 1;
            if found.is_some() || searched == MAX_SEARCHED {
                return Ok(Search { found, searched });
            }
        }
        let room = MAX_SEARCHED - searched;
        level = level.iter().flat_map(|directory| children(directory)).take(room).collect();
    }
    Ok(Search { found: None, searched })
}

fn ask_in<T>(
    list: &Path,
    buffer: &mut Vec<u8>,
    ask: &impl Fn(&[u8]) -> Option<T>,
) -> Result<Option<T>, ReadError> {
    match read_once(list, buffer) {
        Ok(text) => Ok(text.and_then(ask)),
        Err(ReadError::Vanished) => Ok(None),
        Err(ReadError::Io { source, .. }) if is_threaded(&source) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The processes of a threaded cgroup are those of the domain above it
/// (`kernel/cgroup/cgroup.c`, `cgroup_procs_start`).
fn is_threaded(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32)
}

fn children(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let inner = fs::metadata(directory).is_ok_and(|metadata| !is_leaf(&metadata));
    let entries = inner.then(|| fs::read_dir(directory).ok()).flatten();
    entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cgroup::mounts::LegacyHierarchy;

    fn hybrid(root: &Path) -> Hierarchies {
        let legacy = |name: &str| LegacyHierarchy {
            controllers: vec![name.to_owned()],
            path: root.join(name),
            id: None,
        };
        Hierarchies {
            unified: Some(root.join("unified")),
            legacy: vec![legacy("cpu"), legacy("memory")],
            ..Hierarchies::default()
        }
    }

    fn put(root: &Path, cgroup: &str, pids: &str) {
        fs::create_dir_all(root.join(cgroup)).unwrap();
        fs::write(root.join(cgroup).join("cgroup.procs"), pids).unwrap();
    }

    #[test]
    fn inner_cgroups_are_searched_through() {
        let tree = tempfile::tempdir().unwrap();
        put(tree.path(), "unified/abc", "");
        put(tree.path(), "unified/abc/supervisor", "");
        put(tree.path(), "unified/abc/payload/deep", "0\n4711\n");
        let hierarchies = hybrid(tree.path());
        assert_eq!(first_pid(&hierarchies, "/abc").unwrap(), Some(4711));
        assert_eq!(first_pid(&hierarchies, "/abc/supervisor").unwrap(), None);
        assert_eq!(first_pid(&hierarchies, "/gone").unwrap(), None);
    }

    #[test]
    fn all_processes_are_found_once() {
        let tree = tempfile::tempdir().unwrap();
        put(tree.path(), "unified/abc", "9\n");
        put(tree.path(), "unified/abc/payload", "0\n4711\n12\n");
        put(tree.path(), "memory/abc", "9\n12\n4711\n");
        let hierarchies = hybrid(tree.path());
        assert_eq!(all_pids(&hierarchies, "/abc", 10).unwrap(), [9, 12, 4711]);
        assert_eq!(all_pids(&hierarchies, "/abc", 2).unwrap().len(), 2);
        assert_eq!(all_pids(&hierarchies, "/gone", 2).unwrap(), [0; 0]);
    }

    #[test]
    fn v1_is_asked_where_the_unified_hierarchy_has_none() {
        let tree = tempfile::tempdir().unwrap();
        put(tree.path(), "unified/abc", "");
        put(tree.path(), "memory/abc", "12\n13\n");
        assert_eq!(first_pid(&hybrid(tree.path()), "/abc").unwrap(), Some(12));
    }

    #[test]
    fn processes_of_other_namespaces_are_processes() {
        let tree = tempfile::tempdir().unwrap();
        put(tree.path(), "unified/empty", "");
        put(tree.path(), "memory/full/inner", "0\n");
        let hierarchies = hybrid(tree.path());
        assert!(has_processes(&hierarchies, "/full").unwrap());
        assert!(!has_processes(&hierarchies, "/empty").unwrap());
    }

    #[test]
    fn processes_of_all_levels_are_counted() {
        let tree = tempfile::tempdir().unwrap();
        let mut buffer = Vec::new();
        let mut count = |cgroup| {
            ProcessLists { directory: Directory::new(tree.path(), cgroup) }.count(&mut buffer)
        };
        put(tree.path(), "abc", "7\n");
        put(tree.path(), "abc/payload/deep", "0\n4711\n");
        put(tree.path(), "empty", "");
        assert_eq!(count("abc").unwrap(), Some(3));
        assert_eq!(count("empty").unwrap(), Some(0));
        assert_eq!(count("gone").unwrap(), None);
        for index in 0..MAX_SEARCHED {
            put(tree.path(), &format!("many/{index}"), "1\n");
        }
        assert_eq!(count("many").unwrap(), None, "more than are searched");
    }

    #[test]
    fn the_search_is_bounded() {
        let tree = tempfile::tempdir().unwrap();
        for index in 0..=MAX_SEARCHED {
            put(tree.path(), &format!("unified/abc/{index}"), "");
        }
        put(tree.path(), "unified/abc/0/deep", "5\n");
        assert_eq!(first_pid(&hybrid(tree.path()), "/abc").unwrap(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(text: Vec<u8>) {
            parse_first_pid(&text);
        }
    }
}
