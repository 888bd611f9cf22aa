//! The JSON: its keys, its units, and `null` for what is unknown.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tare_tests::{docker::Run, lab::Lab, report::Report};

/// Every object of the contract, by JSON pointer (`*` is every member), and all its keys.
const OBJECTS: &[(&str, &str)] = &[
    ("", "time interval_seconds host sources containers ended"),
    (
        "/host",
        "hostname kernel online_cpus memory_bytes memory_available_bytes cpu_percent load_average \
         runnable_tasks cgroup_layout os_name boot_id machine_id system_uuid booted_at \
         uptime_seconds cpu memory pressure numa_nodes huge_pages memory_modules block_devices \
         network_devices",
    ),
    (
        "/host/cpu",
        "model sockets physical_cores max_frequency_hertz cores caches user_seconds nice_seconds \
         system_seconds idle_seconds iowait_seconds irq_seconds softirq_seconds steal_seconds",
    ),
    ("/host/cpu/cores/*", "id socket node cpus"),
    ("/host/cpu/caches/*", "level type size_bytes cpus"),
    ("/host/memory", "free_bytes buffers_bytes cached_bytes swap_bytes swap_free_bytes"),
    ("/host/pressure", "cpu memory io"),
    (
        "/host/pressure/*",
        "some_seconds some_avg10_percent some_avg60_percent some_avg300_percent full_seconds \
         full_avg10_percent full_avg60_percent full_avg300_percent",
    ),
    ("/host/numa_nodes/*", "id cpus memory_bytes distances huge_pages"),
    ("/host/huge_pages/*", "size_bytes total free"),
    ("/host/block_devices/*", "name size_bytes model rotational scheduler"),
    ("/host/network_devices/*", "mac mtu_bytes speed_bits_per_second state physical"),
    (
        "/sources",
        "cpu memory pids tasks network_interfaces network_sockets network_tcp block lifecycle \
         identity",
    ),
    ("/sources/*", "source state reason reason_codes reconciled not_walked"),
    ("/sources/block/reconciled", "with since expected counted lost lost_bytes covered uncovered"),
    (
        "/containers/*",
        "kind id name image runtime cgroup cgroup_id pod sandbox compose labels environment state \
         started_at restart_count health exit_code oom_killed startup cpu memory network block \
         pids root_filesystem writable_layer tasks perf_events tree",
    ),
    (
        "/containers/*/cpu",
        "usage_seconds user_seconds system_seconds percent periods throttled_periods \
         throttled_seconds bursts burst_seconds per_cpu_seconds limit_cores settings pressure",
    ),
    (
        "/containers/*/cpu/settings",
        "quota_seconds period_seconds burst_limit_seconds weight shares cpus effective_cpus mems \
         effective_mems memory_migrate",
    ),
    ("/containers/*/cpu/pressure", PRESSURE),
    (
        "/containers/*/memory",
        "usage_bytes working_set_bytes limit_bytes percent rss_bytes cache_bytes swap_bytes \
         mapped_bytes peak_bytes swap_peak_bytes memory_and_swap_peak_bytes oom_kills \
         last_oom_kill under_oom events events_local limits huge_pages numa_nodes pressure stat_at \
         stat",
    ),
    ("/containers/*/memory/numa_nodes/*", "anon_bytes file_bytes unevictable_bytes"),
    ("/containers/*/memory/events", MEMORY_EVENTS),
    ("/containers/*/memory/events_local", MEMORY_EVENTS),
    (
        "/containers/*/memory/limits",
        "max_bytes high_bytes low_bytes min_bytes soft_bytes swap_max_bytes swap_high_bytes \
         memory_and_swap_max_bytes",
    ),
    ("/containers/*/memory/pressure", PRESSURE),
    (
        "/containers/*/network",
        "interfaces sockets tcp_events namespace_sockets shared_with shared_with_count host_namespace",
    ),
    (
        "/containers/*/network/interfaces/*",
        "rx_bytes rx_packets rx_errors rx_dropped tx_bytes tx_packets tx_errors tx_dropped",
    ),
    (
        "/containers/*/network/sockets",
        "level since rx_bytes tx_bytes tcp udp rx_packets tx_packets loopback",
    ),
    ("/containers/*/network/tcp_events", "since retransmits connections"),
    ("/containers/*/network/tcp_events/connections", "opened accepted closed failed"),
    ("/containers/*/network/sockets/tcp", "rx_bytes rx_calls tx_bytes tx_calls"),
    ("/containers/*/network/sockets/udp", "rx_bytes rx_calls tx_bytes tx_calls"),
    (
        "/containers/*/block",
        "source reason since details_since read_bytes write_bytes read_ops write_ops discard_bytes \
         discard_ops flush_ops sectors errors in_flight read_merges write_merges untimed_ops \
         read_service_seconds write_service_seconds read_wait_seconds write_wait_seconds latency \
         devices pressure",
    ),
    (
        "/containers/*/block/devices/*",
        "name stacked read_bytes write_bytes read_ops write_ops discard_bytes discard_ops \
         flush_ops sectors errors in_flight read_merges write_merges untimed_ops \
         read_service_seconds write_service_seconds read_wait_seconds write_wait_seconds",
    ),
    ("/containers/*/block/latency", "le_seconds read write"),
    ("/containers/*/block/latency/read", "buckets count sum_seconds"),
    ("/containers/*/block/latency/write", "buckets count sum_seconds"),
    ("/containers/*/block/pressure", PRESSURE),
    ("/containers/*/pids", "current processes peak limit limit_hits open_files_limit"),
    (
        "/containers/*/tasks",
        "read_at running runnable sleeping uninterruptible io_wait stopped zombies processes \
         threads open_files_read_at file_descriptors sockets load run_seconds run_queue_seconds run_periods waiting_for_cpu \
         waiting",
    ),
    ("/containers/*/root_filesystem", "device type size_bytes free_bytes inodes inodes_free"),
    ("/containers/*/network/namespace_sockets", "read_at tcp tcp6 udp udp6 tcp_counters"),
    (
        "/containers/*/network/namespace_sockets/tcp",
        "established syn_sent syn_recv fin_wait1 fin_wait2 time_wait close close_wait last_ack \
         listen closing",
    ),
    (
        "/containers/*/network/namespace_sockets/udp",
        "sockets tx_queued_bytes rx_queued_bytes dropped",
    ),
    ("/containers/*/tree", "populated frozen descendants dying_descendants"),
    ("/containers/*/startup", "made_at exec_at listen_at"),
    ("/ended/*/finality", "cpu memory pids network_interfaces network_sockets network_tcp block"),
    ("/ended/*/finality/*", "state age_seconds"),
];

const MEMORY_EVENTS: &str = "low high max oom oom_kill oom_group_kill memory_and_swap_max";

const PRESSURE: &str = "some_seconds full_seconds some_avg10_percent some_avg60_percent \
     some_avg300_percent full_avg10_percent full_avg60_percent full_avg300_percent";

/// Everything at a pointer whose steps may be `*`.
fn at<'a>(value: &'a Value, pointer: &str) -> Vec<&'a Value> {
    pointer.split('/').skip(1).fold(vec![value], |found, step| {
        let inside = found.into_iter().flat_map(|value| match (step, value) {
            ("*", Value::Array(all)) => all.iter().collect(),
            ("*", Value::Object(all)) => all.values().collect(),
            (key, value) => value.get(key).into_iter().collect::<Vec<_>>(),
        });
        inside.collect()
    })
}

/// The report of a lab that holds one container, which has used the network and the disk.
fn report() -> Result<(Report, String)> {
    let lab = Lab::open()?;
    let data = lab.scratch.subdirectory()?;
    let gate = lab.gate()?;
    let load = Run::load("write --bytes 1MiB --path /data/file").mount(&data, "/data");
    let writer = lab.start(load.behind(&gate).linger())?;
    let tare = lab.tare.clone().option("--namespace-sockets", "states");
    let mut tare = tare.stream("200ms")?;
    tare.fresh_with(&[writer.id()])?;
    gate.open()?;
    writer.outcome()?;
    let ended = lab.start(Run::load("sleep --for 1ms"))?;
    ended.outcome()?;
    Ok((tare.fresh_with_ended(&[ended.id()])?, writer.id().to_owned()))
}

#[test]
fn every_object_has_exactly_the_keys_of_the_contract() -> Result<()> {
    let (report, _) = report()?;
    for (pointer, keys) in OBJECTS {
        let expected: BTreeSet<&str> = keys.split_whitespace().collect();
        let found = at(report.value(), pointer);
        let objects: Vec<_> = found.iter().filter_map(|value| value.as_object()).collect();
        ensure!(!objects.is_empty(), "no object at {pointer} in {}", report.value());
        for object in objects {
            let keys: BTreeSet<&str> = object.keys().map(String::as_str).collect();
            ensure!(keys == expected, "{pointer} has {keys:?} instead of {expected:?}");
        }
    }
    Ok(())
}

#[test]
fn known_numbers_are_numbers_and_names_are_names() -> Result<()> {
    let lab = Lab::open()?;
    let labels = ["tare.test=yes", "secret=no"];
    let load =
        labels.iter().fold(Run::load("spin --for 600s"), |load, l| load.option("--label", l));
    let load = load.option("--env", "TARE_ZONE=a=b").option("--env", "SECRET=no");
    let container = lab.start(load)?;
    let tare = lab.tare.clone().option("--labels", "tare.*").option("--environment", "TARE_*");
    let report = tare.report()?;
    let row = report.row(container.id())?;
    ensure!(row.str("/kind")? == "container" && row.str("/runtime")? == "docker", "{row:?}");
    ensure!(row.str("/name")? == container.name(), "{row:?}");
    ensure!(row.str("/image")?.starts_with(lab.image()), "{row:?}");
    ensure!(row.str("/state")? == "running" && row.get("/pod")?.is_null(), "{row:?}");
    ensure!(row.get("/labels")? == &json!({"tare.test": "yes"}), "{row:?}");
    ensure!(row.get("/environment")? == &json!({"TARE_ZONE": "a=b"}), "{row:?}");
    ensure!(row.str("/cgroup")?.contains(container.id()), "{row:?}");
    ensure!(row.u64("/cgroup_id")? > 0, "{row:?}");
    for pointer in ["/cpu/usage_seconds", "/cpu/percent"] {
        ensure!(row.f64(pointer)? > 0.0, "{pointer} of a spinning container: {row:?}");
    }
    for pointer in ["/memory/usage_bytes", "/memory/limit_bytes", "/pids/current"] {
        ensure!(row.u64(pointer)? > 0, "{pointer}: {row:?}");
    }
    let host = &report.value()["host"];
    ensure!(host["online_cpus"].as_u64() > Some(0), "{host}");
    ensure!(host["memory_bytes"].as_u64() > Some(0), "{host}");
    let available = host["memory_available_bytes"].as_u64();
    ensure!(available > Some(0) && available < host["memory_bytes"].as_u64(), "{host}");
    let cpus = host["online_cpus"].as_f64().context("online_cpus")?;
    ensure!(host["cpu_percent"].as_f64().is_some_and(|cpu| cpu > 0.0 && cpu <= 100.0 * cpus));
    let load = host["load_average"].as_array().context("load_average")?;
    ensure!(load.len() == 3 && load.iter().all(|average| average.as_f64() >= Some(0.0)), "{host}");
    for pointer in ["/uptime_seconds", "/cpu/user_seconds", "/cpu/idle_seconds"] {
        ensure!(host.pointer(pointer).and_then(Value::as_f64) > Some(0.0), "{pointer}: {host}");
    }
    for pointer in ["/os_name", "/boot_id", "/booted_at", "/cpu/model"] {
        ensure!(host.pointer(pointer).is_some_and(Value::is_string), "{pointer}: {host}");
    }
    ensure!(["v1", "v2", "hybrid"].iter().any(|layout| host["cgroup_layout"] == *layout), "{host}");
    let interval = report.value()["interval_seconds"].as_f64();
    ensure!(interval.is_some_and(|seconds| seconds > 0.0), "{interval:?}");
    let started = row.str("/started_at")?;
    let time = report.value()["time"].as_str().context("time")?;
    // Both are RFC 3339 in UTC: their text sorts by time, down to the second.
    let seconds = |text: &str| text.get(..19).map(str::to_owned);
    ensure!(started.ends_with('Z') && time.ends_with('Z'), "{started}, {time}");
    ensure!(seconds(started) <= seconds(time), "started at {started}, now {time}");
    Ok(())
}

#[test]
fn what_is_unknown_without_bpf_is_null_and_says_why() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("spin --for 600s"))?;
    let report = lab.tare.option("--bpf", "off").report()?;
    let row = report.row(container.id())?;
    ensure!(row.get("/network/sockets")?.is_null(), "{row:?}");
    ensure!(row.get("/network/tcp_events")?.is_null(), "{row:?}");
    let (state, reason) = report.source("network_sockets")?;
    ensure!(state == "off", "the sockets are {state} without BPF");
    ensure!(reason.is_some_and(|text| !text.is_empty()), "network_sockets: no reason");
    let (state, reason) = report.source("block")?;
    ensure!(state != "on" || reason.is_none(), "block is on, because {reason:?}");
    if state == "off" {
        for field in ["source", "read_bytes", "write_bytes", "read_ops", "write_ops"] {
            ensure!(row.get(&format!("/block/{field}"))?.is_null(), "{field}: {row:?}");
        }
        ensure!(reason.is_some_and(|text| !text.is_empty()), "block: no reason");
    } else {
        ensure!(row.str("/block/source")? == "cgroup", "{row:?}");
    }
    ensure!(row.f64("/cpu/percent")? > 0.0, "{row:?}");
    ensure!(row.u64("/memory/working_set_bytes")? > 0, "{row:?}");
    ensure!(row.u64("/pids/current")? > 0, "{row:?}");
    row.u64("/network/interfaces/eth0/rx_bytes")?;
    Ok(())
}
