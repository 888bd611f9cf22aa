//! The Debian package in a Debian with systemd and Docker: `cargo xtask test --only package` starts
//! a virtual machine, where this program runs as root, as a service.

mod installed;
mod service;

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};
use tare_tests::{
    docker::Run,
    lab::Lab,
    process::output,
    programs::Programs,
    wait::{self, PATIENCE},
};

use crate::installed::{Installed, LATER, LIMIT, PACKAGE, call, files, properties};

#[test]
fn one_command_shows_the_containers_of_a_fresh_host() -> Result<()> {
    let tare = Installed::new()?;
    let lab = Lab::open()?;
    let holder =
        lab.start(Run::load("allocate --bytes 20MiB --for 600s").option("--memory", "64m"))?;
    holder.ready()?;
    let report = wait::until("a report of the container", LIMIT, || {
        let report = tare.report()?;
        let is_measured = report.find(holder.id()).is_some_and(|row| row.get("/name").is_ok());
        Ok(is_measured.then_some(report))
    })?;
    let row = report.row(holder.id())?;
    ensure!(row.str("/name")? == holder.name(), "{row:?}");
    ensure!(row.u64("/memory/limit_bytes")? == 64 << 20, "{row:?}");
    let used = row.u64("/memory/usage_bytes")?;
    ensure!((20 << 20..30 << 20).contains(&used), "{used} bytes");
    // What the unit allows is enough for each of them.
    for family in ["network_tcp", "block", "lifecycle", "network_interfaces"] {
        report.require(family)?;
    }
    let (state, reason) = report.source("network_sockets")?;
    let lacks = "packets, not payload: this kernel has no tracepoint sock_send_length";
    ensure!((state, reason) == ("degraded", Some(lacks)), "{state}: {reason:?}");
    let metrics = call("curl", &["--silent", "--fail", "http://127.0.0.1:9753/metrics"])?;
    let named = format!("name=\"{}\"", holder.name());
    let is_limit = |line: &&str| line.starts_with("container_spec_memory_limit_bytes{");
    let line = metrics.lines().filter(is_limit).find(|line| line.contains(&named));
    ensure!(line.is_some_and(|line| line.ends_with(" 67108864")), "{line:?}");
    let table = call("tare", &["stats", "--no-stream"])?;
    ensure!(table.contains(holder.name()), "{table}");
    Ok(())
}

#[test]
fn an_upgrade_starts_the_new_version_and_keeps_the_configuration() -> Result<()> {
    let tare = Installed::new()?;
    tare.configure("TARE_RECORD=/var/lib/tare/record\n")?;
    let before = tare.pid()?;
    call("apt-get", &["install", "--yes", &installed::later_package()?])?;
    ensure!(call("dpkg-query", &["--show", "--showformat=${Version}", "tare"])? == LATER);
    tare.active()?;
    let after = tare.pid()?;
    ensure!(before != after, "process {before} still runs");
    ensure!(Path::new("/etc/default/tare").exists(), "the configuration is gone");
    wait::until("a recording", PATIENCE, || {
        Ok(Path::new("/var/lib/tare/record").exists().then_some(()))
    })?;
    // Who has switched it off does not want an upgrade to start it.
    call("systemctl", &["disable", "--now", "tare.service"])?;
    call("apt-get", &["install", "--yes", "--allow-downgrades", PACKAGE])?;
    let state = properties("tare.service", "ActiveState,UnitFileState")?;
    ensure!(state == ["inactive", "disabled"], "{state:?}");
    Ok(())
}

#[test]
fn removed_it_can_be_installed_again_and_purged_it_leaves_nothing() -> Result<()> {
    let (files_before, programs_before) = (files()?, call("bpftool", &["prog", "show"])?);
    let tare = Installed::new()?;
    tare.configure("TARE_RECORD=/var/lib/tare/record\n")?;
    let programs = Programs::held_by(tare.pid()?)?;
    ensure!(call("getent", &["group", "tare"])?.starts_with("tare:"));
    call("apt-get", &["remove", "--yes", "tare"])?;
    programs.gone()?;
    ensure!(Path::new("/etc/default/tare").exists(), "the configuration is gone");
    ensure!(!Path::new("/run/tare").exists(), "the sockets are left");
    call("apt-get", &["install", "--yes", PACKAGE])?;
    tare.active()?;
    call("apt-get", &["purge", "--yes", "tare"])?;
    let left: Vec<_> = files()?.difference(&files_before).cloned().collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    let mut group = Command::new("getent");
    group.args(["group", "tare"]);
    ensure!(output(group, LIMIT).is_err(), "the group is left");
    let state = properties("tare.service", "LoadState,ActiveState")?;
    ensure!(state == ["not-found", "inactive"], "{state:?}");
    let programs_after = call("bpftool", &["prog", "show"])?;
    let ours = programs_after.lines().filter(|line| line.contains("tare")).count();
    ensure!(
        ours == 0 && programs_after.lines().count() <= programs_before.lines().count() + 3,
        "{programs_after}"
    );
    Ok(())
}
