//! Lists of block I/O by device and operation.

use serde::Serialize;
use tare_ebpf::{BlockCell, Key, Requests};

use crate::{
    families::block::BlockContext,
    sample::{Sample, Usage},
};

/// What a container did on block devices. A list that is not known is `null`.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct BlkioStats {
    io_service_bytes_recursive: Option<Vec<Entry>>,
    io_serviced_recursive: Option<Vec<Entry>>,
    io_queue_recursive: Option<Vec<Entry>>,
    io_service_time_recursive: Option<Vec<Entry>>,
    io_wait_time_recursive: Option<Vec<Entry>>,
    io_merged_recursive: Option<Vec<Entry>>,
    /// The kernel counts nothing like it any more.
    io_time_recursive: Option<Vec<Entry>>,
    sectors_recursive: Option<Vec<Entry>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Entry {
    major: u32,
    minor: u32,
    op: &'static str,
    value: u64,
}

/// The names of operations: those of cgroup v1, or those of v2.
#[derive(Clone, Copy)]
struct Names {
    read: &'static str,
    write: &'static str,
    /// v2 has no discards in these lists.
    discard: Option<&'static str>,
    /// v2 has no sums.
    total: Option<&'static str>,
}

const V1: Names =
    Names { read: "Read", write: "Write", discard: Some("Discard"), total: Some("Total") };
const V2: Names = Names { read: "read", write: "write", discard: None, total: None };

/// The block I/O of a container: from our programs, or else from cgroup files.
pub(super) fn blkio(usage: &Usage, sample: &Sample) -> BlkioStats {
    let context = &sample.block;
    let names = if context.is_v1 { V1 } else { V2 };
    if let Some(cells) = &usage.block {
        // Of stacked devices the lowest one counts, or clients would add the same bytes twice.
        let devices = cells.iter().filter(|(device, _)| !context.is_stacked(*device));
        let devices =
            devices.map(|(device, cell)| (Key { device, ..Key::default() }.major_minor(), cell));
        return counted(&devices.collect::<Vec<_>>(), names, context);
    }
    filed(usage, names, context)
}

type Cells<'a> = [((u32, u32), &'a BlockCell)];

fn counted(devices: &Cells<'_>, names: Names, context: &BlockContext) -> BlkioStats {
    let has_requests = |(major, minor): (u32, u32)| {
        let number = Key::device(0, major, minor).device;
        context.devices.get(&number).is_none_or(|device| device.requests)
    };
    let with_requests: Vec<_> =
        devices.iter().copied().filter(|(device, _)| has_requests(*device)).collect();
    let by_op = |devices: &Cells<'_>, count: fn(&Requests) -> u64, discards: bool| {
        let entries = devices.iter().flat_map(|(device, cell)| {
            let BlockCell { read, write, discard, .. } = cell;
            let discard = names.discard.filter(|_| discards).map(|name| (name, count(discard)));
            ops(*device, names, count(read), count(write), discard)
        });
        Some(entries.collect::<Vec<_>>())
    };
    let in_flight = || {
        let entries =
            with_requests.iter().map(|(device, cell)| entry(*device, "Total", cell.in_flight()));
        entries.collect()
    };
    let merges = || {
        let entries = devices.iter().flat_map(|(device, cell)| {
            ops(*device, names, cell.read_merges, cell.write_merges, None)
        });
        entries.collect()
    };
    let sectors = devices.iter().map(|(device, cell)| {
        entry(*device, "", (cell.read.bytes.saturating_add(cell.write.bytes)) / 512)
    });
    // Requests without a stamp may have been issued before our programs counted.
    let all_stamped = with_requests.iter().all(|(_, cell)| cell.unstamped == 0);
    BlkioStats {
        io_service_bytes_recursive: by_op(devices, |of| of.bytes, true),
        io_serviced_recursive: by_op(devices, |of| of.ops, true),
        io_queue_recursive: (context.counts_in_flight && all_stamped).then(in_flight),
        io_service_time_recursive: by_op(&with_requests, |of| of.service_nanoseconds, false),
        io_wait_time_recursive: by_op(&with_requests, |of| of.wait_nanoseconds, false),
        io_merged_recursive: context.counts_merges.then(merges),
        io_time_recursive: None,
        sectors_recursive: Some(sectors.collect()),
    }
}

/// From cgroup files. On v1 they know nothing where no I/O is throttled.
fn filed(usage: &Usage, names: Names, context: &BlockContext) -> BlkioStats {
    let Some(io) = &usage.readings.block else { return BlkioStats::default() };
    let devices: Vec<_> = io.devices.iter().collect();
    let is_empty = devices.iter().all(|(_, io)| io.read_bytes == 0 && io.write_bytes == 0);
    if context.is_v1 && is_empty {
        return BlkioStats::default();
    }
    let number = |device: &tare_parsers::io::Device| (device.major, device.minor);
    let is_counted = |device: &tare_parsers::io::Device| {
        !context.is_stacked(Key::device(0, device.major, device.minor).device)
    };
    let devices: Vec<_> = devices.into_iter().filter(|(device, _)| is_counted(device)).collect();
    let list = |count: fn(&tare_parsers::io::IoCounters) -> (u64, u64, Option<u64>)| {
        let entries = devices.iter().flat_map(|(device, io)| {
            let (read, write, discard) = count(io);
            ops(number(device), names, read, write, names.discard.zip(discard))
        });
        Some(entries.collect())
    };
    let sectors = devices.iter().map(|(device, io)| {
        entry(number(device), "", (io.read_bytes.saturating_add(io.write_bytes)) / 512)
    });
    BlkioStats {
        io_service_bytes_recursive: list(|io| (io.read_bytes, io.write_bytes, io.discard_bytes)),
        io_serviced_recursive: list(|io| (io.read_ops, io.write_ops, io.discard_ops)),
        sectors_recursive: Some(sectors.collect()),
        ..BlkioStats::default()
    }
}

fn ops(
    device: (u32, u32),
    names: Names,
    read: u64,
    write: u64,
    discard: Option<(&'static str, u64)>,
) -> impl Iterator<Item = Entry> {
    let all = read.saturating_add(write).saturating_add(discard.map_or(0, |(_, value)| value));
    let total = names.total.map(|name| (name, all));
    let ops = [Some((names.read, read)), Some((names.write, write)), discard, total];
    ops.into_iter().flatten().map(move |(op, value)| entry(device, op, value))
}

fn entry((major, minor): (u32, u32), op: &'static str, value: u64) -> Entry {
    Entry { major, minor, op, value }
}
