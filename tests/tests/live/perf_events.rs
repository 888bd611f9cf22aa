//! Events that the kernel counts for each cgroup, compared with `/proc`.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{
    docker::{Container, Run},
    lab::Lab,
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

/// The first two are counted by every kernel, the last by a CPU.
const EVENTS: &str = "minor-faults,context-switches,instructions";

#[test]
fn events_of_a_container_are_those_of_its_process() -> Result<()> {
    let lab = Lab::open()?;
    let gate = lab.gate()?;
    let load = Run::load("allocate --bytes 8MiB --for 600s").behind(&gate);
    let container = lab.start(load)?;
    // It waits for the gate in short sleeps, and faults no more.
    thread::sleep(Duration::from_secs(1));
    let at_start = Process::read(&container)?;
    let daemon = TareDaemon::start(&lab.tare, &["--perf-events", EVENTS])?;
    let first = wait::until("events", PATIENCE, || {
        let events = events(&daemon, &container)?;
        Ok(events["minor-faults"].is_object().then_some(events))
    })?;
    let counted = Process::read(&container)?;
    ensure!(counted.faults == at_start.faults, "it does not wait: {counted:?}, {at_start:?}");
    ensure!(first["minor-faults"]["count"] == 0, "{first}");
    gate.open()?;
    container.ready()?;
    thread::sleep(Duration::from_secs(1));
    let done = Process::read(&container)?;
    ensure!(done.faults > counted.faults, "{done:?}, {counted:?}");
    let expected = done.faults - at_start.faults;
    let events = wait::until("all faults", PATIENCE, || {
        let events = events(&daemon, &container)?;
        Ok((events["minor-faults"]["count"] == expected).then_some(events))
    })
    .with_context(|| format!("{expected} of {:?}", events(&daemon, &container)))?;
    ensure!(events["minor-faults"]["counted_ratio"] == 1.0, "{events}");
    let switches = events["context-switches"]["count"].as_u64().context("no switches")?;
    let between = done.switches - counted.switches..=done.switches - at_start.switches;
    ensure!(between.contains(&switches), "{switches} is not in {between:?}");
    ensure_metric(&daemon, &container, "container_perf_events_total", &expected.to_string())?;
    ensure_metric(&daemon, &container, "container_perf_events_scaling_ratio", "1.0")?;
    ensure_source(&daemon, &events)
}

/// Whether an event that the CPU does not count is missing, with its reason.
fn ensure_source(daemon: &TareDaemon, events: &Value) -> Result<()> {
    let source = &daemon.json("/api/v1/snapshot")?["sources"]["perf_events"];
    if events["instructions"].is_object() {
        ensure!(source["state"] == "on", "{source}");
    } else {
        ensure!(source["state"] == "degraded", "{source}");
        ensure!(source["reason_codes"][0] == "missing_event", "{source}");
        let reason = source["reason"].as_str().context("no reason")?;
        ensure!(reason.starts_with("instructions: "), "{reason}");
    }
    Ok(())
}

fn ensure_metric(
    daemon: &TareDaemon,
    container: &Container,
    name: &str,
    expected: &str,
) -> Result<()> {
    let metrics = daemon.metrics()?;
    let labels = [format!("name=\"{}\"", container.name()), "event=\"minor-faults\"".to_owned()];
    let row = metrics
        .lines()
        .filter(|line| line.starts_with(name))
        .find(|line| labels.iter().all(|label| line.contains(label)));
    let row = row.with_context(|| format!("no {name}"))?;
    ensure!(row.ends_with(&format!(" {expected}")), "{row}");
    Ok(())
}

fn events(daemon: &TareDaemon, container: &Container) -> Result<Value> {
    let row = daemon.json(&format!("/api/v1/containers/{}", container.id()))?;
    Ok(row["perf_events"].clone())
}

/// What `/proc` says of the only thread of a container.
#[derive(Debug)]
struct Process {
    faults: u64,
    switches: u64,
}

impl Process {
    fn read(container: &Container) -> Result<Self> {
        let pid = container.pid()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("no name")?;
        let faults = fields.split_whitespace().nth(7).context("no minflt")?.parse()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let lines = status.lines().filter(|line| line.contains("voluntary_ctxt_switches:"));
        let numbers = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        Ok(Self { faults, switches: numbers.sum() })
    }
}
