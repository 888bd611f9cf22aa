//! Everything that is read of one cgroup.

use std::sync::Arc;
use std::time::Instant;

use crate::cgroup::cpu::{CpuFiles, CpuUsage};
use crate::cgroup::error::ReadError;
use crate::cgroup::file::KeptFile;
use crate::cgroup::io::{IoFiles, IoUsage, charged_to};
use crate::cgroup::memory::{MemoryFiles, MemoryUsage};
use crate::cgroup::mounts::Hierarchies;
use crate::cgroup::pids::PidsFiles;
use crate::cgroup::pressure::{PressureFiles, Pressures};
use crate::cgroup::seldom::{Seldom, SeldomFiles};
use crate::cgroup::state::{CgroupState, StateFiles};

/// The open files of one cgroup.
///
/// They are read family by family, not cgroup by cgroup: the kernel adds up its per-CPU counts at
/// the first read of a family, and later reads of the same family then find little left to do.
///
/// About a dozen descriptors; drop it when the cgroup ended.
#[derive(Debug)]
pub struct CgroupFiles {
    cpu: Option<CpuFiles>,
    pressure: Option<PressureFiles>,
    memory: Option<MemoryFiles>,
    pids: Option<PidsFiles>,
    state: Option<StateFiles>,
    io: Option<IoFiles>,
    seldom: SeldomFiles,
    io_charged_to: Option<String>,
    /// The CPU time as it was told last, below which it never falls.
    told: CpuUsage,
    /// Whether it was the same at the reading before.
    idle: bool,
}

impl CgroupFiles {
    /// Opens the files of the cgroup at a path such as `/docker/abc`, the same below each root.
    ///
    /// A controller that is not mounted, or does not have the cgroup, has no files: its numbers
    /// are unknown.
    ///
    /// # Errors
    ///
    /// If a file is there but cannot be opened.
    pub fn open(hierarchies: &Hierarchies, path: &str) -> Result<Self, ReadError> {
        // What a receipt cannot do without comes first: the cgroup may be gone at any moment.
        Ok(Self {
            cpu: CpuFiles::open(hierarchies, path)?,
            memory: MemoryFiles::open(hierarchies, path)?,
            pids: PidsFiles::open(hierarchies, path)?,
            io: IoFiles::open(hierarchies, path)?,
            pressure: PressureFiles::open(hierarchies, path)?,
            state: StateFiles::open(hierarchies, path)?,
            seldom: SeldomFiles::find(hierarchies, path),
            io_charged_to: charged_to(hierarchies, path),
            told: CpuUsage::default(),
            idle: false,
        })
    }

    /// Takes the place of files of the same cgroup that were opened before: what they told does
    /// not fall.
    pub fn succeed(&mut self, former: &Self) {
        self.told = former.told;
    }

    /// The cgroup above that is charged with this one's block I/O, if it is not charged itself.
    pub fn io_charged_to(&self) -> Option<&str> {
        self.io_charged_to.as_deref()
    }

    /// Looks again whether the cgroup has its own block I/O, which may be enabled at any time.
    ///
    /// # Errors
    ///
    /// As [`CgroupFiles::open`].
    pub fn reopen_io(&mut self, hierarchies: &Hierarchies, path: &str) -> Result<(), ReadError> {
        self.io_charged_to = charged_to(hierarchies, path);
        if self.io.is_none() {
            self.io = IoFiles::open(hierarchies, path)?;
        }
        Ok(())
    }

    /// Whether no controller has the cgroup: it ended, or never was there.
    pub fn is_empty(&self) -> bool {
        self.cpu.is_none() && self.memory.is_none() && self.pids.is_none() && self.io.is_none()
    }

    /// How many files are opened anew for each read, because descriptors are scarce.
    pub fn unheld(&self) -> usize {
        let cpu = self.cpu.iter().flat_map(CpuFiles::files);
        let pressure = self.pressure.iter().flat_map(PressureFiles::files);
        let memory = self.memory.iter().flat_map(MemoryFiles::files);
        let pids = self.pids.iter().flat_map(PidsFiles::files);
        let state = self.state.iter().flat_map(StateFiles::files);
        let io = self.io.iter().flat_map(IoFiles::files);
        let all = cpu.chain(pressure).chain(memory).chain(pids).chain(state).chain(io);
        all.filter(|file: &&KeptFile| !file.is_held()).count()
    }

    /// Has the next reads go to the files, whatever their pace: nothing will be read after them.
    pub fn expire(&mut self) {
        self.idle = false;
        self.seldom.expire();
        if let Some(files) = &mut self.pressure {
            files.expire();
        }
        if let Some(files) = &mut self.memory {
            files.expire();
        }
    }

    /// Reads the CPU time, which never falls; all unknown without a source.
    ///
    /// # Errors
    ///
    /// As [`CpuFiles::read_cpu`].
    pub fn read_cpu(&mut self, buffer: &mut Vec<u8>) -> Result<CpuUsage, ReadError> {
        let Some(files) = &self.cpu else { return Ok(CpuUsage::default()) };
        let mut usage = files.read_cpu(buffer)?;
        usage.never_below(&self.told);
        let used = usage.usage_nanoseconds;
        self.idle = used.is_some() && used == self.told.usage_nanoseconds;
        self.told = usage;
        Ok(usage)
    }

    /// Reads the pressures; all unknown without a source.
    ///
    /// # Errors
    ///
    /// As [`PressureFiles::read_pressures`].
    pub fn read_pressures(
        &mut self,
        now: Instant,
        buffer: &mut Vec<u8>,
    ) -> Result<Pressures, ReadError> {
        let files = self.pressure.as_mut();
        files.map_or_else(|| Ok(Pressures::default()), |files| files.read_pressures(now, buffer))
    }

    /// Reads the memory into `out`; all unknown without a source. Read the CPU time before: memory
    /// of a cgroup that did not run is not read whole.
    ///
    /// # Errors
    ///
    /// As [`MemoryFiles::read_memory`].
    pub fn read_memory(
        &mut self,
        now: Instant,
        buffer: &mut Vec<u8>,
        out: &mut MemoryUsage,
    ) -> Result<(), ReadError> {
        if let Some(files) = &mut self.memory {
            return files.read_memory(self.idle, now, buffer, out);
        }
        *out = MemoryUsage::default();
        Ok(())
    }

    /// Reads the number of tasks; unknown without a source.
    ///
    /// # Errors
    ///
    /// As [`PidsFiles::read_pids`].
    pub fn read_pids(&self, buffer: &mut Vec<u8>) -> Result<Option<u64>, ReadError> {
        self.pids.as_ref().map(|files| files.read_pids(buffer)).transpose()
    }

    /// Reads the state; unknown without a source.
    ///
    /// # Errors
    ///
    /// As [`StateFiles::read_state`].
    pub fn read_state(&self, buffer: &mut Vec<u8>) -> Result<CgroupState, ReadError> {
        let files = self.state.as_ref();
        files.map_or_else(|| Ok(CgroupState::default()), |files| files.read_state(buffer))
    }

    /// Reads settings, limits and peaks, if that is due; [`CgroupFiles::seldom`] has them.
    ///
    /// # Errors
    ///
    /// As [`SeldomFiles::read_seldom`].
    pub fn read_seldom(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Result<(), ReadError> {
        self.seldom.read_seldom(now, buffer).map(|_| ())
    }

    /// Settings, limits and peaks as they were read last.
    pub fn seldom(&self) -> &Arc<Seldom> {
        self.seldom.latest()
    }

    /// Reads the block I/O into `out`. `false`, and no devices, without a source: the I/O is
    /// unknown then, not none.
    ///
    /// # Errors
    ///
    /// As [`IoFiles::read_io`].
    pub fn read_io(&self, buffer: &mut Vec<u8>, out: &mut IoUsage) -> Result<bool, ReadError> {
        if let Some(files) = &self.io {
            return files.read_io(buffer, out).map(|()| true);
        }
        out.devices.clear();
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::cgroup::find_hierarchies;

    #[test]
    fn families_without_files_are_unknown_and_the_others_are_read() {
        let tree = tempfile::tempdir().unwrap();
        let directory = tree.path().join("docker/abc");
        fs::create_dir_all(&directory).unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        fs::write(directory.join("cpu.stat"), "usage_usec 5\n").unwrap();
        fs::write(directory.join("memory.current"), "4096\n").unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let mut files = CgroupFiles::open(&hierarchies, "/docker/abc").unwrap();
        let now = Instant::now();
        let mut buffer = Vec::new();
        let mut memory = MemoryUsage::default();
        let mut io = IoUsage::default();
        assert_eq!(files.read_cpu(&mut buffer).unwrap().usage_nanoseconds, Some(5000));
        files.read_memory(now, &mut buffer, &mut memory).unwrap();
        assert_eq!(memory.usage_bytes, Some(4096));
        assert_eq!(files.read_pids(&mut buffer).unwrap(), None);
        assert_eq!(files.read_state(&mut buffer).unwrap(), CgroupState::default());
        assert_eq!(files.read_pressures(now, &mut buffer).unwrap(), Pressures::default());
        assert!(!files.read_io(&mut buffer, &mut io).unwrap());
        assert!(!files.is_empty());

        let mut files = CgroupFiles::open(&hierarchies, "/docker/gone").unwrap();
        assert!(files.is_empty());
        files.read_memory(now, &mut buffer, &mut memory).unwrap();
        assert_eq!(memory, MemoryUsage::default());
    }

    #[test]
    fn cpu_time_does_not_fall_even_if_the_files_are_opened_again() {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "cpu\n").unwrap();
        let write = |user| {
            let text = format!("usage_usec 9\nuser_usec {user}\n");
            fs::write(tree.path().join("cpu.stat"), text).unwrap();
        };
        write(5);
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let mut files = CgroupFiles::open(&hierarchies, "/").unwrap();
        let mut buffer = Vec::new();
        assert_eq!(files.read_cpu(&mut buffer).unwrap().user_nanoseconds, Some(5000));
        write(4);
        assert_eq!(files.read_cpu(&mut buffer).unwrap().user_nanoseconds, Some(5000));
        let mut anew = CgroupFiles::open(&hierarchies, "/").unwrap();
        anew.succeed(&files);
        assert_eq!(anew.read_cpu(&mut buffer).unwrap().user_nanoseconds, Some(5000));
    }
}
