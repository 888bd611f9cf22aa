//! Block I/O of a cgroup: `io.stat` (v2), `blkio.throttle.*` (v1).

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::text::{lines, number, words};

/// A block device by its numbers; partitions are counted with their disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct IoCounters {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Reads.
    pub read_ops: u64,
    /// Writes.
    pub write_ops: u64,
    /// Bytes discarded; `None` if the kernel does not count them.
    pub discard_bytes: Option<u64>,
    /// Discards; `None` if the kernel does not count them.
    pub discard_ops: Option<u64>,
}

/// Block I/O of a cgroup with all its descendants, by device.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct IoUsage {
    /// Each device once, in the kernel's order.
    pub devices: Vec<(Device, IoCounters)>,
}

impl Clone for IoUsage {
    fn clone(&self) -> Self {
        Self { devices: self.devices.clone() }
    }

    /// Without allocation where there is room.
    fn clone_from(&mut self, source: &Self) {
        self.devices.clone_from(&source.devices);
    }
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

/// Adds the devices of an `io.stat` of v2 to `out`.
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

/// Adds the devices of a `blkio.throttle.…` file of v1 to `out`.
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
    use proptest::prelude::*;

    use super::*;

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
