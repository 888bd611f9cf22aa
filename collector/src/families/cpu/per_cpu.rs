//! CPU time by CPU, which only cgroup v1 counts for each cgroup.

use std::iter;

use tare_parsers::text::{number, words};

use crate::{
    cgroup::{Directory, Hierarchies, KeptFile, ReadError, Version, read_once},
    families::{
        readers::{CgroupReader, ReadContext},
        walked::WalkLayout,
    },
};

/// Where the CPU time by CPU of one cgroup is. The file does not stay open: it is read only where
/// an API asks for it.
#[derive(Debug)]
pub struct PerCpuFiles {
    directory: Directory,
}

impl CgroupReader for PerCpuFiles {
    /// Nanoseconds by possible CPU; empty where they are not read.
    type Reading = Vec<u64>;

    fn is_known(reading: &Self::Reading) -> bool {
        !reading.is_empty()
    }

    /// v1: `cpuacct.usage_percpu`. v2 has nothing like it.
    fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
        let legacy = hierarchies.controller("cpuacct").filter(|c| c.version == Version::V1);
        let directory = legacy.map(|controller| Directory::new(controller.root, path));
        Ok(directory.map(|directory| Self { directory }))
    }

    /// A cgroup that did not run has used no CPU.
    fn is_due(context: &ReadContext<'_>) -> bool {
        context.reads_per_cpu && context.due.memory
    }

    fn read(
        &mut self,
        context: &mut ReadContext<'_>,
        latest: &mut Vec<u64>,
    ) -> Result<(), ReadError> {
        self.directory.with("cpuacct.usage_percpu", |file| {
            let text = read_once(file, context.buffer)?;
            latest.clear();
            latest.extend(text.into_iter().flat_map(words).map_while(number));
            Ok(())
        })
    }

    fn files(&self) -> impl Iterator<Item = &KeptFile> {
        iter::empty()
    }

    /// None stays open in any case.
    fn opens_on_demand(_: &WalkLayout) -> bool {
        false
    }

    /// Programs do not get at the counts of each CPU.
    fn from_record(
        _: Option<&mut Self>,
        _: &mut ReadContext<'_>,
        _: &mut Vec<u64>,
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
    fn cpu_time_by_cpu_is_read_on_v1_and_only_if_it_is_wanted() {
        let tree = tempfile::tempdir().unwrap();
        let directory = tree.path().join("cpuacct/abc");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("cpuacct.usage_percpu"), "12 0 7 \n").unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let mut files = PerCpuFiles::open(&hierarchies, "/abc").unwrap().unwrap();
        let (mut buffer, mut times) = (Vec::new(), Vec::new());
        let mut context = ReadContext::new(Instant::now(), &mut buffer);
        assert!(!PerCpuFiles::is_due(&context));
        context.reads_per_cpu = true;
        assert!(PerCpuFiles::is_due(&context));
        files.read(&mut context, &mut times).unwrap();
        assert_eq!(times, [12, 0, 7]);
        assert!(PerCpuFiles::open(&Hierarchies::default(), "/abc").unwrap().is_none());
    }
}
