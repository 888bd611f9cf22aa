//! Processes and threads of a cgroup.

use crate::cgroup::error::ReadError;
use crate::cgroup::file::KeptFile;
use crate::cgroup::mounts::Hierarchies;
use crate::cgroup::walk::below;

/// Tasks (processes and threads) of a cgroup with all its descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PidsUsage {
    /// Tasks now (`kernel/cgroup/pids.c`, `pids_current_read`).
    pub current: Option<u64>,
    /// The most that may exist; `None` if there is no limit or it is unknown.
    pub limit: Option<u64>,
}

/// The open files of one cgroup that tell its tasks.
#[derive(Debug)]
pub struct PidsFiles {
    current: Option<KeptFile>,
    limit: Option<KeptFile>,
}

impl PidsFiles {
    /// Opens `pids.current` and `pids.max`, which are the same on v1 and v2, of the cgroup at a
    /// path such as `/docker/abc`; `None` if there are none, as in the root.
    ///
    /// # Errors
    ///
    /// If a file is there but cannot be opened.
    pub fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
        let Some(controller) = hierarchies.controller("pids") else { return Ok(None) };
        let directory = below(controller.root, path);
        let current = KeptFile::open(&directory.join("pids.current"))?;
        let limit = KeptFile::open(&directory.join("pids.max"))?;
        Ok((current.is_some() || limit.is_some()).then_some(Self { current, limit }))
    }

    /// Reads the number of tasks and its limit.
    ///
    /// # Errors
    ///
    /// [`ReadError::Vanished`] when the cgroup was removed.
    pub fn read_pids(&self, buffer: &mut Vec<u8>) -> Result<PidsUsage, ReadError> {
        let current = self.current.as_ref().map(|file| file.read_number(buffer)).transpose()?;
        let limit = match &self.limit {
            Some(file) => file.read_limit(buffer)?,
            None => None,
        };
        Ok(PidsUsage { current, limit })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::cgroup::find_hierarchies;

    #[test]
    fn tasks_and_limit_are_read_where_they_are() {
        let tree = tempfile::tempdir().unwrap();
        let directory = tree.path().join("pids/abc");
        fs::create_dir_all(&directory).unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        assert!(PidsFiles::open(&hierarchies, "/abc").unwrap().is_none());
        assert!(PidsFiles::open(&Hierarchies::default(), "/abc").unwrap().is_none());

        fs::write(directory.join("pids.current"), "7\n").unwrap();
        fs::write(directory.join("pids.max"), "max\n").unwrap();
        let files = PidsFiles::open(&hierarchies, "/abc").unwrap().unwrap();
        let mut buffer = Vec::new();
        let expected = PidsUsage { current: Some(7), limit: None };
        assert_eq!(files.read_pids(&mut buffer).unwrap(), expected);
        fs::write(directory.join("pids.max"), "512\n").unwrap();
        assert_eq!(files.read_pids(&mut buffer).unwrap().limit, Some(512));
    }
}
