//! How soon Tare reports a new container, what it reports of short-lived ones, and how long a
//! single report takes.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    http,
    missing::Missing,
    plan::{Load, Plan},
    program::{ask, command},
    sampling::populate,
    test_cgroups::TestCgroups,
    times::Times,
    tools::{Binaries, SETTLE, TareRun},
};
use crate::{cmd, wait::pause};

/// Cgroups that exist all the time.
const OTHERS: usize = 100;

/// From a container's first `mkdir` to the event at a subscriber.
#[derive(Deserialize, Serialize)]
pub(crate) struct Detection {
    pub(crate) interval: String,
    /// `None` if there was no event at all.
    pub(crate) times: Option<Times>,
    /// Containers without an event within 10 s.
    pub(crate) missed: u64,
}

/// Containers that live about 20 ms, and what their receipts report.
#[derive(Deserialize, Serialize)]
pub(crate) struct ShortLives {
    pub(crate) tool: String,
    pub(crate) interval: String,
    pub(crate) lived: u64,
    /// Containers with a receipt.
    pub(crate) caught: u64,
    pub(crate) sent_bytes: ReceiptAccuracy,
    pub(crate) used_seconds: ReceiptAccuracy,
    pub(crate) life: Times,
}

/// The sum of a number over the receipts that have it, and the actual sum.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct ReceiptAccuracy {
    pub(crate) receipts: u64,
    pub(crate) reported: f64,
    /// The actual sum for the same containers.
    pub(crate) actual: f64,
}

impl ReceiptAccuracy {
    fn add(&mut self, reported: Option<f64>, actual: f64) {
        if let Some(reported) = reported {
            self.receipts += 1;
            self.reported += reported;
            self.actual += actual;
        }
    }
}

/// The run time of a program that prints one report of all containers.
#[derive(Deserialize, Serialize)]
pub(crate) struct Snapshot {
    pub(crate) command: String,
    pub(crate) seconds: Vec<f64>,
}

/// All measurements of latency.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Found {
    pub(crate) detections: Vec<Detection>,
    pub(crate) lives: Vec<ShortLives>,
    pub(crate) snapshots: Vec<Snapshot>,
}

/// Measures all of it.
pub(crate) fn run(
    binaries: &Binaries,
    plan: &Plan,
    into: &mut Found,
    missing: &mut Missing,
) -> Result<()> {
    println!("Latency");
    let groups = TestCgroups::make(OTHERS)?;
    let _processes = populate(binaries, &groups, Load::Idle)?;
    for interval in ["1s", "100ms"] {
        match detect(binaries, plan, &groups, interval) {
            Ok(found) => into.detections.push(found),
            Err(error) => {
                missing.add(&format!("detection at {interval}"), &error)?;
            }
        }
    }
    for (tool, options) in [("tare run", &[][..]), ("tare run --bpf off", &["--bpf", "off"])] {
        for interval in ["1s", "10s"] {
            match lives(binaries, plan, &groups, (tool, options), interval) {
                Ok(found) => into.lives.push(found),
                Err(error) => {
                    let what = format!("short-lived containers, {tool}");
                    missing.add(&what, &error)?;
                }
            }
        }
    }
    for (what, mut command) in snapshots(binaries) {
        match snapshot(&format!("{what}, {OTHERS} cgroups"), &mut command, plan) {
            Ok(found) => into.snapshots.push(found),
            Err(error) => missing.add(&what, &error)?,
        }
    }
    Ok(())
}

fn bench_command(binaries: &Binaries, groups: &TestCgroups, name: &str, count: u32) -> Command {
    let mut command = command(&binaries.bench, [name, "--count", &count.to_string()]);
    for parent in groups.parents() {
        command.arg("--below").arg(parent);
    }
    command
}

fn detect(
    binaries: &Binaries,
    plan: &Plan,
    groups: &TestCgroups,
    interval: &str,
) -> Result<Detection> {
    let _daemon = TareRun::launch(binaries, &["--interval", interval])?;
    pause(SETTLE)?;
    let mut detect = bench_command(binaries, groups, "detect", plan.detections);
    let found = ask(detect.arg("--socket").arg(TareRun::socket()?))?;
    let missed = found["missed"].as_u64().context("no count of those missed")?;
    let times = (found["count"] != 0).then(|| Times::of(&found)).transpose()?;
    Ok(Detection { interval: interval.to_owned(), times, missed })
}

fn lives(
    binaries: &Binaries,
    plan: &Plan,
    groups: &TestCgroups,
    (tool, options): (&str, &[&str]),
    interval: &str,
) -> Result<ShortLives> {
    let mut all = vec!["--interval", interval];
    all.extend(options);
    let _daemon = TareRun::launch(binaries, &all)?;
    pause(SETTLE)?;
    let found = ask(&mut bench_command(binaries, groups, "live", plan.lives))?;
    // Without events, the daemon finds removed cgroups at its next sample.
    let wait = if interval == "10s" { 11 } else { 2 };
    pause(std::time::Duration::from_secs(wait))?;
    let ended = http::json(&TareRun::server()?, "/api/v1/ended")?;
    let used = found["used_seconds"].as_object().context("no CPU times")?;
    let sent = found["sent_bytes"].as_f64().context("no bytes")?;
    let mut lives = ShortLives {
        tool: tool.to_owned(),
        interval: interval.to_owned(),
        lived: plan.lives.into(),
        caught: 0,
        sent_bytes: ReceiptAccuracy::default(),
        used_seconds: ReceiptAccuracy::default(),
        life: Times::of(&found)?,
    };
    for one in ended.as_array().context("no list of those that ended")? {
        let actual = one["id"].as_str().and_then(|id| used.get(id)?.as_f64());
        let Some(actual) = actual else { continue };
        let number = |pointer: &str| one.pointer(pointer).and_then(Value::as_f64);
        lives.caught += 1;
        lives.sent_bytes.add(number("/network/sockets/tx_bytes"), sent);
        lives.used_seconds.add(number("/cpu/usage_seconds"), actual);
    }
    Ok(lives)
}

/// Programs that print a single report.
fn snapshots(binaries: &Binaries) -> Vec<(String, Command)> {
    let tare = |args: &[&str]| {
        let mut tare = command(&binaries.tare, args);
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

/// Runs a program repeatedly.
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
