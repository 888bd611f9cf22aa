//! Block I/O from cgroup files: second best, for hosts without BPF.
//!
//! v2 counts when I/O is submitted, and a device that only got discards is not listed
//! (`block/blk-cgroup.c`, `blkcg_print_one_stat`). v1 counts nothing on Linux 6.1 and later unless
//! a throttle rule exists (`block/blk-throttle.h`, `blk_should_throtl`): there a 0 means unknown.

use std::path::Path;

use tare_model::Family;
use tare_parsers::io::{IoUsage, Unit, parse_io_stat, parse_throttle};

use crate::{
    cgroup::{Hierarchies, KeptFile, ReadError, Version, below},
    families::{
        readers::{CgroupReader, ReadContext},
        walked::WalkLayout,
    },
};

/// The open files of one cgroup with its block I/O.
#[derive(Debug)]
pub struct IoFiles(Files);

#[derive(Debug)]
enum Files {
    V2(KeptFile),
    V1 { bytes: KeptFile, operations: KeptFile },
}

impl CgroupReader for IoFiles {
    type Reading = Option<IoUsage>;

    const FAMILY: Option<Family> = Some(Family::Block);

    fn is_known(reading: &Self::Reading) -> bool {
        reading.is_some()
    }

    /// v2: `io.stat`, where the `io` controller is enabled. v1: `io_service_bytes_recursive` and
    /// `io_serviced_recursive` of `blkio.throttle`, else those without `_recursive`, which leave
    /// out the descendants.
    fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
        let Some(controller) = hierarchies.controller("blkio") else { return Ok(None) };
        let directory = below(controller.root, path);
        if controller.version == Version::V2 {
            let file = KeptFile::open(&directory.join("io.stat"))?;
            return Ok(file.map(|file| Self(Files::V2(file))));
        }
        for suffix in ["_recursive", ""] {
            let open =
                |name| KeptFile::open(&directory.join(format!("blkio.throttle.{name}{suffix}")));
            if let (Some(bytes), Some(operations)) =
                (open("io_service_bytes")?, open("io_serviced")?)
            {
                return Ok(Some(Self(Files::V1 { bytes, operations })));
            }
        }
        Ok(None)
    }

    fn is_due(context: &ReadContext<'_>) -> bool {
        context.reads_block
    }

    fn read(
        &mut self,
        context: &mut ReadContext<'_>,
        latest: &mut Option<IoUsage>,
    ) -> Result<(), ReadError> {
        let read = self.read_devices(context.buffer, latest.get_or_insert_default());
        if read.is_err() {
            *latest = None;
        }
        read
    }

    fn files(&self) -> impl Iterator<Item = &KeptFile> {
        let (one, other) = match &self.0 {
            Files::V2(file) => (file, None),
            Files::V1 { bytes, operations } => (bytes, Some(operations)),
        };
        [one].into_iter().chain(other)
    }

    /// No walk has block I/O. Where programs count it, its files need not be open; elsewhere the
    /// first reading opens them.
    fn opens_on_demand(_: &WalkLayout) -> bool {
        true
    }

    fn from_record(
        _: Option<&mut Self>,
        _: &mut ReadContext<'_>,
        _: &mut Option<IoUsage>,
    ) -> Result<bool, ReadError> {
        Ok(false)
    }
}

impl IoFiles {
    fn read_devices(&self, buffer: &mut Vec<u8>, out: &mut IoUsage) -> Result<(), ReadError> {
        match &self.0 {
            Files::V2(file) => {
                let text = file.read(buffer)?;
                out.devices.clear();
                parse_io_stat(text, out);
            }
            Files::V1 { bytes, operations } => {
                let text = bytes.read(buffer)?;
                out.devices.clear();
                parse_throttle(text, Unit::Bytes, out);
                parse_throttle(operations.read(buffer)?, Unit::Operations, out);
            }
        }
        Ok(())
    }
}

/// The cgroup above that the kernel charges with a cgroup's block I/O; `None` if it charges the
/// cgroup itself.
///
/// On v2 that is the nearest one with the `io` controller, which its parent's
/// `cgroup.subtree_control` enables (`Documentation/admin-guide/cgroup-v2.rst`, "Top-down
/// Constraint"). On v1 a process is in the hierarchy of `blkio` independently of the others.
pub fn charged_to(hierarchies: &Hierarchies, path: &str) -> Option<String> {
    let controller = hierarchies.controller("blkio")?;
    let is_charged = |path: &Path| {
        let directory = below(controller.root, &path.to_string_lossy());
        match controller.version {
            Version::V1 => directory.is_dir(),
            Version::V2 => directory.join("io.stat").exists(),
        }
    };
    let mut ancestors = Path::new(path).ancestors();
    if is_charged(ancestors.next()?) {
        return None;
    }
    let charged = ancestors.find(|ancestor| is_charged(ancestor));
    Some(charged.map_or_else(|| "/".to_owned(), |path| path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Instant};

    use tare_parsers::io::{Device, IoCounters};

    use super::*;
    use crate::cgroup::find_hierarchies;

    const DISK: Device = Device { major: 8, minor: 0 };
    const OTHER: Device = Device { major: 259, minor: 1_048_575 };

    #[test]
    fn v1_joins_bytes_and_operations() {
        let tree = tempfile::tempdir().unwrap();
        let directory = tree.path().join("blkio/abc");
        fs::create_dir_all(&directory).unwrap();
        let bytes = "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 1\n8:0 Async 2\n8:0 Discard 512\n\
                     8:0 Total 12800\nTotal 12800\n";
        let operations = "8:0 Read 1\n8:0 Write 2\n8:0 Discard 3\n8:0 Total 6\nTotal 6\n";
        fs::write(directory.join("blkio.throttle.io_service_bytes"), bytes).unwrap();
        fs::write(directory.join("blkio.throttle.io_serviced"), operations).unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let read = |usage: &mut Option<IoUsage>| {
            let mut buffer = Vec::new();
            let mut files = IoFiles::open(&hierarchies, "/abc").unwrap().unwrap();
            files.read(&mut ReadContext::new(Instant::now(), &mut buffer), usage).unwrap();
        };
        let mut usage = Some(IoUsage { devices: vec![(OTHER, IoCounters::default())] });
        read(&mut usage);
        let disk = IoCounters {
            read_bytes: 4096,
            write_bytes: 8192,
            read_ops: 1,
            write_ops: 2,
            discard_bytes: Some(512),
            discard_ops: Some(3),
        };
        assert_eq!(usage.as_ref().unwrap().devices, [(DISK, disk)]);

        fs::write(directory.join("blkio.throttle.io_service_bytes_recursive"), "Total 0\n")
            .unwrap();
        fs::write(directory.join("blkio.throttle.io_serviced_recursive"), "Total 0\n").unwrap();
        read(&mut usage);
        assert_eq!(usage.unwrap().devices, []);
        assert!(IoFiles::open(&hierarchies, "/gone").unwrap().is_none());
    }

    #[test]
    fn io_is_charged_where_the_controller_is() {
        let v2 = tempfile::tempdir().unwrap();
        fs::create_dir_all(v2.path().join("a/b/c")).unwrap();
        fs::write(v2.path().join("cgroup.controllers"), "io\n").unwrap();
        let charged = |root: &Path, path: &str| {
            charged_to(&find_hierarchies(Path::new("/proc"), Some(root)).unwrap(), path)
        };
        assert_eq!(charged(v2.path(), "/a/b/c").as_deref(), Some("/"));
        fs::write(v2.path().join("a/io.stat"), "").unwrap();
        assert_eq!(charged(v2.path(), "/a/b/c").as_deref(), Some("/a"));
        assert_eq!(charged(v2.path(), "/a"), None);

        let v1 = tempfile::tempdir().unwrap();
        fs::create_dir_all(v1.path().join("blkio/a")).unwrap();
        fs::write(v1.path().join("blkio/cgroup.procs"), "").unwrap();
        assert_eq!(charged(v1.path(), "/a"), None);
        assert_eq!(charged(v1.path(), "/a/b").as_deref(), Some("/a"));
    }
}
