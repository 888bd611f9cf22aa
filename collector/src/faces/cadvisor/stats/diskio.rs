//! Block I/O, by device.

use std::collections::BTreeMap;

use serde::Serialize;
use tare_model::{Block, Count, Device};

use super::Psi;
use crate::faces::cadvisor::catalog::nanoseconds;

/// One list for each number, with the devices that it is known of.
#[derive(Debug, Serialize)]
pub(super) struct DiskIo {
    io_service_bytes: Option<Vec<PerDevice>>,
    io_serviced: Option<Vec<PerDevice>>,
    io_queued: Option<Vec<PerDevice>>,
    sectors: Option<Vec<PerDevice>>,
    io_service_time: Option<Vec<PerDevice>>,
    io_wait_time: Option<Vec<PerDevice>>,
    io_merged: Option<Vec<PerDevice>>,
    psi: Option<Psi>,
}

#[derive(Debug, Serialize)]
struct PerDevice {
    device: String,
    major: u32,
    minor: u32,
    stats: BTreeMap<&'static str, u64>,
}

type Numbers = [(&'static str, Option<u64>); 3];

impl DiskIo {
    pub(super) fn new(block: &Block) -> Self {
        let list = |numbers: fn(&Count) -> Numbers| {
            let known = block.devices.iter();
            let known: Vec<_> =
                known.filter_map(|(number, one)| PerDevice::new(number, one, numbers)).collect();
            Some(known).filter(|known| !known.is_empty())
        };
        Self {
            io_service_bytes: list(|count| {
                [
                    ("Read", count.read_bytes),
                    ("Write", count.write_bytes),
                    ("Discard", count.discard_bytes),
                ]
            }),
            io_serviced: list(|count| {
                [
                    ("Read", count.read_ops),
                    ("Write", count.write_ops),
                    ("Discard", count.discard_ops),
                ]
            }),
            io_queued: list(|count| [("Total", count.in_flight), NONE, NONE]),
            sectors: list(|count| [("Count", count.sectors), NONE, NONE]),
            io_service_time: list(|count| {
                times(count.read_service_seconds, count.write_service_seconds)
            }),
            io_wait_time: list(|count| times(count.read_wait_seconds, count.write_wait_seconds)),
            io_merged: list(|count| {
                [("Read", count.read_merges), ("Write", count.write_merges), NONE]
            }),
            psi: block.pressure.as_ref().map(Psi::new),
        }
    }
}

const NONE: (&str, Option<u64>) = ("", None);

fn times(read: Option<f64>, write: Option<f64>) -> Numbers {
    [("Read", read.map(nanoseconds)), ("Write", write.map(nanoseconds)), NONE]
}

impl PerDevice {
    /// `None` if nothing is known. Where reads and writes are, their sum is `Total`, which leaves
    /// discards out, as the kernel's own does.
    fn new(number: &str, device: &Device, numbers: fn(&Count) -> Numbers) -> Option<Self> {
        let (major, minor) = number.split_once(':')?;
        let known = numbers(&device.count).into_iter();
        let mut stats: BTreeMap<_, _> =
            known.filter_map(|(name, number)| Some((name, number?))).collect();
        if let (Some(read), Some(write)) = (stats.get("Read"), stats.get("Write")) {
            stats.insert("Total", read.saturating_add(*write));
        }
        let name = device.name.as_ref().map(|name| format!("/dev/{name}"));
        (!stats.is_empty()).then_some(Self {
            device: name.unwrap_or_default(),
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            stats,
        })
    }
}
