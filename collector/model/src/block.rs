//! Block I/O of a container: its devices, and the sums over those that do not stand on others.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Pressure, Word};

/// Block I/O.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Block {
    /// `bpf` or `cgroup`; `None` if there is no source.
    pub source: Option<Word>,
    /// Why numbers are unknown, or which I/O they do not include.
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
    /// The counts.
    #[serde(flatten)]
    pub count: Count,
}

/// Counts of block I/O. `None` is unknown.
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
    /// Writes that requested a flush of the device's cache.
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
