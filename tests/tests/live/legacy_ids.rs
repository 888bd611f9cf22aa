//! Hosts with containers in v1 hierarchies only: sockets are counted by memory cgroup.

use std::{os::unix::fs::symlink, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{
    docker::Run,
    lab::Lab,
    scratch::{Cgroup, cgroup2_mount},
    tare::Tare,
};

const BYTES: u64 = 3_000_001;

/// A directory that shows only the host's v1 hierarchies.
fn legacy_root(lab: &Lab) -> Result<PathBuf> {
    let root = lab.scratch.subdirectory()?;
    for controller in ["cpuacct", "memory", "blkio", "pids"] {
        let from = PathBuf::from("/sys/fs/cgroup").join(controller);
        ensure!(from.join("cgroup.procs").exists(), "{} is no v1 hierarchy", from.display());
        symlink(&from, root.join(controller)).context("link a hierarchy")?;
    }
    Ok(root)
}

/// One container sends to another in the same network namespace; both are counted separately.
fn ensure_counted_separately(lab: &Lab, tare: &Tare) -> Result<()> {
    let load = format!("listen --proto tcp --addr 127.0.0.1:7000 --bytes {BYTES}");
    let listener = lab.start(Run::load(&load).linger())?;
    listener.ready()?;
    let gate = lab.gate()?;
    let send = Run::load(&format!("send --proto tcp --addr 127.0.0.1:7000 --bytes {BYTES}"));
    let send = send.option("--network", &format!("container:{}", listener.name()));
    let sender = lab.start(send.behind(&gate).linger())?;
    let mut tare = tare.stream("200ms")?;
    let before = tare.fresh_with(&[listener.id(), sender.id()])?;
    before.require("network_sockets")?;
    let source = &before.value()["sources"]["network_sockets"]["source"];
    ensure!(source.as_str().is_some_and(|text| text.contains("memory cgroup")), "{source}");
    gate.open()?;
    sender.outcome()?;
    listener.outcome()?;
    let after = tare.fresh()?;
    for (id, field) in [(listener.id(), "rx_bytes"), (sender.id(), "tx_bytes")] {
        let (before, after) = (before.row(id)?, after.row(id)?);
        ensure!(after.get("/cgroup_id")?.is_null(), "an id of cgroup2: {after:?}");
        let other = if field == "rx_bytes" { "tx_bytes" } else { "rx_bytes" };
        for (field, expected) in [(field, BYTES), (other, 0)] {
            let got = after.growth(&before, &format!("/network/sockets/tcp/{field}"))?;
            ensure!(got == expected, "{field}: {got} instead of {expected}: {after:?}");
        }
        // A socket's own cgroup is one of cgroup2, so this is unknown, not 0.
        ensure!(after.get("/network/tcp_events")?.is_null(), "{after:?}");
    }
    let (state, reason) = after.source("network_tcp")?;
    let separable = reason.is_some_and(|text| text.starts_with("not separable: "));
    ensure!(state == "off" && separable, "{state}: {reason:?}");
    Ok(())
}

#[test]
fn without_cgroup2_payload_is_exact_by_memory_cgroup() -> Result<()> {
    let lab = Lab::open()?;
    let root = legacy_root(&lab)?;
    let root = root.to_str().context("UTF-8")?;
    ensure_counted_separately(&lab, &lab.tare.clone().option("--cgroup-root", root))
}

#[test]
fn with_an_empty_cgroup2_payload_is_exact_as_well() -> Result<()> {
    let lab = Lab::open()?;
    let root = legacy_root(&lab)?;
    let empty = Cgroup::below(&cgroup2_mount()?)?;
    symlink(empty.path(), root.join("unified")).context("link cgroup2")?;
    // A container exists when tare looks for hierarchies with containers.
    let _early = lab.start(Run::load("serve"))?;
    let root = root.to_str().context("UTF-8")?;
    ensure_counted_separately(&lab, &lab.tare.clone().option("--cgroup-root", root))
}

#[test]
fn packets_are_unavailable_there_and_the_reason_is_given() -> Result<()> {
    let lab = Lab::open()?;
    let root = legacy_root(&lab)?;
    let container = lab.start(Run::load("serve"))?;
    let tare = lab.tare.option("--cgroup-root", root.to_str().context("UTF-8")?);
    let report = tare.option("--net-level", "l3").report()?;
    let (state, reason) = report.source("network_sockets")?;
    let said = reason.is_some_and(|text| text.starts_with("payload, not packets: "));
    ensure!(state == "degraded" && said, "{state}: {reason:?}");
    let row = report.row(container.id())?;
    ensure!(row.get("/network/sockets/level")? == &Value::from("payload"), "{row:?}");
    Ok(())
}
