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
use super::sampling::{Load, populate};
use super::tools::{Built, Daemon, SETTLE};
use crate::cmd;

/// Cgroups that are there anyway.
const OTHERS: usize = 100;

/// From the first directory of a container to the event that a subscriber gets.
#[derive(Deserialize, Serialize)]
pub(crate) struct Detection {
    pub(crate) interval: String,
    /// `None` if nothing was heard of any.
    pub(crate) times: Option<Times>,
    /// Those of which nothing was heard within 10 s.
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
    pub(crate) sent_bytes: Told,
    pub(crate) used_seconds: Told,
    pub(crate) life: Times,
}

/// Receipts that tell a number, and how far it is from what was.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Told {
    pub(crate) receipts: u64,
    pub(crate) told: f64,
    /// The sum for these very containers.
    pub(crate) truth: f64,
}

impl Told {
    fn add(&mut self, told: Option<f64>, truth: f64) {
        if let Some(told) = told {
            self.receipts += 1;
            self.told += told;
            self.truth += truth;
        }
    }
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
    let _processes = populate(built, &groups, Load::Idle)?;
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
        match snapshot(&format!("{what}, {OTHERS} cgroups"), &mut command, plan) {
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
    let times = (found["count"] != 0).then(|| Times::of(&found)).transpose()?;
    Ok(Detection { interval: interval.to_owned(), times, missed })
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
    let used = found["used_seconds"].as_object().context("no CPU times")?;
    let sent = found["sent_bytes"].as_f64().context("no bytes")?;
    let mut lives = Lives {
        tool: tool.to_owned(),
        interval: interval.to_owned(),
        lived: plan.lives.into(),
        caught: 0,
        sent_bytes: Told::default(),
        used_seconds: Told::default(),
        life: Times::of(&found)?,
    };
    for one in ended.as_array().context("no list of those that ended")? {
        let truth = one["id"].as_str().and_then(|id| used.get(id)?.as_f64());
        let Some(truth) = truth else { continue };
        let number = |pointer: &str| one.pointer(pointer).and_then(Value::as_f64);
        lives.caught += 1;
        lives.sent_bytes.add(number("/network/sockets/tx_bytes"), sent);
        lives.used_seconds.add(number("/cpu/usage_seconds"), truth);
    }
    Ok(lives)
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
    let cgtop = cmd::find("systemd-cgtop").unwrap_or_else(|| "systemd-cgtop".into());
    let once = ["--batch", "--iterations=1", "--depth=10"];
    vec![
        ("tare snapshot --window 0".to_owned(), tare(&["snapshot", "--window", "0"])),
        ("tare snapshot --window 100ms".to_owned(), tare(&["snapshot", "--window", "100ms"])),
        ("systemd-cgtop --batch --iterations=1".to_owned(), command(cgtop, once)),
    ]
}

/// Runs it again and again.
pub(crate) fn snapshot(what: &str, command: &mut Command, plan: &Plan) -> Result<Snapshot> {
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
