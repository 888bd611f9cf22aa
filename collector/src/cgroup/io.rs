//! Block I/O of a cgroup as its files tell: second best, for hosts without BPF.
//!
//! v2 counts when I/O is submitted, and a device that only got discards is not listed
//! (`block/blk-cgroup.c`, `blkcg_print_one_stat`). v1 counts nothing on Linux 6.1 and later unless
//! a throttle rule exists (`block/blk-throttle.h`, `blk_should_throtl`): there a 0 means unknown.

use std::fmt;
use std::path::Path;

use crate::cgroup::error::ReadError;
use crate::cgroup::file::KeptFile;
use crate::cgroup::mounts::{Hierarchies, Version};
use crate::cgroup::text::{lines, number, words};
use crate::cgroup::walk::below;

/// A block device by its numbers; partitions are counted with their disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// The driver's number.
    pub major: u32,
    /// The device's number.
    pub minor: u32,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// What a cgroup did on one device since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounters {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Reads.
    pub read_ops: u64,
    /// Writes.
    pub write_ops: u64,
    /// Bytes discarded; `None` if the kernel does not tell.
    pub discard_bytes: Option<u64>,
    /// Discards; `None` if the kernel does not tell.
    pub discard_ops: Option<u64>,
}

/// Block I/O of a cgroup with all its descendants, by device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IoUsage {
    /// Each device once, in the kernel's order.
    pub devices: Vec<(Device, IoCounters)>,
}

impl IoUsage {
    fn counters(&mut self, device: Device) -> &mut IoCounters {
        let known = self.devices.iter().position(|(known, _)| *known == device);
        let index = known.unwrap_or_else(|| {
            self.devices.push((device, IoCounters::default()));
            self.devices.len() - 1
        });
        &mut self.devices[index].1
    }
}

/// What the numbers of a v1 file count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `blkio.throttle.io_service_bytes`.
    Bytes,
    /// `blkio.throttle.io_serviced`.
    Operations,
}

/// The open files of one cgroup that tell its block I/O.
#[derive(Debug)]
pub struct IoFiles(Source);

#[derive(Debug)]
enum Source {
    V2(KeptFile),
    V1 { bytes: KeptFile, operations: KeptFile },
}

impl IoFiles {
    /// Opens the files of the cgroup at a path such as `/docker/abc`; `None` if there are none.
    ///
    /// v2: `io.stat`, where the `io` controller is enabled. v1: `io_service_bytes_recursive` and
    /// `io_serviced_recursive` of `blkio.throttle`, else those without
    /// `_recursive`, which leave out the descendants.
    ///
    /// # Errors
    ///
    /// If a file is there but cannot be opened.
    pub fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
        let Some(controller) = hierarchies.controller("blkio") else { return Ok(None) };
        let directory = below(controller.root, path);
        if controller.version == Version::V2 {
            let file = KeptFile::open(&directory.join("io.stat"))?;
            return Ok(file.map(|file| Self(Source::V2(file))));
        }
        for suffix in ["_recursive", ""] {
            let open =
                |name| KeptFile::open(&directory.join(format!("blkio.throttle.{name}{suffix}")));
            if let (Some(bytes), Some(operations)) =
                (open("io_service_bytes")?, open("io_serviced")?)
            {
                return Ok(Some(Self(Source::V1 { bytes, operations })));
            }
        }
        Ok(None)
    }

    /// Reads the block I/O of the cgroup into `out`, which keeps its memory.
    ///
    /// # Errors
    ///
    /// [`ReadError::Vanished`] when the cgroup was removed; `out` may then lack numbers.
    pub fn read_io(&self, buffer: &mut Vec<u8>, out: &mut IoUsage) -> Result<(), ReadError> {
        match &self.0 {
            Source::V2(file) => {
                let text = file.read(buffer)?;
                out.devices.clear();
                parse_io_stat(text, out);
            }
            Source::V1 { bytes, operations } => {
                let text = bytes.read(buffer)?;
                out.devices.clear();
                parse_throttle(text, Unit::Bytes, out);
                parse_throttle(operations.read(buffer)?, Unit::Operations, out);
            }
        }
        Ok(())
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &KeptFile> {
        let (one, other) = match &self.0 {
            Source::V2(file) => (file, None),
            Source::V1 { bytes, operations } => (bytes, Some(operations)),
        };
        [one].into_iter().chain(other)
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

/// Adds the devices of an `io.stat` of v2 to what is known.
///
/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6` (`block/blk-cgroup.c`,
/// `blkcg_print_one_stat`). Some kernels print a device without counters and the next one on the
/// same line, so a pair of numbers starts a device wherever it stands.
pub fn parse_io_stat(text: &[u8], out: &mut IoUsage) {
    for line in lines(text) {
        let mut device = None;
        for word in words(line) {
            if let Some(found) = parse_device(word) {
                device = Some(found);
            } else if let (Some(device), Some((name, value))) = (device, parse_pair(word)) {
                set_counter(out, device, name, value);
            }
        }
    }
}

/// Adds the devices of a `blkio.throttle.…` file of v1 to what is known.
///
/// `8:0 Read 4096` (`block/blk-cgroup-rwstat.c`, `__blkg_prfill_rwstat`); `Sync`, `Async` and
/// `Total` are other views of the same.
pub fn parse_throttle(text: &[u8], unit: Unit, out: &mut IoUsage) {
    for line in lines(text) {
        let mut words = words(line);
        let Some(device) = words.next().and_then(parse_device) else { continue };
        let (Some(name), Some(value)) = (words.next(), words.next().and_then(number)) else {
            continue;
        };
        match (name, unit) {
            (b"Read", Unit::Bytes) => out.counters(device).read_bytes = value,
            (b"Read", Unit::Operations) => out.counters(device).read_ops = value,
            (b"Write", Unit::Bytes) => out.counters(device).write_bytes = value,
            (b"Write", Unit::Operations) => out.counters(device).write_ops = value,
            (b"Discard", Unit::Bytes) => out.counters(device).discard_bytes = Some(value),
            (b"Discard", Unit::Operations) => out.counters(device).discard_ops = Some(value),
            _ => {}
        }
    }
}

fn set_counter(out: &mut IoUsage, device: Device, name: &[u8], value: u64) {
    match name {
        b"rbytes" => out.counters(device).read_bytes = value,
        b"wbytes" => out.counters(device).write_bytes = value,
        b"rios" => out.counters(device).read_ops = value,
        b"wios" => out.counters(device).write_ops = value,
        b"dbytes" => out.counters(device).discard_bytes = Some(value),
        b"dios" => out.counters(device).discard_ops = Some(value),
        _ => {}
    }
}

fn parse_device(word: &[u8]) -> Option<Device> {
    // Most words are none, and show it at once.
    word.first().filter(|byte| byte.is_ascii_digit())?;
    let colon = word.iter().position(|byte| *byte == b':')?;
    let part = |digits| u32::try_from(number(digits)?).ok();
    Some(Device { major: part(&word[..colon])?, minor: part(&word[colon + 1..])? })
}

fn parse_pair(word: &[u8]) -> Option<(&[u8], u64)> {
    let equals = word.iter().position(|byte| *byte == b'=')?;
    Some((&word[..equals], number(&word[equals + 1..])?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::cgroup::find_hierarchies;

    const DISK: Device = Device { major: 8, minor: 0 };
    const OTHER: Device = Device { major: 259, minor: 1_048_575 };

    #[test]
    fn v2_lists_devices_with_their_counters() {
        let mut usage = IoUsage::default();
        let text =
            b"259:1048575 8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=9\n\
                     259:1048575 rbytes=7 rios=x\n7:0 \n";
        parse_io_stat(text, &mut usage);
        let disk = IoCounters {
            read_bytes: 1,
            write_bytes: 2,
            read_ops: 3,
            write_ops: 4,
            discard_bytes: Some(5),
            discard_ops: Some(6),
        };
        let other = IoCounters { read_bytes: 7, ..IoCounters::default() };
        assert_eq!(usage.devices, [(DISK, disk), (OTHER, other)]);
        assert_eq!(OTHER.to_string(), "259:1048575");
    }

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
        let files = IoFiles::open(&hierarchies, "/abc").unwrap().unwrap();
        let mut usage = IoUsage { devices: vec![(OTHER, IoCounters::default())] };
        files.read_io(&mut Vec::new(), &mut usage).unwrap();
        let disk = IoCounters {
            read_bytes: 4096,
            write_bytes: 8192,
            read_ops: 1,
            write_ops: 2,
            discard_bytes: Some(512),
            discard_ops: Some(3),
        };
        assert_eq!(usage.devices, [(DISK, disk)]);

        fs::write(directory.join("blkio.throttle.io_service_bytes_recursive"), "Total 0\n")
            .unwrap();
        fs::write(directory.join("blkio.throttle.io_serviced_recursive"), "Total 0\n").unwrap();
        let files = IoFiles::open(&hierarchies, "/abc").unwrap().unwrap();
        files.read_io(&mut Vec::new(), &mut usage).unwrap();
        assert_eq!(usage.devices, []);
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

    proptest! {
        #[test]
        fn any_bytes_are_taken(text: Vec<u8>) {
            let mut usage = IoUsage::default();
            parse_io_stat(&text, &mut usage);
            parse_throttle(&text, Unit::Bytes, &mut usage);
        }

        #[test]
        fn any_words_are_taken(text in "([0-9]{0,11}:[0-9]{0,11}|[rwd]bytes=[0-9]{0,21}|Read|[ \n=])*") {
            let mut usage = IoUsage::default();
            parse_io_stat(text.as_bytes(), &mut usage);
            parse_throttle(text.as_bytes(), Unit::Operations, &mut usage);
        }
    }
}
