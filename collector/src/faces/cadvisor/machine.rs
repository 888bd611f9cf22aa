//! The machine.

use std::{collections::BTreeMap, rc::Rc};

use hyper::body::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tare_model::{Host, HostHugePages, HostMemory, NumaNode};
use tokio::task;

use super::{
    Cadvisor,
    catalog::Catalog,
    storage::{self, OfMachine},
    without_nulls,
};
use crate::{
    faces::body,
    output::prometheus::topology::{cache_rows, node_of},
    server::answer::{Answer, JSON, streamed},
};

/// What the machine has.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    timestamp: Timestamp,
    num_cores: Option<u32>,
    num_physical_cores: Option<u32>,
    num_sockets: Option<u32>,
    cpu_frequency_khz: Option<u64>,
    memory_capacity: Option<u64>,
    swap_capacity: Option<u64>,
    memory_by_type: BTreeMap<String, MemoryModules>,
    hugepages: Vec<HugePages>,
    machine_id: Option<String>,
    system_uuid: Option<String>,
    boot_id: Option<String>,
    filesystems: Vec<OfMachine>,
    disk_map: BTreeMap<String, Disk>,
    network_devices: Vec<NetworkDevice>,
    topology: Vec<Node>,
    /// Tare asks no cloud. These are the words for that.
    cloud_provider: &'static str,
    instance_type: &'static str,
    instance_id: &'static str,
    #[serde(skip)]
    kernel_version: Option<String>,
    #[serde(skip)]
    os_version: Option<String>,
}

#[derive(Debug, Serialize)]
struct MemoryModules {
    capacity: u64,
    dimm_count: u64,
}

/// Of one size, in KiB.
#[derive(Debug, Serialize)]
struct HugePages {
    page_size: u64,
    num_pages: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Disk {
    name: String,
    major: u64,
    minor: u64,
    size: u64,
    scheduler: Option<String>,
}

/// The speed is in Mbit/s.
#[derive(Debug, Serialize)]
struct NetworkDevice {
    name: String,
    mac_address: Option<String>,
    speed: Option<u64>,
    mtu: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Node {
    node_id: u32,
    memory: Option<u64>,
    hugepages: Vec<HugePages>,
    cores: Vec<Core>,
    caches: Vec<Cache>,
    distances: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Core {
    core_id: u32,
    thread_ids: Vec<u32>,
    caches: Vec<Cache>,
    socket_id: u32,
}

#[derive(Debug, Serialize)]
struct Cache {
    size: u64,
    #[serde(rename = "type")]
    kind: String,
    level: u32,
}

impl Cadvisor {
    /// The machine, with its file systems as they are now.
    pub(super) fn machine(&self, catalog: &Rc<Catalog>, write: fn(&Machine) -> Value) -> Answer {
        let mut machine = Machine::new(&catalog.host, catalog.published.pair.newer.time);
        let proc_root = self.context.shared.processes.proc_root.clone();
        // A device that does not answer leaves its reader waiting.
        let read = task::spawn_blocking(move || {
            machine.filesystems = storage::of_machine(&proc_root);
            Bytes::from(body::json(&without_nulls(write(&machine))))
        });
        let body = futures_util::stream::once(async { read.await.unwrap_or_default() });
        streamed(JSON, body)
    }
}

impl Machine {
    fn new(host: &Host, timestamp: Timestamp) -> Self {
        let HostMemory { swap_bytes, .. } = host.memory;
        let modules = host.memory_modules.iter().map(|(kind, modules)| {
            let known =
                MemoryModules { capacity: modules.capacity_bytes, dimm_count: modules.count };
            (kind.clone(), known)
        });
        let disks = host.block_devices.iter().filter_map(|(number, disk)| {
            let (major, minor) = number.split_once(':')?;
            let known = Disk {
                name: disk.name.clone(),
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
                size: disk.size_bytes,
                scheduler: disk.scheduler.clone(),
            };
            Some((number.clone(), known))
        });
        let devices = host.network_devices.iter().map(|(name, device)| NetworkDevice {
            name: name.clone(),
            mac_address: device.mac.clone(),
            speed: device.speed_bits_per_second.map(|bits| bits / 1_000_000),
            mtu: device.mtu_bytes,
        });
        Self {
            timestamp,
            num_cores: host.online_cpus,
            num_physical_cores: host.cpu.physical_cores,
            num_sockets: host.cpu.sockets,
            cpu_frequency_khz: host.cpu.max_frequency_hertz.map(|hertz| hertz / 1000),
            memory_capacity: host.memory_bytes,
            swap_capacity: swap_bytes,
            memory_by_type: modules.collect(),
            hugepages: huge_pages(&host.huge_pages),
            // cAdvisor reads one from each of two files, and has the same in both.
            machine_id: host.machine_id.clone(),
            system_uuid: host.system_uuid.clone(),
            boot_id: host.boot_id.clone(),
            filesystems: Vec::new(),
            disk_map: disks.collect(),
            network_devices: devices.collect(),
            topology: topology(host),
            cloud_provider: "Unknown",
            instance_type: "Unknown",
            instance_id: "None",
            kernel_version: host.kernel.clone(),
            os_version: host.os_name.clone(),
        }
    }

    /// What version 2 says of the machine and of who answers.
    pub(super) fn attributes(&self) -> Value {
        let mut attributes = json!(self);
        if let Value::Object(fields) = &mut attributes {
            for name in [
                "timestamp",
                "num_physical_cores",
                "num_sockets",
                "swap_capacity",
                "memory_by_type",
                "boot_id",
                "instance_id",
            ] {
                fields.remove(name);
            }
            for (name, value) in [
                ("kernel_version", json!(self.kernel_version)),
                ("container_os_version", json!(self.os_version)),
                ("cadvisor_version", json!(env!("CARGO_PKG_VERSION"))),
            ] {
                fields.insert(name.to_owned(), value);
            }
        }
        attributes
    }
}

fn huge_pages(known: &[HostHugePages]) -> Vec<HugePages> {
    let pages = known.iter();
    pages.map(|one| HugePages { page_size: one.size_bytes >> 10, num_pages: one.total }).collect()
}

/// Nodes with their cores and caches. Where the kernel knows no nodes, each package is one.
fn topology(host: &Host) -> Vec<Node> {
    let caches = cache_rows(&host.cpu);
    let caches_of = |node: u32, core: Option<u32>| {
        let found = caches.iter().filter(|((of, at, ..), _)| *of == node && *at == core);
        let cache = |((.., kind, level), size): (&(u32, Option<u32>, &str, u32), &u64)| Cache {
            size: *size,
            kind: (*kind).to_owned(),
            level: *level,
        };
        found.map(cache).collect::<Vec<_>>()
    };
    let mut nodes: BTreeMap<u32, Vec<Core>> = BTreeMap::new();
    for core in &host.cpu.cores {
        nodes.entry(node_of(core)).or_default().push(Core {
            core_id: core.id,
            thread_ids: core.cpus.clone(),
            caches: caches_of(node_of(core), Some(core.id)),
            socket_id: core.socket,
        });
    }
    let known: BTreeMap<u32, &NumaNode> =
        host.numa_nodes.iter().map(|node| (node.id, node)).collect();
    let node = |(node_id, cores)| {
        let known = known.get(&node_id);
        Node {
            node_id,
            memory: known.and_then(|node| node.memory_bytes),
            hugepages: known.map(|node| huge_pages(&node.huge_pages)).unwrap_or_default(),
            cores,
            caches: caches_of(node_id, None),
            distances: known
                .map(|node| node.distances.values().copied().collect())
                .unwrap_or_default(),
        }
    };
    nodes.into_iter().map(node).collect()
}
