//! `/containers/ID/stats`: one document.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use tare_parsers::{net_dev::InterfaceCounters, stat_table::StatTable};

use super::{
    Shape,
    blkio::{BlkioStats, blkio},
    catalog::Item,
};
use crate::{
    faces::body::json,
    families::{memory, network_sockets},
    sample::{Sample, Usage},
};

/// What Go writes for a time that is not set.
const YEAR_1: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// The name under which the bytes of a container's own sockets are listed where its network devices
/// are those of the host.
const SOCKETS: &str = "sockets";

/// Keys of `memory_stats.stats` on cgroup v1, without those that begin with `total_`.
const V1_KEYS: [&str; 16] = [
    "cache",
    "rss",
    "rss_huge",
    "mapped_file",
    "dirty",
    "writeback",
    "pgpgin",
    "pgpgout",
    "pgfault",
    "pgmajfault",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "hierarchical_memory_limit",
];

/// Further keys on cgroup v1.
const V1_SWAP_LIMIT: &str = "hierarchical_memsw_limit";

/// Keys of `memory_stats.stats` on cgroup v2.
const V2_KEYS: [&str; 29] = [
    "anon",
    "file",
    "kernel_stack",
    "slab",
    "sock",
    "shmem",
    "file_mapped",
    "file_dirty",
    "file_writeback",
    "anon_thp",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "slab_reclaimable",
    "slab_unreclaimable",
    "pgfault",
    "pgmajfault",
    "workingset_nodereclaim",
    "pgrefill",
    "pgscan",
    "pgsteal",
    "pgactivate",
    "pgdeactivate",
    "pglazyfree",
    "pglazyfreed",
    "thp_fault_alloc",
    "thp_collapse_alloc",
];

/// Keys on cgroup v2 that Linux 5.9 has split into one for anonymous memory and one for files.
const V2_SUMS: [(&str, [&str; 2]); 2] = [
    ("workingset_refault", ["workingset_refault_anon", "workingset_refault_file"]),
    ("workingset_activate", ["workingset_activate_anon", "workingset_activate_file"]),
];

#[derive(Serialize)]
struct Stats<'a> {
    read: Timestamp,
    preread: Timestamp,
    pids_stats: PidsStats,
    blkio_stats: BlkioStats,
    num_procs: u32,
    storage_stats: StorageStats,
    cpu_stats: CpuStats<'a>,
    precpu_stats: CpuStats<'a>,
    memory_stats: MemoryStats<'a>,
    name: String,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    networks: Option<BTreeMap<&'a str, Network>>,
}

#[derive(Default, Serialize)]
struct PidsStats {
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

/// Only Windows fills it.
#[derive(Serialize)]
struct StorageStats {}

#[derive(Serialize)]
struct CpuStats<'a> {
    cpu_usage: CpuUsage<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_cpu_usage: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    online_cpus: Option<u32>,
    throttling_data: Throttling,
}

#[derive(Serialize)]
struct CpuUsage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    total_usage: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    percpu_usage: &'a [u64],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_in_kernelmode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_in_usermode: Option<u64>,
}

#[derive(Serialize)]
struct Throttling {
    #[serde(skip_serializing_if = "Option::is_none")]
    periods: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttled_periods: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttled_time: Option<u64>,
}

#[derive(Default, Serialize)]
struct MemoryStats<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_usage: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    stats: BTreeMap<&'a str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failcnt: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Network {
    Device(InterfaceCounters),
    Sockets {
        rx_bytes: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        rx_packets: Option<u64>,
        tx_bytes: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        tx_packets: Option<u64>,
    },
}

/// The statistics of a living container, as a line of JSON.
pub(super) fn document(item: &Item<'_>, shape: Shape) -> Vec<u8> {
    let pair = &item.published().pair;
    let before = pair.older.as_deref().filter(|_| shape == Shape::WithBefore);
    json(&Stats::new(item.id(), item.name(), item.usage(), &pair.newer, before))
}

/// What the Engine sends of a container that does not run.
pub(super) fn ended(item: &Item<'_>) -> Vec<u8> {
    json(&Stats::zero(item.id(), item.name()))
}

impl<'a> Stats<'a> {
    fn new(
        id: &'a str,
        name: &str,
        usage: &'a Usage,
        sample: &'a Sample,
        before: Option<&'a Sample>,
    ) -> Self {
        // A container that is not in the sample before had used nothing then.
        let precpu = |before: &'a Sample| match before.usage(usage.instance.id) {
            Some(usage) => cpu(usage, before),
            None => CpuStats {
                system_cpu_usage: before.host.system_nanoseconds,
                online_cpus: before.host.online_cpus,
                ..CpuStats::ZERO
            },
        };
        Self {
            read: sample.time,
            preread: before.map_or(YEAR_1, |before| before.time),
            pids_stats: pids(usage),
            blkio_stats: blkio(usage, sample),
            cpu_stats: cpu(usage, sample),
            precpu_stats: before.map_or(CpuStats::ZERO, precpu),
            memory_stats: memory(usage, sample),
            networks: networks(usage, sample),
            ..Self::zero(id, name)
        }
    }

    fn zero(id: &'a str, name: &str) -> Self {
        Self {
            read: YEAR_1,
            preread: YEAR_1,
            pids_stats: PidsStats::default(),
            blkio_stats: BlkioStats::default(),
            num_procs: 0,
            storage_stats: StorageStats {},
            cpu_stats: CpuStats::ZERO,
            precpu_stats: CpuStats::ZERO,
            memory_stats: MemoryStats::default(),
            name: format!("/{name}"),
            id,
            networks: None,
        }
    }
}

impl CpuStats<'_> {
    const ZERO: Self = Self {
        cpu_usage: CpuUsage {
            total_usage: Some(0),
            percpu_usage: &[],
            usage_in_kernelmode: Some(0),
            usage_in_usermode: Some(0),
        },
        system_cpu_usage: None,
        online_cpus: None,
        throttling_data: Throttling {
            periods: Some(0),
            throttled_periods: Some(0),
            throttled_time: Some(0),
        },
    };
}

fn cpu<'a>(usage: &'a Usage, sample: &Sample) -> CpuStats<'a> {
    let times = &usage.readings.cpu;
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: times.usage_nanoseconds,
            percpu_usage: &usage.readings.per_cpu,
            usage_in_kernelmode: times.system_nanoseconds,
            usage_in_usermode: times.user_nanoseconds,
        },
        system_cpu_usage: sample.host.system_nanoseconds,
        online_cpus: sample.host.online_cpus,
        throttling_data: Throttling {
            periods: times.periods,
            throttled_periods: times.throttled_periods,
            throttled_time: times.throttled_nanoseconds,
        },
    }
}

fn pids(usage: &Usage) -> PidsStats {
    PidsStats {
        current: usage.readings.pids.filter(|count| *count > 0),
        limit: usage.readings.settings.pids_limit,
    }
}

fn memory<'a>(usage: &'a Usage, sample: &Sample) -> MemoryStats<'a> {
    let (memory, settings) = (&usage.readings.memory, &usage.readings.settings);
    // The Engine leaves out what is 0.
    let some = |number: Option<u64>| number.filter(|number| *number > 0);
    let is_v1 = memory.stat.get("hierarchical_memory_limit").is_some();
    let failures = if is_v1 { memory.events.max } else { memory.events.oom };
    let host_bytes = sample.host.memory.total_bytes;
    MemoryStats {
        usage: some(memory.usage_bytes),
        max_usage: some(memory.peak_bytes).filter(|_| is_v1),
        stats: stats(&memory.stat, is_v1),
        failcnt: some(failures),
        limit: some(memory::limit_bytes(memory, &settings.memory, host_bytes)),
    }
}

/// The lines of a `memory.stat` that the Engine lists.
fn stats(stat: &StatTable, is_v1: bool) -> BTreeMap<&str, u64> {
    let is_listed = |key: &str| {
        let own = key.strip_prefix("total_").unwrap_or(key);
        if is_v1 { V1_KEYS.contains(&own) || key == V1_SWAP_LIMIT } else { V2_KEYS.contains(&key) }
    };
    let mut listed: BTreeMap<_, _> = stat.iter().filter(|(key, _)| is_listed(key)).collect();
    for (sum, parts) in V2_SUMS.into_iter().filter(|_| !is_v1) {
        let split = || parts.iter().map(|part| stat.get(part)).sum::<Option<u64>>();
        listed.extend(stat.get(sum).or_else(split).map(|value| (sum, value)));
    }
    listed
}

fn networks<'a>(usage: &Usage, sample: &'a Sample) -> Option<BTreeMap<&'a str, Network>> {
    let namespace = usage.namespace?;
    if Some(namespace) == sample.host_namespace {
        return sockets(usage, sample);
    }
    let devices = sample.namespaces.get(&namespace)?;
    let devices = devices.iter().map(|(name, counters)| (&**name, Network::Device(*counters)));
    Some(devices.collect()).filter(|devices: &BTreeMap<_, _>| !devices.is_empty())
}

/// On the host's network: what went through the container's own sockets.
fn sockets<'a>(usage: &Usage, sample: &Sample) -> Option<BTreeMap<&'a str, Network>> {
    let counted = network_sockets::report(usage.net.as_ref()?, sample.sockets?, None);
    let tare_model::Sockets { rx_bytes, rx_packets, tx_bytes, tx_packets, .. } = counted;
    let sockets = Network::Sockets { rx_bytes, rx_packets, tx_bytes, tx_packets };
    Some(BTreeMap::from([(SOCKETS, sockets)]))
}

#[cfg(test)]
mod tests;
