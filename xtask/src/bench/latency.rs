//! How soon Tare knows: of a new container, of one that lives for a moment, and from its own start.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::groups::Groups;
use super::http;
use super::plan::Plan;
use super::program::{ask, command, pause};
use super::raw::{Missing, Run, Times};
use super::sampling::SETTLE;
use super::tools::{Built, Daemon};
use crate::cmd;

/// Cgroups that are there anyway.
const OTHERS: usize = 100;

/// From the first directory of a container to the event that a subscriber gets.
#[derive(Deserialize, Serialize)]
pub(crate) struct Detection {
    pub(crate) interval: String,
    pub(crate) times: Times,
    pub(crate) missed: u64,
}

/// Containers of about 20 ms, and what is known of them afterwards.
#[derive(Deserialize, Serialize)]
pub(crate) struct Lives {
    pub(crate) tool: String,
    pub(crate) interval: String,
    pub(crate) lived: u64,
    /// Those with a receipt.
    pub(crate) caught: u64,
    /// What they sent, and what their receipts say they sent.
    pub(crate) sent_bytes: u64,
    pub(crate) told_bytes: Option<u64>,
    /// CPU time, likewise.
    pub(crate) used_seconds: f64,
    pub(crate) told_seconds: f64,
    pub(crate) life: Times,
}

/// From the execution of a program to its end, with one picture of all containers printed.
#[derive(Deserialize, Serialize)]
pub(crate) struct Snapshot {
    pub(crate) command: String,
    pub(crate) seconds: Vec<f64>,
}

/// Measures all three.
pub(crate) fn run(built: &Built, plan: &Plan, into: &mut Run) -> Result<()> {
    println!("How soon Tare knows");
    let groups = Groups::make(OTHERS)?;
    for interval in ["1s", "100ms"] {
        match detect(built, plan, &groups, interval) {
            Ok(found) => into.detections.push(found),
            Err(error) => {
                into.missing(Missing::part(&format!("detection at {interval}"), &error))?
            }
        }
    }
    for (tool, options) in [("tare run", &[][..]), ("tare run --bpf off", &["--bpf", "off"])] {
        for interval in ["1s", "10s"] {
            match lives(built, plan, &groups, (tool, options), interval) {
                Ok(found) => into.lives.push(found),
                Err(error) => {
                    into.missing(Missing::part(&format!("short lives, {tool}"), &error))?
                }
            }
        }
    }
    for (what, mut command) in snapshots(built) {
        match snapshot(&what, &mut command, plan) {
            Ok(found) => into.snapshots.push(found),
            Err(error) => into.missing(Missing::part(&what, &error))?,
        }
    }
    Ok(())
}

fn probe(built: &Built, groups: &Groups, name: &str, count: u32) -> Command {
    let mut probe = command(&built.probe, [name, "--count", &count.to_string()]);
    for parent in groups.parents() {
        probe.arg("--below").arg(parent);
    }
    probe
}

fn detect(built: &Built, plan: &Plan, groups: &Groups, interval: &str) -> Result<Detection> {
    let _daemon = Daemon::launch(built, &["--interval", interval])?;
    pause(SETTLE)?;
    let mut detect = probe(built, groups, "detect", plan.detections);
    let found = ask(detect.arg("--socket").arg(Daemon::socket()?))?;
    let missed = found["missed"].as_u64().context("no count of those missed")?;
    Ok(Detection { interval: interval.to_owned(), times: Times::of(&found)?, missed })
}

fn lives(
    built: &Built,
    plan: &Plan,
    groups: &Groups,
    (tool, options): (&str, &[&str]),
    interval: &str,
) -> Result<Lives> {
    let mut all = vec!["--interval", interval];
    all.extend(options);
    let _daemon = Daemon::launch(built, &all)?;
    pause(SETTLE)?;
    let found = ask(&mut probe(built, groups, "live", plan.lives))?;
    // A daemon that only walks learns of what is gone with its next sample.
    let wait = if interval == "10s" { 11 } else { 2 };
    pause(std::time::Duration::from_secs(wait))?;
    let ended = http::json(&Daemon::socket()?, "/api/v1/ended")?;
    let prefix = found["prefix"].as_str().context("no prefix")?;
    let ended: Vec<&Value> = ended
        .as_array()
        .context("no list of those that ended")?
        .iter()
        .filter(|one| one["id"].as_str().is_some_and(|id| id.starts_with(prefix)))
        .collect();
    let bytes = |one: &&Value| one.pointer("/network/sockets/tx_bytes").and_then(Value::as_u64);
    let seconds = |one: &&Value| one.pointer("/cpu/usage_seconds").and_then(Value::as_f64);
    Ok(Lives {
        tool: tool.to_owned(),
        interval: interval.to_owned(),
        lived: plan.lives.into(),
        caught: ended.len() as u64,
        sent_bytes: found["sent_bytes"].as_u64().context("no sum of bytes")?,
        // No number at all is not the number 0.
        told_bytes: ended
            .iter()
            .map(bytes)
            .try_fold(None, |sum: Option<u64>, bytes| {
                bytes.map(|bytes| Some(sum.unwrap_or(0) + bytes))
            })
            .flatten(),
        used_seconds: found["used_seconds"].as_f64().context("no sum of CPU time")?,
        told_seconds: ended.iter().filter_map(seconds).sum(),
        life: Times::of(&found)?,
    })
}

/// One picture, by those who can.
fn snapshots(built: &Built) -> Vec<(String, Command)> {
    let tare = |args: &[&str]| {
        let mut tare = command(&built.tare, args);
        for daemon in ["--docker-socket", "--podman-socket", "--cri-socket"] {
            tare.args([daemon, "off"]);
        }
        tare
    };
    let mut all = vec![
        ("tare snapshot --window 0".to_owned(), tare(&["snapshot", "--window", "0"])),
        ("tare snapshot --window 100ms".to_owned(), tare(&["snapshot", "--window", "100ms"])),
    ];
    let others = [
        ("systemd-cgtop", "--batch --iterations=1 --depth=10"),
        ("podman", "stats --no-stream --all"),
    ];
    for (name, args) in others {
        let program = cmd::find(name).unwrap_or_else(|| name.into());
        all.push((format!("{name} {args}"), command(program, args.split(' '))));
    }
    all
}

fn snapshot(what: &str, command: &mut Command, plan: &Plan) -> Result<Snapshot> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut seconds = Vec::new();
    for _ in 0..plan.snapshots {
        pause(std::time::Duration::from_millis(100))?;
        let begin = Instant::now();
        let status = command.status().with_context(|| format!("failed to start {command:?}"))?;
        seconds.push(begin.elapsed().as_secs_f64());
        ensure!(status.success(), "{status}");
    }
    Ok(Snapshot { command: what.to_owned(), seconds })
}
