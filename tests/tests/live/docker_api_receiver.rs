//! The requests of the collector of OpenTelemetry, and what its `docker_stats` receiver reads of
//! the answers: its own program is in no package archive. From its source, `receiver.go` and
//! `internal/docker` of opentelemetry-collector-contrib.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Write as _},
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{
    docker::{Container, Docker, Run},
    http,
    lab::Lab,
};

use crate::docker_api::{Served, json};

/// The oldest version that it can be told to ask for.
const OLDEST: &str = "1.25";

/// Filters as its client writes them: maps.
const RUNNING: &str = "%7B%22status%22%3A%7B%22running%22%3Atrue%7D%7D";

/// `type=container` and the events that it follows: destroy, die, pause, rename, stop, start,
/// unpause, update.
const EVENTS: &str = "%7B%22event%22%3A%7B%22destroy%22%3Atrue%2C%22die%22%3Atrue%2C%22pause%22%3Atrue%2C\
%22rename%22%3Atrue%2C%22start%22%3Atrue%2C%22stop%22%3Atrue%2C%22unpause%22%3Atrue%2C%22update%22%3Atrue%7D%2C\
%22type%22%3A%7B%22container%22%3Atrue%7D%7D";

/// Lines of `memory.stat` that it has metrics for.
const MEMORY: [&str; 18] = [
    "cache",
    "rss",
    "rss_huge",
    "dirty",
    "writeback",
    "mapped_file",
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
    "anon",
    "file",
];

/// Lists of block I/O that it has metrics for.
const BLOCK: [&str; 8] = [
    "io_merged",
    "io_queue",
    "io_service_bytes",
    "io_service_time",
    "io_serviced",
    "io_time",
    "io_wait_time",
    "sectors",
];

/// What is the same at any time.
const CONSTANT: [&str; 7] = [
    "container.cpu.limit",
    "container.cpu.logical.count",
    "container.cpu.shares",
    "container.memory.usage.limit",
    "container.memory.hierarchical_memory_limit",
    "container.pids.limit",
    "container.restarts",
];

/// In bytes, on a machine with a few CPUs.
const CHARGED_AT_ONCE: f64 = 1_048_576.0;

/// Metrics that the receiver makes of the answers, by name and attributes.
type Metrics = BTreeMap<String, f64>;

#[test]
fn the_receiver_of_opentelemetry_makes_the_same_metrics_of_tare_and_of_dockerd() -> Result<()> {
    let lab = Lab::open()?;
    let served = Served::start(&lab, &["--environment", "*"])?;
    let run = Run::load("spin --for 10m").option("--cpus", "0.3").option("--cpu-shares", "512");
    let run = run.option("--memory", "64m").option("--pids-limit", "50");
    let run = run.option("--label", "tier=web").option("--env", "STAGE=test");
    let container = lab.start(run)?;
    served.know(container.id())?;
    let theirs = || scrape(&lab.docker, &negotiated(&lab.docker)?, &container);
    for version in [&negotiated(&served.docker)?, OLDEST] {
        let before = theirs()?;
        // Tare's sample is newer than that.
        sleep(Duration::from_secs(1));
        let ours = scrape(&served.docker, version, &container)?;
        let after = theirs()?;
        let names = |metrics: &Metrics| metrics.keys().cloned().collect::<BTreeSet<_>>();
        let of_block = |name: &String| name.starts_with("container.blockio.");
        let missing: Vec<_> = names(&after).difference(&names(&ours)).cloned().collect();
        let more: Vec<_> = names(&ours).difference(&names(&after)).cloned().collect();
        // Nothing in the kernel counts `io_time`; of an idle v1 cgroup dockerd has empty lists.
        ensure!(missing.iter().all(|name| name.contains("io_time")), "{missing:?}");
        ensure!(more.iter().all(of_block), "{more:?}");
        for name in CONSTANT.iter().filter(|name| after.contains_key(**name)) {
            ensure!(ours.get(*name) == after.get(*name), "{name}: {ours:#?} {after:#?}");
        }
        for name in ours.keys().filter(|name| is_counter(name)) {
            let (low, high) = (before.get(name), after.get(name));
            let (Some(low), Some(high)) = (low, high) else { continue };
            ensure!((*low..=*high).contains(&ours[name]), "{name}: {low} {} {high}", ours[name]);
        }
        let percent = |metrics: &Metrics| metrics["container.cpu.utilization"];
        ensure!((percent(&ours) - percent(&after)).abs() < 12.0, "{ours:#?} {after:#?}");
        // The kernel charges up to 64 pages at once for each CPU.
        for name in ["container.memory.usage.total", "container.memory.rss"] {
            let (ours, theirs) = (ours.get(name), after.get(name));
            let Some((ours, theirs)) = ours.zip(theirs) else { continue };
            ensure!((ours - theirs).abs() < CHARGED_AT_ONCE, "{name}: {ours} {theirs}");
        }
        ensure!(ours["container.cpu.limit"] == 0.3 && ours["container.cpu.shares"] == 512.0);
    }
    attributes_are_the_same(&served, &lab.docker, &container)?;
    events_are_followed(&lab, &served)
}

fn is_counter(name: &str) -> bool {
    let counters = ["container.cpu.usage.total", "container.cpu.usage.system"];
    counters.contains(&name)
        || name.starts_with("container.cpu.usage.percpu")
        || name.starts_with("container.cpu.throttling_data")
        || name.starts_with("container.network.")
        || ["pgfault", "pgpgin"].iter().any(|end| name.ends_with(end))
}

/// The version of the API that its client agrees upon with a daemon.
fn negotiated(docker: &Docker) -> Result<String> {
    let answer = http::get(docker.socket(), "/_ping", &[])?;
    ensure!(answer.header("ostype") == Some("linux"), "{answer:?}");
    answer.header("api-version").map(str::to_owned).context("no version")
}

/// What the receiver asks for: the list at its start, then this of each container.
fn scrape(docker: &Docker, version: &str, container: &Container) -> Result<Metrics> {
    let listed = json(docker, &format!("/v{version}/containers/json?filters={RUNNING}"))?;
    let listed = listed.as_array().context("no list")?;
    ensure!(listed.iter().any(|one| one["Id"] == container.id()), "{listed:?}");
    let path = format!("/v{version}/containers/{}", container.id());
    let inspection = json(docker, &format!("{path}/json"))?;
    let state = &inspection["State"];
    ensure!(state["Running"] == true && state["Paused"] == false, "{inspection}");
    metrics(&json(docker, &format!("{path}/stats?stream=0"))?, &inspection)
}

fn metrics(stats: &Value, inspection: &Value) -> Result<Metrics> {
    // A number that is absent is 0 to the receiver; one that is no number ends its scrape.
    let number = |document: &Value, pointer: &str| match document.pointer(pointer) {
        None => Ok(0.0),
        Some(value) => value.as_f64().with_context(|| format!("{pointer} is {value}")),
    };
    let mut found = Metrics::new();
    for (name, pointer) in [
        ("cpu.usage.system", "/cpu_stats/system_cpu_usage"),
        ("cpu.usage.total", "/cpu_stats/cpu_usage/total_usage"),
        ("cpu.usage.kernelmode", "/cpu_stats/cpu_usage/usage_in_kernelmode"),
        ("cpu.usage.usermode", "/cpu_stats/cpu_usage/usage_in_usermode"),
        ("cpu.throttling_data.periods", "/cpu_stats/throttling_data/periods"),
        ("cpu.throttling_data.throttled_periods", "/cpu_stats/throttling_data/throttled_periods"),
        ("cpu.throttling_data.throttled_time", "/cpu_stats/throttling_data/throttled_time"),
        ("cpu.logical.count", "/cpu_stats/online_cpus"),
        ("memory.usage.limit", "/memory_stats/limit"),
        ("memory.usage.max", "/memory_stats/max_usage"),
        ("memory.fails", "/memory_stats/failcnt"),
        ("pids.count", "/pids_stats/current"),
        ("pids.limit", "/pids_stats/limit"),
    ] {
        found.insert(format!("container.{name}"), number(stats, pointer)?);
    }
    let delta = |name: &str| -> Result<f64> {
        Ok(number(stats, &format!("/cpu_stats/{name}"))?
            - number(stats, &format!("/precpu_stats/{name}"))?)
    };
    let (used, system) = (delta("cpu_usage/total_usage")?, delta("system_cpu_usage")?);
    ensure!(used > 0.0 && system > 0.0, "no CPU time before: {stats}");
    let percent = used / system * found["container.cpu.logical.count"] * 100.0;
    found.insert("container.cpu.utilization".into(), percent);
    let usage = number(stats, "/memory_stats/usage")?;
    let inactive = ["total_inactive_file", "inactive_file"]
        .map(|key| stats.pointer(&format!("/memory_stats/stats/{key}")).and_then(Value::as_f64));
    let inactive = inactive.into_iter().flatten().next().unwrap_or_default();
    found.insert("container.memory.usage.total".into(), usage - inactive);
    lists(stats, &mut found)?;
    found.insert("container.restarts".into(), number(inspection, "/RestartCount")?);
    found.insert("container.cpu.shares".into(), number(inspection, "/HostConfig/CpuShares")?);
    found.insert("container.cpu.limit".into(), cpu_limit(&inspection["HostConfig"])?);
    let started = inspection["State"]["StartedAt"].as_str().context("no start")?;
    started.parse::<jiff::Timestamp>().with_context(|| started.to_owned())?;
    Ok(found)
}

/// Metrics of what there may be several of.
fn lists(stats: &Value, found: &mut Metrics) -> Result<()> {
    for (cpu, used) in stats["cpu_stats"]["cpu_usage"]["percpu_usage"]
        .as_array()
        .iter()
        .flat_map(|all| all.iter())
        .enumerate()
    {
        let used = used.as_f64().context("percpu_usage")?;
        found.insert(format!("container.cpu.usage.percpu cpu{cpu}"), used);
    }
    let memory = stats["memory_stats"]["stats"].as_object().context("no memory.stat")?;
    for key in MEMORY {
        for key in [key.to_owned(), format!("total_{key}")] {
            if let Some(value) = memory.get(&key) {
                let value = value.as_f64().with_context(|| key.clone())?;
                found.insert(format!("container.memory.{key}"), value);
            }
        }
    }
    for list in BLOCK {
        for entry in stats["blkio_stats"][format!("{list}_recursive")]
            .as_array()
            .iter()
            .flat_map(|all| all.iter())
        {
            let of = |name: &str| entry[name].as_u64().with_context(|| format!("{list}: {entry}"));
            let op = entry["op"].as_str().context("no op")?.to_lowercase();
            let name = format!(
                "container.blockio.{list}_recursive {}:{} {op}",
                of("major")?,
                of("minor")?
            );
            #[allow(clippy::cast_precision_loss)]
            found.insert(name, of("value")? as f64);
        }
    }
    for (device, counters) in stats["networks"].as_object().context("no networks")? {
        for (key, value) in counters.as_object().context("no counters")? {
            let value = value.as_f64().with_context(|| key.clone())?;
            found.insert(format!("container.network.io.usage.{key} {device}"), value);
        }
    }
    Ok(())
}

/// `--cpus` first, then the list of CPUs, then quota and period.
fn cpu_limit(host_config: &Value) -> Result<f64> {
    let number = |name: &str| host_config.get(name).and_then(Value::as_f64).unwrap_or_default();
    if number("NanoCpus") > 0.0 {
        return Ok(number("NanoCpus") / 1e9);
    }
    let cpus = host_config["CpusetCpus"].as_str().context("CpusetCpus")?;
    ensure!(cpus.is_empty(), "a list of CPUs would hide the quota: {host_config}");
    Ok(number("CpuQuota") / number("CpuPeriod").max(1.0))
}

/// Attributes of the resource. Tare does not know the host name in the container, and has no border
/// between entry point and command.
fn attributes_are_the_same(served: &Served, docker: &Docker, container: &Container) -> Result<()> {
    let path = format!("/v1.51/containers/{}/json", container.id());
    let theirs = json(docker, path.trim_start_matches("/v1.51"))?;
    let ours = served.json(&path)?;
    for pointer in ["/Id", "/Name", "/Image", "/Config/Image", "/Config/Labels/tier"] {
        ensure!(ours.pointer(pointer) == theirs.pointer(pointer), "{pointer}: {ours} {theirs}");
        ensure!(ours.pointer(pointer).is_some_and(Value::is_string), "{pointer}: {ours}");
    }
    let limit = "/HostConfig/NanoCpus";
    ensure!(ours.pointer(limit) == theirs.pointer(limit), "{ours} {theirs}");
    let variables = |document: &Value| -> Option<BTreeSet<String>> {
        document["Config"]["Env"]
            .as_array()?
            .iter()
            .map(|one| Some(one.as_str()?.to_owned()))
            .collect()
    };
    ensure!(variables(&ours) == variables(&theirs), "{ours} {theirs}");
    ensure!(variables(&ours).is_some_and(|all| all.contains("STAGE=test")), "{ours}");
    ensure!(ours["Config"]["Cmd"].as_array().is_some_and(|all| all.len() == 4), "{ours}");
    Ok(())
}

/// It inspects what starts, and forgets what is removed.
fn events_are_followed(lab: &Lab, served: &Served) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let since = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let mut stream = http::connect(served.docker.socket())?;
    write!(stream, "GET /v1.51/events?filters={EVENTS}&since={since} HTTP/1.0\r\nHost: x\r\n\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    let container = lab.start(Run::load("serve"))?;
    let id = container.id().to_owned();
    let mut next = |action: &str| -> Result<()> {
        loop {
            let line = lines.next().with_context(|| format!("ended before {action}"))??;
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            if event["Actor"]["ID"] != id.as_str() {
                continue;
            }
            ensure!(event["Action"] == action && event["Type"] == "container", "{event}");
            ensure!(event["timeNano"].as_u64() > event["time"].as_u64(), "{event}");
            return Ok(());
        }
    };
    next("start")?;
    let inspection = served.json(&format!("/v1.51/containers/{}/json", container.id()))?;
    ensure!(inspection["State"]["Running"] == true, "{inspection}");
    lab.docker.client(["kill", container.name()])?;
    next("die")?;
    let gone = container.id().to_owned();
    container.remove();
    next("destroy")?;
    ensure!(served.get(&format!("/v1.51/containers/{gone}/stats?stream=0"))?.status == 404);
    Ok(())
}
