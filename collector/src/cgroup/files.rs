//! Everything that is read of one cgroup.

use crate::cgroup::cpu::{CpuFiles, CpuUsage};
use crate::cgroup::error::ReadError;
use crate::cgroup::io::{IoFiles, IoUsage, charged_to};
use crate::cgroup::memory::{MemoryFiles, MemoryUsage};
use crate::cgroup::mounts::Hierarchies;
use crate::cgroup::pids::{PidsFiles, PidsUsage};

/// The open files of one cgroup.
///
/// They are read family by family, not cgroup by cgroup: the kernel adds up its per-CPU counts at
/// the first read of a family, and later reads of the same family then find little left to do.
///
/// About a dozen descriptors; drop it when the cgroup ended.
#[derive(Debug)]
pub struct CgroupFiles {
    cpu: Option<CpuFiles>,
    memory: Option<MemoryFiles>,
    pids: Option<PidsFiles>,
    io: Option<IoFiles>,
    io_charged_to: Option<String>,
}

impl CgroupFiles {
    /// Opens the files of the cgroup at a path such as `/docker/abc`, the same below each root.
    ///
    /// A controller that is not mounted, or does not have the cgroup, has no files: its numbers
    /// are unknown.
    ///
    /// # Errors
    ///
    /// If a file is there but cannot be opened, for instance for want of descriptors.
    pub fn open(hierarchies: &Hierarchies, path: &str) -> Result<Self, ReadError> {
        Ok(Self {
            cpu: CpuFiles::open(hierarchies, path)?,
            memory: MemoryFiles::open(hierarchies, path)?,
            pids: PidsFiles::open(hierarchies, path)?,
            io: IoFiles::open(hierarchies, path)?,
            io_charged_to: charged_to(hierarchies, path),
        })
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

    /// Reads the CPU time; all unknown without a source.
    ///
    /// # Errors
    ///
    /// As [`CpuFiles::read_cpu`].
    pub fn read_cpu(&self, buffer: &mut Vec<u8>) -> Result<CpuUsage, ReadError> {
        self.cpu.as_ref().map_or_else(|| Ok(CpuUsage::default()), |files| files.read_cpu(buffer))
    }

    /// Reads the memory into `out`; all unknown without a source.
    ///
    /// # Errors
    ///
    /// As [`MemoryFiles::read_memory`].
    pub fn read_memory(
        &self,
        buffer: &mut Vec<u8>,
        out: &mut MemoryUsage,
    ) -> Result<(), ReadError> {
        if let Some(files) = &self.memory {
            return files.read_memory(buffer, out);
        }
        *out = MemoryUsage::default();
        Ok(())
    }

    /// Reads the number of tasks; all unknown without a source.
    ///
    /// # Errors
    ///
    /// As [`PidsFiles::read_pids`].
    pub fn read_pids(&self, buffer: &mut Vec<u8>) -> Result<PidsUsage, ReadError> {
        self.pids.as_ref().map_or_else(|| Ok(PidsUsage::default()), |files| files.read_pids(buffer))
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
        let files = CgroupFiles::open(&hierarchies, "/docker/abc").unwrap();
        let mut buffer = Vec::new();
        let mut memory = MemoryUsage::default();
        let mut io = IoUsage::default();
        assert_eq!(files.read_cpu(&mut buffer).unwrap().usage_nanoseconds, Some(5000));
        files.read_memory(&mut buffer, &mut memory).unwrap();
        assert_eq!(memory.usage_bytes, Some(4096));
        assert_eq!(files.read_pids(&mut buffer).unwrap(), PidsUsage::default());
        assert!(!files.read_io(&mut buffer, &mut io).unwrap());
        assert!(!files.is_empty());

        let files = CgroupFiles::open(&hierarchies, "/docker/gone").unwrap();
        assert!(files.is_empty());
        files.read_memory(&mut buffer, &mut memory).unwrap();
        assert_eq!(memory, MemoryUsage::default());
    }
}
