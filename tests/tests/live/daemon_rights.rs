//! The capabilities that `tare run` needs, and those that it keeps.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};
use tare_tests::{docker::Run, lab::Lab, tare_daemon::TareDaemon};

/// All that it needs, except for `l3`, which needs one more at the start.
const NEEDED: [&str; 4] = ["bpf", "perfmon", "sys_ptrace", "dac_read_search"];

/// The state of each family's source, and the reason.
fn states(daemon: &TareDaemon) -> Result<BTreeMap<String, (String, String)>> {
    let sources = daemon.json("/api/v1/sources")?;
    let sources = sources.as_object().context("no sources")?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let state = |(family, source): (&String, &serde_json::Value)| {
        (family.clone(), (text(&source["state"]), text(&source["reason"])))
    };
    Ok(sources.iter().map(state).collect())
}

/// The capabilities in effect of each thread, as the kernel's mask.
fn capabilities(pid: u32) -> Result<Vec<u64>> {
    let mut masks = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        for field in ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"] {
            let mask = status.lines().find_map(|line| line.strip_prefix(field));
            masks.push(u64::from_str_radix(mask.context("no mask")?.trim(), 16)?);
        }
    }
    Ok(masks)
}

/// `include/uapi/linux/capability.h`
const KEPT: u64 = 1 << 39 | 1 << 38 | 1 << 19 | 1 << 2;

#[test]
fn root_gives_up_what_is_not_needed_and_still_sees_new_containers() -> Result<()> {
    let lab = Lab::open()?;
    let daemon = TareDaemon::start(&lab.tare, &["--interval", "200ms"])?;
    let masks = capabilities(daemon.id())?;
    ensure!(masks.len() >= 8, "one thread alone: {masks:x?}");
    ensure!(masks.iter().all(|mask| mask & !KEPT == 0), "it holds more: {masks:x?}");
    ensure!(masks.contains(&KEPT), "the sampling thread has lost what it needs: {masks:x?}");
    let metrics = daemon.metrics()?;
    let held = metrics.lines().filter(|line| line.starts_with("tare_capability_info{")).count();
    ensure!(held == NEEDED.len(), "{metrics}");
    let container = lab.start(Run::load("spin --for 600s"))?;
    let row = sees(&daemon, container.name())?;
    ensure!(row["network"]["shared_with"].is_array(), "its network namespace is unknown: {row}");
    Ok(())
}

/// The row of a container that was just started.
fn sees(daemon: &TareDaemon, name: &str) -> Result<serde_json::Value> {
    tare_tests::wait::until("the container's name and numbers", tare_tests::wait::PATIENCE, || {
        let answer = daemon.get(&format!("/api/v1/containers/{name}"))?;
        let row = (answer.status == 200).then(|| answer.json()).transpose()?;
        Ok(row.filter(|row| {
            row["cpu"]["percent"].as_f64() > Some(0.0) && row["network"]["shared_with"].is_array()
        }))
    })
}

#[test]
fn the_listed_capabilities_are_enough_for_every_family() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("spin --for 600s"))?;
    let as_root = TareDaemon::start(&lab.tare, &["--interval", "200ms"])?;
    sees(&as_root, container.name())?;
    let expected = states(&as_root)?;
    drop(as_root);
    let tare = lab.tare.clone().with_capabilities(&NEEDED, &lab.scratch)?;
    let daemon = TareDaemon::start(&tare, &["--interval", "200ms"])?;
    let container = lab.start(Run::load("spin --for 600s"))?;
    let row = sees(&daemon, container.name())?;
    ensure!(row["network"]["sockets"].is_object(), "{row}");
    ensure!(row["memory"]["working_set_bytes"].as_u64() > Some(0), "{row}");
    let found = states(&daemon)?;
    for (family, (state, reason)) in &found {
        let root = expected.get(family).map(|(state, _)| state);
        ensure!(Some(state) == root, "{family} is {state} ({reason}), and {root:?} for root");
    }
    Ok(())
}

/// Where each family that a walk has comes from, and why not from a walk.
fn walked(daemon: &TareDaemon) -> Result<Vec<(String, String)>> {
    let sources = daemon.json("/api/v1/sources")?;
    let text = |family: &str, field: &str| sources[family][field].as_str().unwrap_or("").to_owned();
    let of = |family| (text(family, "source"), text(family, "not_walked"));
    Ok(["cpu", "memory", "pids"].map(of).into())
}

#[test]
fn two_capabilities_are_enough_for_the_walk_and_one_is_named_if_it_is_missing() -> Result<()> {
    let lab = Lab::open()?;
    let _container = lab.start(Run::load("sleep --for 600s"))?;
    let as_root = walked(&TareDaemon::start(&lab.tare, &[])?)?;
    let of_walk =
        |(source, reason): &(String, String)| source.contains("iter") && reason.is_empty();
    ensure!(as_root.iter().all(of_walk), "root does not walk: {as_root:?}");
    let with = |capabilities| -> Result<_> {
        let tare = lab.tare.clone().with_capabilities(capabilities, &lab.scratch)?;
        walked(&TareDaemon::start(&tare, &[])?)
    };
    let found = with(&["bpf", "perfmon"])?;
    ensure!(found == as_root, "{found:?} instead of {as_root:?}");
    for (source, reason) in with(&["bpf"])? {
        ensure!(!source.contains("iter") && reason.contains("CAP_PERFMON"), "{source}: {reason}");
    }
    Ok(())
}

#[test]
fn level_l3_needs_one_more_capability_and_drops_it() -> Result<()> {
    let lab = Lab::open()?;
    let _container = lab.start(Run::load("sleep --for 600s"))?;
    let all = [&NEEDED[..], &["net_admin"]].concat();
    let tare =
        lab.tare.clone().option("--net-level", "l3").with_capabilities(&all, &lab.scratch)?;
    let daemon = TareDaemon::start(&tare, &[])?;
    let (state, reason) = states(&daemon)?.remove("network_sockets").context("no sockets")?;
    ensure!(state == "on", "{state}: {reason}");
    let source = daemon.json("/api/v1/sources")?["network_sockets"]["source"].to_string();
    ensure!(source.contains("cgroup_skb"), "{source}");
    let masks = capabilities(daemon.id())?;
    ensure!(masks.iter().all(|mask| mask & !KEPT == 0), "it holds more: {masks:x?}");
    Ok(())
}

#[test]
fn without_capabilities_it_reports_what_is_missing_and_serves_the_rest() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("spin --for 600s"))?;
    let daemon = TareDaemon::start(&lab.tare.clone().as_nobody(&lab.scratch)?, &[])?;
    let states = states(&daemon)?;
    for family in ["network_sockets", "network_tcp"] {
        let (state, reason) = states.get(family).context("a family is missing")?;
        ensure!(state == "off" && reason.contains("CAP_BPF"), "{family} is {state}: {reason}");
    }
    for (family, (state, reason)) in &states {
        ensure!(state == "on" || !reason.is_empty(), "{family} is {state} and says no reason");
    }
    let metrics = daemon.metrics()?;
    for name in ["container_cpu_usage_seconds_total", "container_memory_working_set_bytes"] {
        let there = |line: &str| line.starts_with(name) && line.contains(container.id());
        ensure!(metrics.lines().any(there), "no {name} in {metrics}");
    }
    ensure!(!metrics.contains("tare_capability_info"), "{metrics}");
    Ok(())
}
