//! Processes from cgroup files.

use crate::{
    cgroup::{Hierarchies, KeptFile, ProcessLists, ReadError},
    families::{
        readers::{CgroupReader, ReadContext},
        walked::WalkLayout,
    },
};

/// Where the processes of one cgroup are listed.
#[derive(Debug)]
pub struct ProcessesFiles {
    lists: ProcessLists,
}

impl CgroupReader for ProcessesFiles {
    type Reading = Option<u64>;

    fn is_known(reading: &Self::Reading) -> bool {
        reading.is_some()
    }

    /// `cgroup.procs` of the cgroup and of those below it, in the hierarchy that limits tasks.
    fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
        Ok(ProcessLists::find(hierarchies, path).map(|lists| Self { lists }))
    }

    /// As seldom as settings: the kernel sorts the list for each read.
    fn is_due(context: &ReadContext<'_>) -> bool {
        context.due.details && context.reads_processes
    }

    fn read(
        &mut self,
        context: &mut ReadContext<'_>,
        latest: &mut Option<u64>,
    ) -> Result<(), ReadError> {
        *latest = None;
        let processes = self.lists.count(context.buffer)?;
        *latest = processes.map(|processes| processes as u64);
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = &KeptFile> {
        [].into_iter()
    }

    /// None stays open in any case.
    fn opens_on_demand(_: &WalkLayout) -> bool {
        false
    }

    /// The kernel keeps no count of processes.
    fn from_record(
        _: Option<&mut Self>,
        _: &mut ReadContext<'_>,
        _: &mut Option<u64>,
    ) -> Result<bool, ReadError> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Instant};

    use super::*;
    use crate::cgroup::find_hierarchies;

    #[test]
    fn processes_are_counted_when_they_are_due() {
        let tree = tempfile::tempdir().unwrap();
        let directory = tree.path().join("pids/abc");
        fs::create_dir_all(&directory).unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        assert!(ProcessesFiles::open(&hierarchies, "/gone").unwrap().is_none());

        fs::write(directory.join("cgroup.procs"), "7\n12\n").unwrap();
        let mut files = ProcessesFiles::open(&hierarchies, "/abc").unwrap().unwrap();
        let (mut buffer, mut processes) = (Vec::new(), None);
        let mut context = ReadContext::new(Instant::now(), &mut buffer);
        assert!(ProcessesFiles::is_due(&context), "of a new cgroup everything is due");
        files.read(&mut context, &mut processes).unwrap();
        assert_eq!(processes, Some(2));
        fs::write(directory.join("cgroup.procs"), "7\n").unwrap();
        context.due.details = false;
        assert!(!ProcessesFiles::is_due(&context));
        context.due.details = true;
        files.read(&mut context, &mut processes).unwrap();
        assert_eq!(processes, Some(1));
    }
}
