use std::sync::Arc;

use serde_json::{Value, json, to_value};
use tare_ebpf::{BlockCell, Key, Requests};
use tare_parsers::{cpu::CpuUsage, memory::MemoryEvents};

use self::differences::differences;
use super::*;
use crate::{families::settings::Settings, network::NamespaceId};

/// The walk over two documents that the tests of the whole binary use.
#[path = "../../../../../tests/src/differences.rs"]
mod differences;

const V1_STAT: &str = "cache 10\nrss 20\nswap 1\ninactive_file 3\n\
    hierarchical_memory_limit 4096\nhierarchical_memsw_limit 8192\ntotal_cache 10\n\
    total_inactive_file 4\ntotal_swap 1\n";
const V2_STAT: &str = "anon 20\nfile 10\ninactive_file 4\nzswap 9\n\
    workingset_refault_anon 2\nworkingset_refault_file 3\n";

/// What dockerd 28.5.2 answered for a container on Linux 6.12 with all controllers on cgroup v2.
const DOCKERD_V2: &str = include_str!("dockerd-v2.json");

/// A `memory.stat` of that kernel.
const LINUX_6_12: &str =
    include_str!("../../../../../tests/corpus/stat_table/linux-6.12.memory.stat");

/// A sample at a second, with one container that used so much CPU time.
fn sample(second: i64, nanoseconds: u64, is_v1: bool) -> Sample {
    let mut usage = Usage::of_path(1, "/docker/abc");
    let readings = usage.readings_mut();
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
    usage.block = Some([(Key::device(0, 8, 16).device, cell)].into_iter().collect());
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
fn a_v2_host_has_the_names_and_types_of_dockerd_on_one() {
    let (older, mut newer) = (sample(1, 100, false), sample(2, 600, false));
    newer.usages[0].readings_mut().memory.stat.parse_into(LINUX_6_12.as_bytes());
    let ours = Stats::new("abc", "web", &newer.usages[0], &newer, Some(&older));
    let theirs = serde_json::from_str(DOCKERD_V2).unwrap();
    let found = differences(&theirs, &to_value(ours).unwrap());
    // On v2 dockerd has `null` for all lists but one.
    let lists = ["serviced", "queue", "service_time", "wait_time", "merged"];
    let lists = lists.map(|list| format!("type /blkio_stats/io_{list}_recursive"));
    let sectors = "type /blkio_stats/sectors_recursive".to_owned();
    assert_eq!(found, lists.into_iter().chain([sectors]).collect());
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
    let stats = to_value(Stats::new("abc", "web", &newer.usages[0], &newer, Some(&older))).unwrap();
    assert_eq!(stats["precpu_stats"]["cpu_usage"]["total_usage"], 0);
    assert_eq!(stats["precpu_stats"]["system_cpu_usage"], 1000);
}

#[test]
fn what_is_unknown_is_absent() {
    let mut sample = sample(2, 600, true);
    let usage = Usage::of_path(1, "/docker/abc");
    sample.usages = vec![usage.clone()];
    let stats = to_value(Stats::new("abc", "web", &usage, &sample, None)).unwrap();
    let expected = json!({
        "read": "1970-01-01T00:00:02Z",
        "preread": "0001-01-01T00:00:00Z",
        "name": "/web",
        "id": "abc",
        "num_procs": 0,
        "storage_stats": {},
        "pids_stats": {},
        "cpu_stats": {
            "cpu_usage": {}, "system_cpu_usage": 2000, "online_cpus": 2, "throttling_data": {},
        },
        "precpu_stats": to_value(CpuStats::ZERO).unwrap(),
        "memory_stats": {},
        "blkio_stats": {
            "io_service_bytes_recursive": null,
            "io_serviced_recursive": null,
            "io_queue_recursive": null,
            "io_service_time_recursive": null,
            "io_wait_time_recursive": null,
            "io_merged_recursive": null,
            "io_time_recursive": null,
            "sectors_recursive": null,
        },
    });
    assert_eq!(stats, expected);
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
    sample.usages[0].net = Some(cell.into());
    let with = to_value(Stats::new("abc", "web", &sample.usages[0], &sample, None)).unwrap();
    assert_eq!(with["networks"], json!({"sockets": {"rx_bytes": 3, "tx_bytes": 4}}));
}
