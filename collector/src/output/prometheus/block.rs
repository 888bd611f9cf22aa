//! Block I/O by device. Devices that only pass I/O on to others are left out: those count it, and
//! sums must not count it twice.

use crate::{
    model::{Container, Count, Device},
    output::prometheus::{
        Row, Samples,
        family::{Family, counter, gauge, histogram},
    },
};

pub(super) const FAMILIES: &[Family] = &[
    counter("container_fs_reads_bytes_total", "Bytes read.", |row, out| {
        each(row, out, |count| count.read_bytes);
    }),
    counter("container_fs_writes_bytes_total", "Bytes written.", |row, out| {
        each(row, out, |count| count.write_bytes);
    }),
    counter("container_fs_reads_total", "Reads completed.", |row, out| {
        each(row, out, |count| count.read_ops);
    }),
    counter("container_fs_writes_total", "Writes completed.", |row, out| {
        each(row, out, |count| count.write_ops);
    }),
    counter("container_fs_sector_reads_total", "Sectors of 512 bytes read.", |row, out| {
        each(row, out, |count| count.read_bytes.map(sectors));
    }),
    counter("container_fs_sector_writes_total", "Sectors of 512 bytes written.", |row, out| {
        each(row, out, |count| count.write_bytes.map(sectors));
    }),
    counter(
        "container_fs_reads_merged_total",
        "Reads that became part of another request.",
        |row, out| each(row, out, |count| count.read_merges),
    ),
    counter(
        "container_fs_writes_merged_total",
        "Writes that became part of another request.",
        |row, out| each(row, out, |count| count.write_merges),
    ),
    counter(
        "container_fs_read_seconds_total",
        "Time from the driver's start of reads to their completion, in seconds.",
        |row, out| {
            each_device(row, |device, count| {
                out.with(&[("device", device)], count.read_service_seconds);
            });
        },
    ),
    counter(
        "container_fs_write_seconds_total",
        "Time from the driver's start of writes to their completion, in seconds.",
        |row, out| {
            each_device(row, |device, count| {
                out.with(&[("device", device)], count.write_service_seconds);
            });
        },
    ),
    gauge("container_fs_io_current", "Requests that the driver has now.", |row, out| {
        each(row, out, |count| count.in_flight);
    }),
    counter("container_blkio_device_usage_total", "Bytes by operation.", |row, out| {
        for BlockDevice { path, number, count } in &row.devices {
            let (major, minor) = number.split_once(':').unwrap_or_default();
            let Count { read_bytes, write_bytes, discard_bytes, .. } = **count;
            for (operation, bytes) in
                [("Read", read_bytes), ("Write", write_bytes), ("Discard", discard_bytes)]
            {
                let place = [("device", path.as_str()), ("major", major), ("minor", minor)];
                let [device, major, minor] = place;
                out.with(&[device, major, minor, ("operation", operation)], bytes);
            }
        }
    }),
    counter(
        "container_pressure_io_waiting_seconds_total",
        "Time in which some task waited for I/O, in seconds.",
        |row, out| out.value(row.block.pressure.and_then(|pressure| pressure.some_seconds)),
    ),
    counter(
        "container_pressure_io_stalled_seconds_total",
        "Time in which all tasks waited for I/O, in seconds.",
        |row, out| out.value(row.block.pressure.and_then(|pressure| pressure.full_seconds)),
    ),
    counter(
        "tare_container_block_wait_seconds_total",
        "Time that requests waited for the driver, in seconds.",
        |row, out| {
            out.with(&[("operation", "read")], row.block.total.read_wait_seconds);
            out.with(&[("operation", "write")], row.block.total.write_wait_seconds);
        },
    ),
    counter(
        "tare_container_block_errors_total",
        "Block I/O operations that failed.",
        |row, out| out.value(row.block.total.errors),
    ),
    counter(
        "tare_container_block_flushes_total",
        "Writes that asked for a flush of the device's cache.",
        |row, out| out.value(row.block.total.flush_ops),
    ),
    histogram(
        "tare_container_block_latency_seconds",
        "How long block requests took, from their making to their completion.",
        |row, out| {
            if let Some(latency) = &row.block.latency {
                out.histogram(&[("operation", "read")], &latency.le_seconds, &latency.read);
                out.histogram(&[("operation", "write")], &latency.le_seconds, &latency.write);
            }
        },
    ),
];

/// A device whose I/O no other one counts again.
pub(super) struct BlockDevice<'a> {
    path: String,
    number: &'a str,
    count: &'a Count,
}

impl<'a> BlockDevice<'a> {
    pub(super) fn all_of(container: &'a Container) -> Vec<Self> {
        let devices = container.block.devices.iter().filter(|(_, device)| !device.stacked);
        let named = |(number, device): (&'a String, &'a Device)| Self {
            path: path(device.name.as_deref(), number),
            number,
            count: &device.count,
        };
        devices.map(named).collect()
    }
}

fn each(row: &Row, out: &mut Samples, number: fn(&Count) -> Option<u64>) {
    each_device(row, |device, count| out.with(&[("device", device)], number(count)));
}

fn each_device(row: &Row, mut write: impl FnMut(&str, &Count)) {
    row.devices.iter().for_each(|device| write(&device.path, device.count));
}

/// A device is called by its path, which may have another name in the container; without a name,
/// by its number.
fn path(name: Option<&str>, number: &str) -> String {
    name.map_or_else(|| number.to_owned(), |name| format!("/dev/{name}"))
}

fn sectors(bytes: u64) -> u64 {
    const SECTOR_SHIFT: u32 = 9;
    bytes >> SECTOR_SHIFT
}
