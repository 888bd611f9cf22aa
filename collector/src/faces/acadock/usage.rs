//! What one container uses, in the fields of acadock. What is unknown is left out.

use std::collections::BTreeMap;

use serde::Serialize;
use tare_model::{Container, Device, Interface, Memory, NetworkIo, Snapshot};

/// `/containers/{id}/usage`.
#[derive(Serialize)]
pub(super) struct Usage<'a> {
    pub(super) memory: MemoryUsage,
    pub(super) cpu: CpuUsage,
    pub(super) io: IoUsage<'a>,
    pub(super) net: NetUsage,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'a str, &'a str>,
}

/// Bytes, each by its name in the program and by its name in the older documentation.
#[derive(Serialize)]
pub(super) struct MemoryUsage(BTreeMap<&'static str, u64>);

#[derive(Serialize)]
pub(super) struct CpuUsage {
    /// 100 is one CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_in_percents: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct NetUsage {
    /// The name of the only device, or nothing.
    interface: String,
    received: Traffic,
    transmit: Traffic,
    #[serde(skip_serializing_if = "Option::is_none")]
    rx_bps: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_bps: Option<u64>,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Traffic {
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drop: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errs: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct IoUsage<'a> {
    devices: Vec<DeviceUsage<'a>>,
}

#[derive(Serialize)]
struct DeviceUsage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_path: Option<String>,
    major: u32,
    minor: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_ios: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_ios: Option<u64>,
}

impl<'a> Usage<'a> {
    pub(super) fn new(row: &'a Container, snapshot: &Snapshot, seen_from_host: bool) -> Self {
        Self {
            memory: MemoryUsage::new(&row.memory),
            cpu: CpuUsage {
                usage_in_percents: row.cpu.percent.map(|percent| percent.round() as u64),
            },
            io: IoUsage {
                devices: row.block.devices.iter().filter_map(|(n, one)| device(n, one)).collect(),
            },
            net: NetUsage::new(row, snapshot, seen_from_host),
            labels: BTreeMap::new(),
        }
    }

    pub(super) fn with_labels(mut self, row: &'a Container) -> Self {
        let text = |(name, value): (&'a String, &'a String)| (name.as_str(), value.as_str());
        self.labels = row.labels.iter().map(text).collect();
        self
    }
}

impl MemoryUsage {
    fn new(memory: &Memory) -> Self {
        let fields = [
            ("memory_usage", "mem_usage", memory.usage_bytes),
            ("memory_limit", "mem_limit", memory.limit_bytes),
            ("max_memory_usage", "max_mem_usage", memory.peak_bytes),
            ("swap_usage", "swap_mem_usage", memory.swap_bytes),
            ("swap_limit", "swap_mem_limit", swap_limit(memory)),
            ("max_swap_usage", "max_swap_mem_usage", memory.swap_peak_bytes),
        ];
        let known = fields.into_iter().filter_map(|(new, old, bytes)| Some((new, old, bytes?)));
        Self(known.flat_map(|(new, old, bytes)| [(new, bytes), (old, bytes)]).collect())
    }
}

impl NetUsage {
    fn new(row: &Container, snapshot: &Snapshot, seen_from_host: bool) -> Self {
        let NetworkIo { rx_bytes, tx_bytes, own_sockets } = row.network.io();
        // On the host's network its devices count everybody's packets.
        let devices = row.network.interfaces.as_ref().filter(|_| !own_sockets);
        let interface = devices.filter(|devices| devices.len() == 1);
        let sum = |number: fn(&Interface) -> u64| {
            let numbers = devices.map(|devices| devices.values().map(number));
            numbers.map(|numbers| numbers.fold(0, u64::saturating_add))
        };
        let into_container = Traffic {
            bytes: rx_bytes,
            packets: sum(|device| device.rx_packets),
            drop: sum(|device| device.rx_dropped),
            errs: sum(|device| device.rx_errors),
        };
        let out_of_container = Traffic {
            bytes: tx_bytes,
            packets: sum(|device| device.tx_packets),
            drop: sum(|device| device.tx_dropped),
            errs: sum(|device| device.tx_errors),
        };
        let change = snapshot.changes.get(&row.cgroup);
        let rounded = |rate: Option<f64>| rate.map(|rate| rate.round() as u64);
        let into_bps = rounded(change.and_then(|change| change.rx_bytes_per_second));
        let out_of_bps = rounded(change.and_then(|change| change.tx_bytes_per_second));
        let interface = interface.and_then(|devices| devices.keys().next().cloned());
        let interface = interface.unwrap_or_default();
        let (received, transmit, rx_bps, tx_bps) = if seen_from_host {
            (out_of_container, into_container, out_of_bps, into_bps)
        } else {
            (into_container, out_of_container, into_bps, out_of_bps)
        };
        Self { interface, received, transmit, rx_bps, tx_bps }
    }
}

/// The limit of swap alone: v1 limits memory and swap together.
pub(super) fn swap_limit(memory: &Memory) -> Option<u64> {
    let limits = &memory.limits;
    let both = || Some(limits.memory_and_swap_max_bytes?.saturating_sub(limits.max_bytes?));
    limits.swap_max_bytes.or_else(both)
}

fn device<'a>(number: &str, device: &'a Device) -> Option<DeviceUsage<'a>> {
    let (major, minor) = number.split_once(':')?;
    Some(DeviceUsage {
        device: device.name.as_deref(),
        device_path: device.name.as_ref().map(|name| format!("/dev/{name}")),
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        read_bytes: device.count.read_bytes,
        write_bytes: device.count.write_bytes,
        read_ios: device.count.read_ops,
        write_ios: device.count.write_ops,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tare_model::Change;

    use super::*;
    use crate::output::fixture;

    fn web() -> Snapshot {
        let mut web = fixture::web();
        let devices = web.network.interfaces.as_mut().unwrap();
        devices.retain(|name, _| name == "eth0");
        let device = devices.entry("eth0".to_owned()).or_default();
        (device.rx_bytes, device.tx_bytes) = (10, 20);
        (device.rx_packets, device.tx_packets) = (1, 2);
        web.cpu.percent = Some(249.6);
        web.labels.insert("app".to_owned(), "shop".to_owned());
        let change = Change {
            rx_bytes_per_second: Some(3.6),
            tx_bytes_per_second: Some(0.2),
            ..Change::default()
        };
        let cgroup = web.cgroup.clone();
        let mut snapshot = Snapshot::new(None, fixture::report(vec![web]));
        snapshot.changes.insert(cgroup, change);
        snapshot
    }

    fn usage(snapshot: &Snapshot, seen_from_host: bool) -> Value {
        let row = &snapshot.report.containers[0];
        serde_json::to_value(Usage::new(row, snapshot, seen_from_host).with_labels(row)).unwrap()
    }

    #[test]
    fn the_network_is_seen_from_the_wanted_side() {
        let snapshot = web();
        let (host, container) = (usage(&snapshot, true), usage(&snapshot, false));
        assert_eq!(host["net"]["interface"], "eth0");
        for (one, other) in [(&host, &container), (&container, &host)] {
            assert_eq!(one["net"]["received"], other["net"]["transmit"]);
            assert_eq!(one["net"]["rx_bps"], other["net"]["tx_bps"]);
        }
        assert_eq!(host["net"]["received"]["bytes"], 20);
        assert_eq!(host["net"]["received"]["packets"], 2);
        assert_eq!(host["net"]["tx_bps"], 4);
    }

    #[test]
    fn memory_has_both_spellings_and_nothing_that_is_unknown() {
        let mut memory = Memory { usage_bytes: Some(5), limit_bytes: Some(7), ..Memory::default() };
        memory.limits.max_bytes = Some(7);
        memory.limits.memory_and_swap_max_bytes = Some(9);
        assert_eq!(
            serde_json::to_value(MemoryUsage::new(&memory)).unwrap(),
            json!({
                "memory_usage": 5, "mem_usage": 5, "memory_limit": 7, "mem_limit": 7,
                "swap_limit": 2, "swap_mem_limit": 2,
            })
        );
    }

    #[test]
    fn cpu_devices_and_labels() {
        let mut snapshot = web();
        let mut device = Device { name: Some("sda".to_owned()), ..Device::default() };
        (device.count.read_bytes, device.count.write_ops) = (Some(4096), Some(3));
        let block = &mut snapshot.report.containers[0].block;
        block.devices.clear();
        block.devices.insert("8:16".to_owned(), device);
        let usage = usage(&snapshot, true);
        assert_eq!(usage["cpu"], json!({ "usage_in_percents": 250 }));
        assert_eq!(usage["labels"]["app"], "shop");
        let device = json!({
            "device": "sda", "device_path": "/dev/sda", "major": 8, "minor": 16,
            "read_bytes": 4096, "write_ios": 3,
        });
        assert_eq!(usage["io"]["devices"], json!([device]));
    }
}
