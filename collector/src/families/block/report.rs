//! From counters of block I/O to the contract.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use jiff::Timestamp;
use tare_ebpf::{
    BlockCell, Cell, Key, LATENCY_BUCKETS, LATENCY_FIRST_EXPONENT, Latencies, LatencyCell, Requests,
};
use tare_model::{Block, Count, Device, Histogram, Latency};
use tare_parsers::{
    io::{Device as DeviceId, IoCounters, IoUsage},
    pressure::Pressure,
};

use crate::{
    devices::BlockDevice,
    families::{block::ByDevice, pressure, units::seconds},
    reason::Reason,
};

/// What a sample knows of block I/O besides the counters of each cgroup.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct BlockContext {
    /// The block devices that any counter names, by [`Key::device`].
    pub devices: BTreeMap<u32, BlockDevice>,
    /// Whether block I/O is charged in a v1 hierarchy.
    pub is_v1: bool,
    /// Whether requests in flight are counted.
    pub counts_in_flight: bool,
    /// Whether merges are counted.
    pub counts_merges: bool,
}

/// What block I/O's part of a report is made of.
#[derive(Clone, Copy, Debug)]
pub struct BlockInputs<'a> {
    /// Counters by device ([`Key::device`]); `None` if no program counts this cgroup's I/O.
    pub cells: Option<&'a ByDevice<BlockCell>>,
    /// Latencies, by the same device.
    pub latency: &'a ByDevice<LatencyCell>,
    /// What cgroup files say, where no program counts.
    pub files: Option<&'a IoUsage>,
    /// When the counting began, of a cgroup that is older.
    pub since: Option<Timestamp>,
    /// Whether the counters include what was done before that.
    pub has_baseline: bool,
    /// Why nothing is known.
    pub reason: Option<&'a Reason>,
    /// Time lost to waiting for I/O.
    pub pressure: Option<Pressure>,
}

/// Block I/O of a cgroup.
pub fn report(inputs: BlockInputs<'_>, context: &BlockContext) -> Block {
    let mut block = if let Some(cells) = inputs.cells {
        counted(inputs, cells, context)
    } else if let Some(io) = inputs.files {
        filed(io, context)
    } else {
        Block::default()
    };
    if block.source.is_none() {
        block.reason = inputs.reason.map(Reason::to_string);
    }
    block.pressure = inputs.pressure.map(pressure::report);
    block
}

/// Bytes read and written, by the same count as [`report`].
pub fn bytes(inputs: BlockInputs<'_>, context: &BlockContext) -> Option<(u64, u64)> {
    if let Some(devices) = inputs.cells {
        let add = |(read, written): (u64, u64), cell: &BlockCell| {
            (read.saturating_add(cell.read.bytes), written.saturating_add(cell.write.bytes))
        };
        let counted = devices.iter().filter(|(number, _)| !context.is_stacked(*number));
        return Some(counted.map(|(_, cell)| cell).fold((0, 0), add));
    }
    let total = report(inputs, context).total;
    total.read_bytes.zip(total.write_bytes)
}

/// Operations by [`latency_bucket`](tare_ebpf::latency_bucket), in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockOperations {
    pub read: [u64; LATENCY_BUCKETS],
    pub write: [u64; LATENCY_BUCKETS],
}

/// How many operations took how long, by the same count as [`report`]; `None` if nobody counts.
pub fn operations(inputs: BlockInputs<'_>, context: &BlockContext) -> Option<BlockOperations> {
    inputs.cells?;
    let mut sum = LatencyCell::default();
    let counted = inputs.latency.iter().filter(|(number, _)| !context.is_stacked(*number));
    counted.for_each(|(_, cell)| sum.add(cell));
    Some(BlockOperations { read: sum.read.buckets, write: sum.write.buckets })
}

/// Upper bounds of the buckets, in seconds; the last bucket has none.
pub fn latency_bounds() -> impl Iterator<Item = f64> {
    let exponents = (LATENCY_FIRST_EXPONENT..).take(LATENCY_BUCKETS - 1);
    exponents.map(|exponent| 2_f64.powi(exponent))
}

impl BlockContext {
    /// Whether what this device does is done by the devices below it again.
    pub fn is_stacked(&self, number: u32) -> bool {
        self.devices.get(&number).is_some_and(|device| device.stacked)
    }

    fn named(&self, number: u32) -> Device {
        let known = self.devices.get(&number);
        Device {
            name: known.and_then(|device| device.name.clone()),
            stacked: self.is_stacked(number),
            count: Count::default(),
        }
    }
}

fn counted(inputs: BlockInputs<'_>, cells: &ByDevice<BlockCell>, context: &BlockContext) -> Block {
    let device = |(number, cell): (u32, &BlockCell)| {
        let requests = context.devices.get(&number).is_none_or(|device| device.requests);
        let count = count(cell, context, requests);
        (numbers(number), Device { count, ..context.named(number) })
    };
    let devices = cells.iter().map(device).collect();
    Block {
        source: Some("bpf".into()),
        reason: context.is_v1.then(|| Reason::WritebackNotCharged.to_string()),
        since: inputs.since.filter(|_| !inputs.has_baseline),
        details_since: inputs.since,
        total: total(&devices, count(&BlockCell::default(), context, true)),
        latency: Some(latency(inputs, cells, context)),
        devices,
        pressure: None,
    }
}

/// The counts of a device with or without requests. A bio has no time stamps and is not followed
/// through the driver.
fn count(cell: &BlockCell, context: &BlockContext, requests: bool) -> Count {
    let BlockCell { read, write, discard, .. } = cell;
    // Requests without a stamp may have been issued before our programs counted.
    let in_flight = context.counts_in_flight && requests && cell.unstamped == 0;
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
        in_flight: in_flight.then(|| cell.in_flight()),
        read_merges: context.counts_merges.then_some(cell.read_merges),
        write_merges: context.counts_merges.then_some(cell.write_merges),
        untimed_ops: Some(cell.untimed),
        read_service_seconds: timed(|part| part.service_nanoseconds, read),
        write_service_seconds: timed(|part| part.service_nanoseconds, write),
        read_wait_seconds: timed(|part| part.wait_nanoseconds, read),
        write_wait_seconds: timed(|part| part.wait_nanoseconds, write),
    }
}

fn latency(
    inputs: BlockInputs<'_>,
    cells: &ByDevice<BlockCell>,
    context: &BlockContext,
) -> Latency {
    let (mut latencies, mut counted) = (LatencyCell::default(), BlockCell::default());
    for (number, cell) in inputs.latency.iter() {
        if !context.is_stacked(number) {
            latencies.add(cell);
            if let Some(cell) = cells.get(number) {
                counted.add(cell);
            }
        }
    }
    Latency {
        le_seconds: latency_bounds().collect(),
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
fn filed(io: &IoUsage, context: &BlockContext) -> Block {
    let device = |(device, io): &(DeviceId, IoCounters)| {
        let named = context.named(Key::device(0, device.major, device.minor).device);
        (device.to_string(), Device { count: filed_count(io), ..named })
    };
    let devices: BTreeMap<_, _> = io.devices.iter().map(device).collect();
    let none = IoCounters { discard_bytes: Some(0), discard_ops: Some(0), ..IoCounters::default() };
    let total = total(&devices, filed_count(&none));
    if context.is_v1 && total.sectors == Some(0) && total.discard_bytes.unwrap_or(0) == 0 {
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

    fn counting() -> BlockContext {
        BlockContext { counts_in_flight: true, counts_merges: true, ..BlockContext::default() }
    }

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
        let context = counting();
        let mut cell = BlockCell { issued: 5, returned: 3, ..BlockCell::default() };
        assert_eq!(count(&cell, &context, true).in_flight, Some(2));
        assert_eq!(count(&cell, &context, false).in_flight, None);
        assert_eq!(count(&cell, &context, false).read_wait_seconds, None);
        cell.unstamped = 1;
        assert_eq!(count(&cell, &context, true).in_flight, None);
        let without = BlockContext::default();
        let count = count(&BlockCell::default(), &without, true);
        assert_eq!((count.in_flight, count.read_merges, count.errors), (None, None, Some(0)));
    }

    #[test]
    fn latencies_end_at_powers_of_two_and_add_up_with_and_without_stamps() {
        const DISK: u32 = 8 << 20;
        let mut cell = BlockCell::default();
        cell.read.service_nanoseconds = 2_000_000_000;
        cell.read.wait_nanoseconds = 500_000_000;
        let cells = ByDevice::from_iter([(DISK, cell)]);
        let mut times = LatencyCell::default();
        times.read.untimed_nanoseconds = 1_000_000_000;
        times.read.buckets[20] = 2;
        let times = ByDevice::from_iter([(DISK, times)]);
        let inputs = BlockInputs {
            cells: Some(&cells),
            latency: &times,
            files: None,
            since: None,
            has_baseline: false,
            reason: None,
            pressure: None,
        };
        let latency = latency(inputs, &cells, &counting());
        assert_eq!((latency.read.count, latency.read.sum_seconds), (2, 3.5));
        assert_eq!((latency.write.count, latency.write.sum_seconds), (0, 0.0));
        let bounds = &latency.le_seconds;
        assert_eq!(bounds.len() + 1, latency.read.buckets.len());
        assert_eq!((bounds[0], bounds[18], bounds[22]), (1.0 / 262_144.0, 1.0, 16.0));
    }

    #[test]
    fn a_0_of_the_throttle_files_is_unknown() {
        let context = counting();
        let v2 = filed(&IoUsage::default(), &context);
        assert_eq!((v2.total.read_bytes, v2.reason), (Some(0), None));
        let v1 = BlockContext { is_v1: true, ..context };
        let unknown = filed(&IoUsage::default(), &v1);
        assert_eq!((unknown.source.as_deref(), unknown.total), (Some("cgroup"), Count::default()));
        assert_eq!(unknown.reason, Some(Reason::OnlyThrottledCounted.to_string()));
        let counters = IoCounters { read_bytes: 512, ..IoCounters::default() };
        let disk = DeviceId { major: 8, minor: 0 };
        let known = filed(&IoUsage { devices: vec![(disk, counters)] }, &v1);
        assert_eq!((known.total.sectors, known.reason), (Some(1), None));
    }
}
