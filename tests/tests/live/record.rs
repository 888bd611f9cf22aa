//! Recordings of real containers: what is replayed is what was live, whatever happens to the
//! daemon and the disk.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tare_tests::{
    docker::Run,
    lab::Lab,
    tare::Tare,
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

use crate::sinks::SmallDisk;

/// Kills of the daemon at different moments.
const KILLS: u64 = 5;

/// A sample that is the same whichever part is asked for.
fn live(daemon: &TareDaemon) -> Result<Value> {
    daemon.json("/api/v1/snapshot")
}

fn replayed(tare: &Tare, directory: &str, time: &str) -> Result<Value> {
    let args = ["snapshot", "--replay", directory, "--at", time, "--format", "json"];
    let done = tare.run(&args)?;
    ensure!(done.status.success(), "{done:?}");
    Ok(serde_json::from_str(&done.stdout)?)
}

#[test]
fn a_recorded_snapshot_is_the_one_that_was_live_also_after_a_kill() -> Result<()> {
    let lab = Lab::open()?;
    let directory = lab.scratch.path().join("record");
    let directory = directory.to_str().context("not UTF-8")?;
    let daemon = TareDaemon::start(&lab.tare, &["--interval", "200ms", "--record", directory])?;
    let spinner = lab.start(Run::load("spin --for 600s").option("--cpus", "0.2"))?;
    let server = lab.start(Run::load("serve"))?;
    let short = lab.start(Run::load("burst"))?;
    spinner.ready()?;
    server.ready()?;
    wait::until("the end of a short container", PATIENCE, || {
        let ended = daemon.json("/api/v1/ended")?;
        let ended = ended.as_array().context("no list")?;
        Ok(ended.iter().any(|it| it["name"] == short.name()).then_some(()))
    })?;
    let mut seen = Vec::new();
    wait::until("eight samples", PATIENCE, || {
        let now = live(&daemon)?;
        let time = now["time"].clone();
        if seen.last().is_none_or(|last: &Value| last["time"] != time) {
            seen.push(now);
        }
        Ok((seen.len() >= 8).then_some(()))
    })?;
    let last = seen.last().context("nothing was seen")?["time"].clone();
    wait::until("the last one to be recorded", PATIENCE, || {
        Ok((live(&daemon)?["time"] != last).then_some(()))
    })?;
    daemon.signal(Signal::SIGKILL)?;
    daemon.finish()?;
    for live in seen {
        let time = live["time"].as_str().context("no time")?;
        let replayed = replayed(&lab.tare, directory, time)?;
        for part in ["time", "interval_seconds", "host", "sources", "containers", "ended"] {
            ensure!(
                live[part] == replayed[part],
                "{part} at {time}:\n{}\n{}",
                live[part],
                replayed[part]
            );
        }
        ensure!(replayed["containers"].as_array().is_some_and(|rows| rows.len() >= 2));
    }
    Ok(())
}

#[test]
fn a_kill_loses_nothing_that_the_daemon_has_counted() -> Result<()> {
    let lab = Lab::open()?;
    let directory = lab.scratch.path().join("record");
    let directory = directory.to_str().context("not UTF-8")?;
    let args = ["--log-level", "info", "--interval", "100ms", "--record", directory];
    let mut recorded = None;
    for kill in 0..=KILLS {
        let daemon = TareDaemon::start(&lab.tare, &args)?;
        let wanted = 1.0 + kill as f64;
        let counted = wait::until("samples to be recorded", PATIENCE, || {
            Ok(Some(daemon.metric("tare_record_samples_total")?).filter(|it| *it >= wanted))
        })?;
        daemon.signal(Signal::SIGKILL)?;
        let log = daemon.finish()?.stderr;
        if let Some(recorded) = recorded.replace(counted) {
            let sealed = log.split("sealed ").nth(1).and_then(|rest| rest.split(' ').next());
            let sealed: f64 =
                sealed.with_context(|| format!("nothing is sealed: {log}"))?.parse()?;
            ensure!(sealed >= recorded, "{recorded} were counted, and {sealed} are left");
        }
    }
    let second = TareDaemon::start(&lab.tare, &args)?;
    let refused = TareDaemon::spawn(&lab.tare, &args)?.finish()?;
    ensure!(!refused.status.success() && refused.stderr.contains("another process"), "{refused:?}");
    second.terminate()?;
    Ok(())
}

#[test]
fn a_full_disk_stops_recording_and_not_sampling() -> Result<()> {
    let lab = Lab::open()?;
    let disk = SmallDisk::mount(lab.scratch.subdirectory()?, "size=512k")?;
    let directory = disk.0.join("record");
    let directory = directory.to_str().context("not UTF-8")?;
    let daemon = TareDaemon::start(&lab.tare, &["--interval", "100ms", "--record", directory])?;
    ensure!(daemon.metric("tare_record_active")? == 1.0);
    let filler = disk.0.join("filler");
    // As much as there is room for.
    let full = fs::write(&filler, vec![1; 1 << 20]);
    ensure!(full.is_err(), "the disk is larger than it should be");
    wait::until("recording to stop", PATIENCE, || {
        Ok((daemon.metric("tare_record_active")? == 0.0).then_some(()))
    })?;
    let args = ["doctor", "--record", directory, "--format", "json"];
    let found: Value = serde_json::from_str(&lab.tare.run(&args)?.stdout)?;
    let found = &found["recording"];
    let is_said = found["reason"].as_str().is_some_and(|reason| reason.contains("No space left"));
    ensure!(found["state"] == "off" && is_said, "{found}");
    let samples = daemon.metric("tare_samples_total")?;
    wait::until("sampling to go on", PATIENCE, || {
        Ok((daemon.metric("tare_samples_total")? >= samples + 5.0).then_some(()))
    })?;
    fs::remove_file(filler)?;
    wait::until("recording to go on", PATIENCE, || {
        Ok((daemon.metric("tare_record_active")? == 1.0).then_some(()))
    })?;
    let done = daemon.terminate()?;
    ensure!(done.stderr.contains("the disk is full"), "{done:?}");
    let done = lab.tare.run(&["stats", "--replay", directory, "--no-stream"])?;
    ensure!(done.status.success(), "{done:?}");
    Ok(())
}

#[test]
fn a_command_is_recorded_as_long_as_it_runs() -> Result<()> {
    let lab = Lab::open()?;
    let server = lab.start(Run::load("serve"))?;
    server.ready()?;
    let file = lab.scratch.path().join("test.tare");
    let file = file.to_str().context("not UTF-8")?;
    let record = ["record", "--output", file, "--interval", "100ms", "--"];
    let done = lab.tare.run(&[&record[..], &["sh", "-c", "sleep 1; exit 7"]].concat())?;
    ensure!(done.status.code() == Some(7), "{done:?}");
    let done = lab.tare.run(&["stats", "--replay", file, "--no-stream"])?;
    ensure!(done.status.success() && done.stdout.contains(server.name()), "{done:?}");
    let done = lab.tare.run(&["record", "--output", file, "--duration", "1s"])?;
    ensure!(!done.status.success() && done.stderr.contains("exists"), "{done:?}");
    Ok(())
}
