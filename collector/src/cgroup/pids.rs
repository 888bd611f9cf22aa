//! Processes and threads of a cgroup.

use crate::cgroup::error::ReadError;
use crate::cgroup::file::KeptFile;
use crate::cgroup::mounts::Hierarchies;
use crate::cgroup::walk::below;

/// The open file of one cgroup that tells its tasks.
#[derive(Debug)]
pub struct PidsFiles {
    current: KeptFile,
}

impl PidsFiles {
    /// Opens `pids.current`, which is the same on v1 and v2, of the cgroup at a path such as
    /// `/docker/abc`; `None` if there is none, as in the root.
    ///
    /// # Errors
    ///
    /// If the file is there but cannot be opened.
    pub fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
        let Some(controller) = hierarchies.controller("pids") else { return Ok(None) };
        let current = KeptFile::open(&below(controller.root, path).join("pids.current"))?;
        Ok(current.map(|current| Self { current }))
    }

    /// Reads the number of tasks (threads, not processes) of the cgroup with all its descendants
    /// (`kernel/cgroup/pids.c`, `pids_current_read`).
    ///
    /// # Errors
    ///
    /// [`ReadError::Vanished`] when the cgroup was removed.
    pub fn read_pids(&self, buffer: &mut Vec<u8>) -> Result<u64, ReadError> {
        self.current.read_number(buffer)
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &KeptFile> {
        [&self.current].into_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::cgroup::find_hierarchies;

    #[test]
    fn tasks_are_read_where_they_are() {
        let tree = tempfile::tempdir().unwrap();
        let directory = tree.path().join("pids/abc");
        fs::create_dir_all(&directory).unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        assert!(PidsFiles::open(&hierarchies, "/abc").unwrap().is_none());
        assert!(PidsFiles::open(&Hierarchies::default(), "/abc").unwrap().is_none());

        fs::write(directory.join("pids.current"), "7\n").unwrap();
        let files = PidsFiles::open(&hierarchies, "/abc").unwrap().unwrap();
        assert_eq!(files.read_pids(&mut Vec::new()).unwrap(), 7);
        fs::write(directory.join("pids.current"), "?\n").unwrap();
        assert!(files.read_pids(&mut Vec::new()).is_err());
    }
}
