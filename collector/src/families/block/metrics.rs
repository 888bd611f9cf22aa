//! Metrics of block I/O, by device. A device that passes its I/O on to another one (a stacked
//! device) is left out: the other one counts that I/O, and a sum must not count it twice.

use tare_model::{Container, Count};

use crate::exposition::{Metric, Origin, Samples, counter, gauge, histogram};

pub(crate) const ORIGIN: Origin = Origin {
    source: "a program at each completed request (`block_rq_complete`); without BPF `io.stat` or `blkio.throttle.*`, which have bytes and operations only",
    kernel: "BTF; files: all",
    cost: "99 to 311 ns for each request; the counters are read from mapped memory in each sample",
    exceptions: &[
        (
            "container_fs_read_seconds_total",
            "the time stamps of each request (`block_rq_complete`)",
            "BTF",
        ),
        (
            "container_fs_write_seconds_total",
            "the time stamps of each request (`block_rq_complete`)",
            "BTF",
        ),
        (
            "container_fs_io_time_seconds_total",
            "the time stamps of each request (`block_rq_complete`)",
            "BTF",
        ),
        (
            "container_fs_io_time_weighted_seconds_total",
            "the time stamps of each request (`block_rq_complete`)",
            "BTF",
        ),
        (
            "container_fs_io_current",
            "programs at each request issued, completed and returned",
            "BTF",
        ),
        ("container_fs_reads_merged_total", "programs at each merge", "BTF"),
        ("container_fs_writes_merged_total", "programs at each merge", "BTF"),
    ],
};

pub(crate) const METRICS: &[Metric] = &[
    counter(
        "container_fs_reads_bytes_total",
        "Bytes read from the block device.",
        |container, out| {
            each(container, out, |count| count.read_bytes);
        },
    ),
    counter(
        "container_fs_writes_bytes_total",
        "Bytes written to the block device.",
        |container, out| {
            each(container, out, |count| count.write_bytes);
        },
    ),
    counter("container_fs_reads_total", "Read requests completed.", |container, out| {
        each(container, out, |count| count.read_ops);
    }),
    counter("container_fs_writes_total", "Write requests completed.", |container, out| {
        each(container, out, |count| count.write_ops);
    }),
    counter("container_fs_sector_reads_total", "Sectors of 512 bytes read.", |container, out| {
        each(container, out, |count| count.read_bytes.map(sectors));
    }),
    counter(
        "container_fs_sector_writes_total",
        "Sectors of 512 bytes written.",
        |container, out| {
            each(container, out, |count| count.write_bytes.map(sectors));
        },
    ),
    counter(
        "container_fs_reads_merged_total",
        "Reads merged into another request.",
        |container, out| each(container, out, |count| count.read_merges),
    ),
    counter(
        "container_fs_writes_merged_total",
        "Writes merged into another request.",
        |container, out| each(container, out, |count| count.write_merges),
    ),
    counter(
        "container_fs_read_seconds_total",
        "Time that the driver and the device took for reads, in seconds.",
        |container, out| {
            each_device(container, |device, _, count| {
                out.with(&[("device", device)], count.read_service_seconds);
            });
        },
    ),
    counter(
        "container_fs_write_seconds_total",
        "Time that the driver and the device took for writes, in seconds.",
        |container, out| {
            each_device(container, |device, _, count| {
                out.with(&[("device", device)], count.write_service_seconds);
            });
        },
    ),
    counter(
        "container_fs_io_time_seconds_total",
        "Time that the driver and the device took for reads and writes, in seconds. Requests at the same time count each.",
        |container, out| {
            each_device(container, |device, _, count| {
                let times = [count.read_service_seconds, count.write_service_seconds];
                out.with(&[("device", device)], times.into_iter().sum::<Option<f64>>());
            });
        },
    ),
    counter(
        "container_fs_io_time_weighted_seconds_total",
        "Time from the creation of reads and writes to their completion, in seconds. Requests at the same time count each.",
        |container, out| {
            each_device(container, |device, _, count| {
                let times = [
                    count.read_wait_seconds,
                    count.read_service_seconds,
                    count.write_wait_seconds,
                    count.write_service_seconds,
                ];
                out.with(&[("device", device)], times.into_iter().sum::<Option<f64>>());
            });
        },
    ),
    gauge("container_fs_io_current", "Requests in flight.", |container, out| {
        each(container, out, |count| count.in_flight);
    }),
    counter(
        "container_blkio_device_usage_total",
        "Bytes read, written and discarded, by operation.",
        |container, out| {
            each_device(container, |device, number, count| {
                let (major, minor) = number.split_once(':').unwrap_or_default();
                for (operation, bytes) in [
                    ("Read", count.read_bytes),
                    ("Write", count.write_bytes),
                    ("Discard", count.discard_bytes),
                ] {
                    let labels = [
                        ("device", device),
                        ("major", major),
                        ("minor", minor),
                        ("operation", operation),
                    ];
                    out.with(&labels, bytes);
                }
            });
        },
    ),
    counter(
        "tare_container_block_wait_seconds_total",
        "Time that block requests waited before the driver started them, in seconds.",
        |container, out| {
            out.with(&[("operation", "read")], container.block.total.read_wait_seconds);
            out.with(&[("operation", "write")], container.block.total.write_wait_seconds);
        },
    ),
    counter(
        "tare_container_block_errors_total",
        "Block I/O operations that failed.",
        |container, out| out.value(container.block.total.errors),
    ),
    counter(
        "tare_container_block_flushes_total",
        "Write requests that flush the cache of the device.",
        |container, out| out.value(container.block.total.flush_ops),
    ),
    histogram(
        "tare_container_block_latency_seconds",
        "Time from the creation of a block request to its completion, in seconds.",
        |container, out| {
            if let Some(latency) = &container.block.latency {
                out.histogram(&[("operation", "read")], &latency.le_seconds, &latency.read);
                out.histogram(&[("operation", "write")], &latency.le_seconds, &latency.write);
            }
        },
    ),
];

fn each(container: &Container, out: &mut Samples, number: fn(&Count) -> Option<u64>) {
    each_device(container, |device, _, count| out.with(&[("device", device)], number(count)));
}

/// Calls `write` with the path, the number and the counters of each device that is not stacked. A
/// container may know the device by another path. A device without a name goes by its number.
fn each_device(container: &Container, mut write: impl FnMut(&str, &str, &Count)) {
    let mut path = String::new();
    for (number, device) in &container.block.devices {
        if !device.stacked {
            path.clear();
            match &device.name {
                Some(name) => path.extend(["/dev/", name]),
                None => path.push_str(number),
            }
            write(&path, number, &device.count);
        }
    }
}

fn sectors(bytes: u64) -> u64 {
    const SECTOR_SHIFT: u32 = 9;
    bytes >> SECTOR_SHIFT
}
