//! Tasks from cgroup files.

use tare_model::Family;

use crate::{
    cgroup::{Hierarchies, KeptFile, ReadError, below},
    families::{
        readers::{CgroupReader, ReadContext},
        walked::{Found, WalkLayout},
    },
};

/// The open file of one cgroup with the number of its tasks.
#[derive(Debug)]
pub struct PidsFiles {
    current: KeptFile,
}

impl CgroupReader for PidsFiles {
    type Reading = Option<u64>;

    const FAMILY: Option<Family> = Some(Family::Pids);

    fn is_known(reading: &Self::Reading) -> bool {
        reading.is_some()
    }

    /// `pids.current`, which is the same on v1 and v2; the root has none.
    fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
        let Some(controller) = hierarchies.controller("pids") else { return Ok(None) };
        let current = KeptFile::open(&below(controller.root, path).join("pids.current"))?;
        Ok(current.map(|current| Self { current }))
    }

    fn is_due(context: &ReadContext<'_>) -> bool {
        context.due.tasks
    }

    /// The number of tasks (threads, not processes) of the cgroup with all its descendants
    /// (`kernel/cgroup/pids.c`, `pids_current_read`).
    fn read(
        &mut self,
        context: &mut ReadContext<'_>,
        latest: &mut Option<u64>,
    ) -> Result<(), ReadError> {
        *latest = None;
        *latest = Some(self.current.read_number(context.buffer)?);
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = &KeptFile> {
        [&self.current].into_iter()
    }

    fn opens_on_demand(layout: &WalkLayout) -> bool {
        layout.pids.is_walked()
    }

    fn from_record(
        _: Option<&mut Self>,
        context: &mut ReadContext<'_>,
        latest: &mut Option<u64>,
    ) -> Result<bool, ReadError> {
        let Some(walked) = &context.walked else { return Ok(false) };
        *latest = match walked.records.pids() {
            Found::NotWalked => return Ok(false),
            Found::Absent => None,
            // The root has no file.
            Found::Record(record) if record.level() == 0 => None,
            Found::Record(record) => match record.tasks() {
                Some(tasks) => Some(tasks.current),
                None if walked.records.layout().pids.is_walked() => None,
                None => return Ok(false),
            },
        };
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Instant};

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
        let mut files = PidsFiles::open(&hierarchies, "/abc").unwrap().unwrap();
        let (mut buffer, mut tasks) = (Vec::new(), None);
        let mut context = ReadContext::new(Instant::now(), &mut buffer);
        files.read(&mut context, &mut tasks).unwrap();
        assert_eq!(tasks, Some(7));
        fs::write(directory.join("pids.current"), "?\n").unwrap();
        assert!(files.read(&mut context, &mut tasks).is_err());
        assert_eq!(tasks, None);
    }
}
