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
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json, to_value};
    use tare_ebpf::{BlockCell, Key, Requests};
    use tare_parsers::{cpu::CpuUsage, memory::MemoryEvents};

    use super::*;
    use crate::{families::settings::Settings, network::NamespaceId};

    const V1_STAT: &str = "cache 10\nrss 20\nswap 1\ninactive_file 3\n\
        hierarchical_memory_limit 4096\nhierarchical_memsw_limit 8192\ntotal_cache 10\n\
        total_inactive_file 4\ntotal_swap 1\n";
    const V2_STAT: &str = "anon 20\nfile 10\ninactive_file 4\nzswap 9\n\
        workingset_refault_anon 2\nworkingset_refault_file 3\n";

    /// A sample at a second, with one container that used so much CPU time.
    fn sample(second: i64, nanoseconds: u64, is_v1: bool) -> Sample {
        let mut usage = Usage::of_path(1, "/docker/abc");
        let readings = &mut usage.readings;
        readings.cpu = CpuUsage {
            usage_nanoseconds: Some(nanoseconds),
            user_nanoseconds: Some(1),
            system_nanoseconds: Some(2),
            periods: Some(3),
            throttled_periods: Some(4),
            throttled_nanoseconds: Some(5),
            ..CpuUsage::default()
        };
        readings.per_cpu = if is_v1 { vec![nanoseconds, 0] } else { Vec::new() };
        readings.pids = Some(7);
        readings.settings = Arc::new(Settings { pids_limit: Some(8), ..Settings::default() });
        readings.memory.usage_bytes = Some(100);
        readings.memory.peak_bytes = Some(200);
        readings.memory.events = MemoryEvents { max: Some(6), oom: Some(0), ..Default::default() };
        readings.memory.stat.parse_into(if is_v1 { V1_STAT } else { V2_STAT }.as_bytes());
        let read = Requests { bytes: 1024, ops: 2, service_nanoseconds: 30, wait_nanoseconds: 4 };
        let write = Requests { bytes: 512, ops: 1, service_nanoseconds: 5, wait_nanoseconds: 6 };
        let cell =
            BlockCell { read, write, issued: 4, returned: 3, read_merges: 9, ..Default::default() };
        usage.block = Some(BTreeMap::from([(Key::device(0, 8, 16).device, cell)]));
        usage.namespace = Some(NamespaceId(5));
        let mut sample = Sample::empty();
        sample.time = Timestamp::from_second(second).unwrap();
        sample.host.system_nanoseconds = Some(1000 * second.unsigned_abs());
        sample.host.online_cpus = Some(2);
        sample.host.memory.total_bytes = Some(1 << 20);
        sample.block.is_v1 = is_v1;
        let counters = InterfaceCounters { rx_bytes: 11, tx_packets: 1, ..Default::default() };
        sample.namespaces.insert(NamespaceId(5), Arc::new(vec![("eth0".to_owned(), counters)]));
        sample.usages.push(usage);
        sample
    }

    fn cpu_json(second: u64, nanoseconds: u64, is_v1: bool) -> Value {
        let mut json = json!({
            "cpu_usage": {
                "total_usage": nanoseconds, "usage_in_kernelmode": 2, "usage_in_usermode": 1
            },
            "system_cpu_usage": 1000 * second,
            "online_cpus": 2,
            "throttling_data": {"periods": 3, "throttled_periods": 4, "throttled_time": 5},
        });
        if is_v1 {
            json["cpu_usage"]["percpu_usage"] = json!([nanoseconds, 0]);
        }
        json
    }

    fn entries(ops: &[(&str, u64)]) -> Value {
        let entry =
            |(op, value): &(&str, u64)| json!({"major": 8, "minor": 16, "op": op, "value": value});
        ops.iter().map(entry).collect()
    }

    fn stats(is_v1: bool, has_before: bool) -> Value {
        let (older, newer) = (sample(1, 100, is_v1), sample(2, 600, is_v1));
        let before = has_before.then_some(&older);
        to_value(Stats::new("abc", "web", &newer.usages[0], &newer, before)).unwrap()
    }

    #[test]
    fn the_document_of_a_v1_host() {
        let expected = json!({
            "read": "1970-01-01T00:00:02Z",
            "preread": "1970-01-01T00:00:01Z",
            "name": "/web",
            "id": "abc",
            "num_procs": 0,
            "storage_stats": {},
            "pids_stats": {"current": 7, "limit": 8},
            "cpu_stats": cpu_json(2, 600, true),
            "precpu_stats": cpu_json(1, 100, true),
            "memory_stats": {
                "usage": 100,
                "max_usage": 200,
                "failcnt": 6,
                "limit": 4096,
                "stats": {
                    "cache": 10, "rss": 20, "inactive_file": 3,
                    "hierarchical_memory_limit": 4096, "hierarchical_memsw_limit": 8192,
                    "total_cache": 10, "total_inactive_file": 4,
                },
            },
            "networks": {"eth0": {
                "rx_bytes": 11, "rx_packets": 0, "rx_errors": 0, "rx_dropped": 0,
                "tx_bytes": 0, "tx_packets": 1, "tx_errors": 0, "tx_dropped": 0,
            }},
            "blkio_stats": {
                "io_service_bytes_recursive":
                    entries(&[("Read", 1024), ("Write", 512), ("Discard", 0), ("Total", 1536)]),
                "io_serviced_recursive":
                    entries(&[("Read", 2), ("Write", 1), ("Discard", 0), ("Total", 3)]),
                "io_queue_recursive": entries(&[("Total", 1)]),
                "io_service_time_recursive": entries(&[("Read", 30), ("Write", 5), ("Total", 35)]),
                "io_wait_time_recursive": entries(&[("Read", 4), ("Write", 6), ("Total", 10)]),
                "io_merged_recursive": entries(&[("Read", 9), ("Write", 0), ("Total", 9)]),
                "io_time_recursive": null,
                "sectors_recursive": entries(&[("", 3)]),
            },
        });
        assert_eq!(stats(true, true), expected);
    }

    #[test]
    fn the_document_of_a_v2_host() {
        let found = stats(false, true);
        let memory = json!({
            "usage": 100,
            "limit": 1 << 20,
            "stats": {"anon": 20, "file": 10, "inactive_file": 4, "workingset_refault": 5},
        });
        assert_eq!(found["memory_stats"], memory);
        assert_eq!(found["precpu_stats"], cpu_json(1, 100, false));
        let blkio = &found["blkio_stats"];
        assert_eq!(blkio["io_service_bytes_recursive"], entries(&[("read", 1024), ("write", 512)]));
    }

    #[test]
    fn one_shot_and_zero_have_the_fields_of_the_engine() {
        let cpu = json!({
            "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        });
        let one_shot = stats(true, false);
        assert_eq!(
            (&one_shot["precpu_stats"], &one_shot["cpu_stats"]),
            (&cpu, &cpu_json(2, 600, true))
        );
        assert_eq!(one_shot["preread"], "0001-01-01T00:00:00Z");
        let zero = to_value(Stats::zero("abc", "web")).unwrap();
        assert_eq!((&zero["cpu_stats"], &zero["read"]), (&cpu, &json!("0001-01-01T00:00:00Z")));
        assert_eq!((&zero["memory_stats"], &zero["pids_stats"]), (&json!({}), &json!({})));
        assert_eq!(zero["blkio_stats"]["io_serviced_recursive"], Value::Null);
        assert!(zero.get("networks").is_none());
    }

    #[test]
    fn a_container_that_is_new_had_used_nothing_before() {
        let (mut older, newer) = (sample(1, 100, true), sample(2, 600, true));
        older.usages.clear();
        let stats =
            to_value(Stats::new("abc", "web", &newer.usages[0], &newer, Some(&older))).unwrap();
        assert_eq!(stats["precpu_stats"]["cpu_usage"]["total_usage"], 0);
        assert_eq!(stats["precpu_stats"]["system_cpu_usage"], 1000);
    }

    #[test]
    fn what_is_unknown_is_absent() {
        let mut sample = sample(2, 600, true);
        let usage = Usage::of_path(1, "/docker/abc");
        sample.usages = vec![usage.clone()];
        let stats = to_value(Stats::new("abc", "web", &usage, &sample, None)).unwrap();
        assert_eq!(stats["cpu_stats"]["cpu_usage"], json!({}));
        assert_eq!(stats["memory_stats"], json!({}));
        assert_eq!(stats["blkio_stats"]["io_service_bytes_recursive"], Value::Null);
        assert!(stats.get("networks").is_none());
    }

    #[test]
    fn on_the_network_of_the_host_the_own_sockets_count() {
        let mut sample = sample(2, 600, true);
        sample.host_namespace = Some(NamespaceId(5));
        let without = to_value(Stats::new("abc", "web", &sample.usages[0], &sample, None)).unwrap();
        assert!(without.get("networks").is_none());
        sample.sockets = Some(crate::kernel::SocketLevel::Payload);
        let mut cell = tare_ebpf::NetCell::default();
        (cell.tcp.rx_bytes, cell.udp.tx_bytes) = (3, 4);
        sample.usages[0].net = Some(cell);
        let with = to_value(Stats::new("abc", "web", &sample.usages[0], &sample, None)).unwrap();
        assert_eq!(with["networks"], json!({"sockets": {"rx_bytes": 3, "tx_bytes": 4}}));
    }
}
