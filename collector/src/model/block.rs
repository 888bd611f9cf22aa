//! Block I/O of a container: its devices, and the sums over those that do not stand on others.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tare_ebpf::{
    BlockCell, Cell, Key, LATENCY_BUCKETS, LATENCY_FIRST_EXPONENT, Latencies, LatencyCell, Requests,
};

use crate::{
    cgroup::{IoCounters, IoUsage},
    model::{Pressure, Word, derive::seconds, resources},
    reason::Reason,
    sample::{Sample, Usage},
};

/// Block I/O.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Block {
    /// `bpf` or `cgroup`; `None` if there is no source.
    pub source: Option<Word>,
    /// Why numbers are unknown, or what they leave out.
    pub reason: Option<String>,
    /// When the counting of bytes and operations began; `None` if that was before the container
    /// did anything.
    pub since: Option<Timestamp>,
    /// The same for everything else: times, latencies, merges, flushes, errors.
    pub details_since: Option<Timestamp>,
    /// Sums over the devices that are not stacked on others.
    #[serde(flatten)]
    pub total: Count,
    /// How long operations took, on the same devices.
    pub latency: Option<Latency>,
    /// Each device, by `major:minor`.
    pub devices: BTreeMap<String, Device>,
    /// Time lost to waiting for I/O.
    pub pressure: Option<Pressure>,
}

/// Block I/O on one device.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Device {
    /// The device's name, such as `nvme0n1`.
    pub name: Option<String>,
    /// Whether it only passes I/O on to other devices, which count it again: a loop device, a
    /// device mapper target. It is not part of the totals.
    pub stacked: bool,
    /// What was counted.
    #[serde(flatten)]
    pub count: Count,
}

/// What is counted of block I/O. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Count {
    /// Bytes read.
    pub read_bytes: Option<u64>,
    /// Bytes written, write zeroes included.
    pub write_bytes: Option<u64>,
    /// Read requests completed.
    pub read_ops: Option<u64>,
    /// Write requests completed.
    pub write_ops: Option<u64>,
    /// Bytes discarded.
    pub discard_bytes: Option<u64>,
    /// Discards completed.
    pub discard_ops: Option<u64>,
    /// Those of the writes that asked for a flush of the device's cache.
    pub flush_ops: Option<u64>,
    /// Sectors of 512 bytes read and written.
    pub sectors: Option<u64>,
    /// Operations that failed; they are in no other number.
    pub errors: Option<u64>,
    /// Requests that the driver has at this instant.
    pub in_flight: Option<u64>,
    /// Reads that became part of another request before the driver saw them.
    pub read_merges: Option<u64>,
    /// Writes that became part of another request before the driver saw them.
    pub write_merges: Option<u64>,
    /// Operations that are in neither service nor wait times.
    pub untimed_ops: Option<u64>,
    /// Time from the driver's start of reads to their completion.
    pub read_service_seconds: Option<f64>,
    /// Time from the driver's start of writes to their completion.
    pub write_service_seconds: Option<f64>,
    /// Time that reads waited for the driver.
    pub read_wait_seconds: Option<f64>,
    /// Time that writes waited for the driver.
    pub write_wait_seconds: Option<f64>,
}

/// How long operations took, from the making of the request to its completion.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Latency {
    /// Upper bounds of the buckets, themselves included; the last bucket, which has none, is left
    /// out.
    pub le_seconds: Vec<f64>,
    /// Reads.
    pub read: Histogram,
    /// Writes.
    pub write: Histogram,
}

impl Latency {
    /// A time that at least this share (0 to 1) of the operations did not exceed: the upper bound
    /// of their bucket, in seconds, and infinity in the last one. `None` without operations.
    pub fn quantile(&self, histogram: &Histogram, share: f64) -> Option<f64> {
        let wanted = (share * histogram.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0_u64;
        let bucket = histogram.buckets.iter().position(|operations| {
            seen = seen.saturating_add(*operations);
            seen >= wanted
        });
        bucket.map(|bucket| self.le_seconds.get(bucket).copied().unwrap_or(f64::INFINITY))
    }
}

/// Operations by the time that they took.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Histogram {
    /// Operations in each bucket, not cumulative; one more than there are bounds.
    pub buckets: Vec<u64>,
    /// All operations that were timed.
    pub count: u64,
    /// All their times together.
    pub sum_seconds: f64,
}

/// Derives a container's block I/O.
pub(super) fn block(usage: &Usage, sample: &Sample, since: Option<Timestamp>) -> Block {
    let mut block = if let Some(cells) = &usage.block {
        counted(usage, cells, sample, since)
    } else if let Some(io) = &usage.io {
        filed(io, sample)
    } else {
        Block::default()
    };
    if block.source.is_none() {
        block.reason = usage.block_reason.as_ref().map(Reason::to_string);
    }
    block.pressure = resources::pressure(usage.pressures.io);
    block
}

fn counted(
    usage: &Usage,
    cells: &BTreeMap<u32, BlockCell>,
    sample: &Sample,
    since: Option<Timestamp>,
) -> Block {
    let device = |(number, cell): (&u32, &BlockCell)| {
        let requests = sample.block_devices.get(number).is_none_or(|device| device.requests);
        let count = count(cell, sample, requests);
        (numbers(*number), Device { count, ..named(*number, sample) })
    };
    let devices = cells.iter().map(device).collect();
    Block {
        source: Some("bpf".into()),
        reason: sample.block_is_v1.then(|| Reason::WritebackNotCharged.to_string()),
        since: since.filter(|_| !usage.block_has_baseline),
        details_since: since,
        total: total(&devices, count(&BlockCell::default(), sample, true)),
        latency: Some(latency(usage, sample)),
        devices,
        pressure: None,
    }
}

/// What was counted on a device with or without requests; a bio has no time stamps, and is not
/// followed through the driver.
fn count(cell: &BlockCell, sample: &Sample, requests: bool) -> Count {
    let BlockCell { read, write, discard, .. } = cell;
    // Requests without a stamp cannot be told from those made before us.
    let in_flight = sample.flight && requests && cell.unstamped == 0;
    let timed = |part: fn(&Requests) -> u64, requests_of: &Requests| {
        requests.then(|| seconds(part(requests_of)))
    };
    Count {
        read_bytes: Some(read.bytes),
        write_bytes: Some(write.bytes),
        read_ops: Some(read.ops),
        write_ops: Some(write.ops),
        discard_bytes: Some(discard.bytes),
        discard_ops: Some(discard.ops),
        flush_ops: Some(cell.flush_ops),
        sectors: Some(sectors(read.bytes, write.bytes)),
        errors: Some(cell.errors),
        in_flight: in_flight.then(|| cell.issued.saturating_sub(cell.returned)),
        read_merges: sample.merges.then_some(cell.read_merges),
        write_merges: sample.merges.then_some(cell.write_merges),
        untimed_ops: Some(cell.untimed),
        read_service_seconds: timed(|part| part.service_nanoseconds, read),
        write_service_seconds: timed(|part| part.service_nanoseconds, write),
        read_wait_seconds: timed(|part| part.wait_nanoseconds, read),
        write_wait_seconds: timed(|part| part.wait_nanoseconds, write),
    }
}

fn latency(usage: &Usage, sample: &Sample) -> Latency {
    let (mut latencies, mut counted) = (LatencyCell::default(), BlockCell::default());
    for (number, cell) in &usage.latency {
        if !is_stacked(*number, sample) {
            latencies.add(cell);
            if let Some(cell) = usage.block.as_ref().and_then(|cells| cells.get(number)) {
                counted.add(cell);
            }
        }
    }
    let bounds = (LATENCY_FIRST_EXPONENT..).take(LATENCY_BUCKETS - 1);
    Latency {
        le_seconds: bounds.map(|exponent| 2_f64.powi(exponent)).collect(),
        read: histogram(&latencies.read, &counted.read),
        write: histogram(&latencies.write, &counted.write),
    }
}

fn histogram(latencies: &Latencies, counted: &Requests) -> Histogram {
    let Requests { service_nanoseconds, wait_nanoseconds, .. } = counted;
    let nanoseconds = [*service_nanoseconds, *wait_nanoseconds, latencies.untimed_nanoseconds];
    Histogram {
        buckets: latencies.buckets.to_vec(),
        count: latencies.buckets.iter().sum(),
        sum_seconds: seconds(nanoseconds.into_iter().fold(0, u64::saturating_add)),
    }
}

/// From cgroup files: they know no times, merges or errors.
fn filed(io: &IoUsage, sample: &Sample) -> Block {
    let device = |(device, io): &(crate::cgroup::Device, IoCounters)| {
        let named = named(Key::device(0, device.major, device.minor).device, sample);
        (device.to_string(), Device { count: filed_count(io), ..named })
    };
    let devices: BTreeMap<_, _> = io.devices.iter().map(device).collect();
    let none = IoCounters { discard_bytes: Some(0), discard_ops: Some(0), ..IoCounters::default() };
    let total = total(&devices, filed_count(&none));
    if sample.block_is_v1 && total.sectors == Some(0) && total.discard_bytes.unwrap_or(0) == 0 {
        let reason = Some(Reason::OnlyThrottledCounted.to_string());
        return Block { source: Some("cgroup".into()), reason, ..Block::default() };
    }
    Block { source: Some("cgroup".into()), total, devices, ..Block::default() }
}

fn filed_count(io: &IoCounters) -> Count {
    Count {
        read_bytes: Some(io.read_bytes),
        write_bytes: Some(io.write_bytes),
        read_ops: Some(io.read_ops),
        write_ops: Some(io.write_ops),
        discard_bytes: io.discard_bytes,
        discard_ops: io.discard_ops,
        sectors: Some(sectors(io.read_bytes, io.write_bytes)),
        ..Count::default()
    }
}

/// Sums over the devices that count nothing twice, beginning with what no device is. A number that
/// one of them does not have is unknown in total; times are those of all operations but
/// `untimed_ops`.
fn total(devices: &BTreeMap<String, Device>, mut sum: Count) -> Count {
    for Device { count, .. } in devices.values().filter(|device| !device.stacked) {
        for (sum, count) in [
            (&mut sum.read_bytes, count.read_bytes),
            (&mut sum.write_bytes, count.write_bytes),
            (&mut sum.read_ops, count.read_ops),
            (&mut sum.write_ops, count.write_ops),
            (&mut sum.discard_bytes, count.discard_bytes),
            (&mut sum.discard_ops, count.discard_ops),
            (&mut sum.flush_ops, count.flush_ops),
            (&mut sum.sectors, count.sectors),
            (&mut sum.errors, count.errors),
            (&mut sum.in_flight, count.in_flight),
            (&mut sum.read_merges, count.read_merges),
            (&mut sum.write_merges, count.write_merges),
            (&mut sum.untimed_ops, count.untimed_ops),
        ] {
            *sum = sum.zip(count).map(|(sum, count)| sum.saturating_add(count));
        }
        for (sum, count) in [
            (&mut sum.read_service_seconds, count.read_service_seconds),
            (&mut sum.write_service_seconds, count.write_service_seconds),
            (&mut sum.read_wait_seconds, count.read_wait_seconds),
            (&mut sum.write_wait_seconds, count.write_wait_seconds),
        ] {
            *sum = sum.map(|sum| sum + count.unwrap_or(0.0));
        }
    }
    sum
}

fn named(number: u32, sample: &Sample) -> Device {
    let known = sample.block_devices.get(&number);
    Device {
        name: known.and_then(|device| device.name.clone()),
        stacked: is_stacked(number, sample),
        count: Count::default(),
    }
}

pub(super) fn is_stacked(number: u32, sample: &Sample) -> bool {
    sample.block_devices.get(&number).is_some_and(|device| device.stacked)
}

fn numbers(device: u32) -> String {
    let (major, minor) = Key { device, ..Key::default() }.major_minor();
    format!("{major}:{minor}")
}

fn sectors(read_bytes: u64, write_bytes: u64) -> u64 {
    const SECTOR_SHIFT: u32 = 9;
    read_bytes.saturating_add(write_bytes) >> SECTOR_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(stacked: bool, count: Count) -> Device {
        Device { name: None, stacked, count }
    }

    fn devices(all: [Device; 3]) -> BTreeMap<String, Device> {
        all.into_iter().enumerate().map(|(number, device)| (number.to_string(), device)).collect()
    }

    #[test]
    fn totals_leave_out_what_stands_on_other_devices() {
        let bytes = |bytes| Count { read_bytes: Some(bytes), ..Count::default() };
        let devices =
            devices([device(false, bytes(1)), device(true, bytes(10)), device(false, bytes(100))]);
        assert_eq!(total(&devices, bytes(0)).read_bytes, Some(101));
    }

    #[test]
    fn a_count_that_one_device_lacks_is_unknown_and_times_are_those_that_are_known() {
        let known = Count {
            in_flight: Some(1),
            read_service_seconds: Some(0.5),
            untimed_ops: Some(0),
            ..Count::default()
        };
        let bios = Count { untimed_ops: Some(3), ..Count::default() };
        let devices =
            devices([device(false, known), device(false, bios), device(true, Count::default())]);
        let zero = Count {
            in_flight: Some(0),
            untimed_ops: Some(0),
            read_service_seconds: Some(0.0),
            ..Count::default()
        };
        let sum = total(&devices, zero);
        assert_eq!((sum.in_flight, sum.untimed_ops), (None, Some(3)));
        assert_eq!((sum.read_service_seconds, sum.errors), (Some(0.5), None));
    }

    #[test]
    fn requests_that_are_not_stamped_are_not_followed() {
        let sample = Sample::empty();
        let mut cell = BlockCell { issued: 5, returned: 3, ..BlockCell::default() };
        assert_eq!(count(&cell, &sample, true).in_flight, Some(2));
        assert_eq!(count(&cell, &sample, false).in_flight, None);
        assert_eq!(count(&cell, &sample, false).read_wait_seconds, None);
        cell.unstamped = 1;
        assert_eq!(count(&cell, &sample, true).in_flight, None);
        let without = Sample { flight: false, merges: false, ..sample };
        let count = count(&BlockCell::default(), &without, true);
        assert_eq!((count.in_flight, count.read_merges, count.errors), (None, None, Some(0)));
    }

    #[test]
    fn latencies_end_at_powers_of_two_and_add_up_with_and_without_stamps() {
        const DISK: u32 = 8 << 20;
        let mut usage = Usage::of_path(1, "/a");
        let mut cell = BlockCell::default();
        cell.read.service_nanoseconds = 2_000_000_000;
        cell.read.wait_nanoseconds = 500_000_000;
        usage.block = Some(BTreeMap::from([(DISK, cell)]));
        let mut times = LatencyCell::default();
        times.read.untimed_nanoseconds = 1_000_000_000;
        times.read.buckets[20] = 2;
        usage.latency = BTreeMap::from([(DISK, times)]);
        let latency = latency(&usage, &Sample::empty());
        assert_eq!((latency.read.count, latency.read.sum_seconds), (2, 3.5));
        assert_eq!((latency.write.count, latency.write.sum_seconds), (0, 0.0));
        let bounds = &latency.le_seconds;
        assert_eq!(bounds.len() + 1, latency.read.buckets.len());
        assert_eq!((bounds[0], bounds[18], bounds[22]), (1.0 / 262_144.0, 1.0, 16.0));
    }

    #[test]
    fn a_0_of_the_throttle_files_is_unknown() {
        let sample = Sample::empty();
        let v2 = filed(&IoUsage::default(), &sample);
        assert_eq!((v2.total.read_bytes, v2.reason), (Some(0), None));
        let v1 = Sample { block_is_v1: true, ..sample };
        let unknown = filed(&IoUsage::default(), &v1);
        assert_eq!((unknown.source.as_deref(), unknown.total), (Some("cgroup"), Count::default()));
        assert_eq!(unknown.reason, Some(Reason::OnlyThrottledCounted.to_string()));
        let counters = IoCounters { read_bytes: 512, ..IoCounters::default() };
        let disk = crate::cgroup::Device { major: 8, minor: 0 };
        let known = filed(&IoUsage { devices: vec![(disk, counters)] }, &v1);
        assert_eq!((known.total.sectors, known.reason), (Some(1), None));
    }
}
