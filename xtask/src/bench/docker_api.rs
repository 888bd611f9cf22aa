//! `docker stats --no-stream` through Tare and through dockerd: how long it takes, and the CPU time
//! of every process involved.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use serde::Serialize;

use super::{
    containers::{Docker, Engine as _},
    http,
    machine::Machine,
    measure::run_time_of,
    program::{Program, command, scratch},
    tools::{SETTLE, TareRun},
};
use crate::{
    build::{self, Profile},
    cgroups::CgroupCleanup,
    cmd, packages, project,
};

/// Processes of Docker that work for an answer. The kernel cuts names to 15 bytes.
const DOCKER: [&str; 3] = ["dockerd", "containerd", "containerd-shim"];

/// For how long all of them are watched while nobody asks.
const IDLE: Duration = Duration::from_secs(5);

/// What prints the client's release.
const VERSION: [&str; 3] = ["version", "--format", "{{.Client.Version}}"];

/// Pause before a run: dockerd goes on for a moment after its client has left.
const PAUSE: Duration = Duration::from_millis(1500);

/// Compare `docker stats --no-stream` through Tare and through dockerd; needs root and Docker
#[derive(Args)]
pub(crate) struct DockerApi {
    /// Containers
    #[arg(long, value_name = "N", default_value_t = 50)]
    containers: usize,
    /// Runs of each command
    #[arg(long, value_name = "N", default_value_t = 10)]
    runs: usize,
    /// Docker's client; by default the one in PATH
    #[arg(long, value_name = "PATH")]
    client: Option<PathBuf>,
    /// Measure a build that is optimised less, and made in half the time
    #[arg(long)]
    quick: bool,
}

/// What is saved of a run.
#[derive(Serialize)]
struct Saved {
    machine: Machine,
    containers: usize,
    /// The release of Docker's client.
    client: String,
    /// CPU time in a second without requests, by process.
    idle_seconds: Vec<(String, f64)>,
    measurements: Vec<Measurement>,
}

/// One command through one server.
#[derive(Clone, Serialize)]
struct Measurement {
    way: &'static str,
    server: &'static str,
    runs: Vec<Once>,
}

#[derive(Clone, Serialize)]
struct Once {
    seconds: f64,
    client_seconds: f64,
    /// CPU time, by process.
    cpu_seconds: Vec<f64>,
}

impl Once {
    /// What the answer took: without what the processes do when nobody asks.
    fn above_idle(&self, idle_seconds: &[(String, f64)]) -> f64 {
        let idle = idle_seconds.iter().map(|(_, idle)| idle * self.seconds);
        self.cpu_seconds.iter().zip(idle).map(|(used, idle)| (used - idle).max(0.0)).sum()
    }
}

/// CPU time of the processes that answer, in the order of [`names`].
struct Clocks<'a> {
    tare: &'a Program,
}

fn names() -> impl Iterator<Item = &'static str> {
    DOCKER.into_iter().chain(["tare"])
}

impl Clocks<'_> {
    fn read(&self) -> Result<Vec<f64>> {
        let times = DOCKER.map(|name| run_time_of(&[name], &[]));
        let times = times.into_iter().chain([self.tare.cgroup().cpu().map(|cpu| cpu.total_ns)]);
        times.map(|time| Ok(Duration::from_nanos(time?).as_secs_f64())).collect()
    }
}

impl DockerApi {
    pub(crate) fn run(&self) -> Result<()> {
        ensure!(cmd::is_root(), "other processes are measured: it needs root");
        ensure!(self.containers > 0 && self.runs > 0, "nothing to measure");
        packages::install(&http::NEEDED)?;
        let profile = if self.quick { Profile::Quick } else { Profile::Release };
        let binary = build::build(profile)?;
        let load = build::static_program("tare-bench")?;
        let _cleanup = CgroupCleanup::begin()?;
        let mut docker = Docker::start(&load)?;
        for _ in 0..self.containers {
            docker.start()?;
        }
        let saved = self.measure(&binary, &docker)?;
        let file = project::target().join("bench/docker-api.json");
        fs::create_dir_all(file.parent().context("no directory")?)?;
        fs::write(&file, serde_json::to_string_pretty(&saved)?)
            .with_context(|| format!("cannot write {file:?}"))?;
        println!("\n{}", table(&saved));
        println!("\nAll runs: {}", file.display());
        Ok(())
    }

    /// A command of the client that is measured.
    fn client(&self, socket: &Path, args: &[&str]) -> Command {
        let client = self.client.as_deref().unwrap_or_else(|| Path::new("docker"));
        let mut docker = command(client, ["--host"]);
        docker.arg(format!("unix://{}", socket.display())).args(args);
        docker
    }

    fn measure(&self, binary: &Path, docker: &Docker) -> Result<Saved> {
        let (_, dockerd) = docker.socket();
        let dockerd = PathBuf::from(dockerd);
        let socket = scratch("docker.sock")?;
        let mut tare = command(binary, ["run", "--listen", "off", "--socket"]);
        tare.arg(TareRun::socket()?).arg("--docker-api-socket").arg(&socket);
        tare.arg("--docker-socket").arg(&dockerd);
        tare.args(["--podman-socket", "off", "--cri-socket", "off"]);
        let tare = TareRun::launch_command(&tare)?;
        crate::wait::pause(SETTLE)?;
        let clocks = Clocks { tare: &tare };
        let before = clocks.read()?;
        crate::wait::pause(IDLE)?;
        let idle = since(&clocks.read()?, &before);
        let idle = names().zip(idle);
        let idle = idle.map(|(name, time)| (name.to_owned(), time / IDLE.as_secs_f64()));
        let urls = docker.urls("stream=false");
        let mut measurements = Vec::new();
        for way in ["docker stats --no-stream", "all stats?stream=false at once"] {
            for (server, socket) in [("dockerd", &dockerd), ("Tare", &socket)] {
                let make = || {
                    if way.starts_with("docker") {
                        Ok(self.client(socket, &["stats", "--no-stream"]))
                    } else {
                        ask_all(socket, &urls)
                    }
                };
                let runs = (0..self.runs).map(|_| once(&mut make()?, &clocks));
                let runs = runs.collect::<Result<Vec<_>>>()?;
                let seconds = median(runs.iter().map(|run| run.seconds));
                println!("{way}, {server}: {seconds:.3} s");
                measurements.push(Measurement { way, server, runs });
            }
        }
        Ok(Saved {
            machine: Machine::here(binary)?,
            containers: self.containers,
            client: cmd::capture(&mut self.client(&dockerd, &VERSION))?.trim().to_owned(),
            idle_seconds: idle.collect(),
            measurements,
        })
    }
}

/// One process that asks for all containers at the same time.
fn ask_all(socket: &Path, urls: &[String]) -> Result<Command> {
    let program = cmd::find("curl").context("no curl on this machine")?;
    let mut curl = command(
        program,
        ["--fail", "--silent", "--no-progress-meter", "--parallel", "--parallel-immediate"],
    );
    curl.args(["--parallel-max", "300"]).arg("--unix-socket").arg(socket).args(urls);
    Ok(curl)
}

fn once(command: &mut Command, clocks: &Clocks<'_>) -> Result<Once> {
    crate::wait::pause(PAUSE)?;
    let (before, client, began) = (clocks.read()?, client_seconds()?, Instant::now());
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let seconds = began.elapsed().as_secs_f64();
    let status = status.with_context(|| format!("failed to start {command:?}"))?;
    ensure!(status.success(), "{status}: {command:?}");
    let client_seconds = client_seconds()? - client;
    Ok(Once { seconds, client_seconds, cpu_seconds: since(&clocks.read()?, &before) })
}

/// CPU time of all children that have ended.
fn client_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let microseconds = (usage.user_time() + usage.system_time()).num_microseconds();
    Ok(Duration::from_micros(microseconds.unsigned_abs()).as_secs_f64())
}

fn since(now: &[f64], before: &[f64]) -> Vec<f64> {
    now.iter().zip(before).map(|(now, before)| (now - before).max(0.0)).collect()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The medians, as Markdown.
fn table(saved: &Saved) -> String {
    let mut text = format!("{} containers, client {}, medians", saved.containers, saved.client);
    for pair in saved.measurements.chunks(2) {
        let [dockerd, tare] = pair else { continue };
        text += &format!("\n\n| {} | dockerd | Tare |\n|---|---|---|\n", dockerd.way);
        let of =
            |one: &Measurement, value: &dyn Fn(&Once) -> f64| median(one.runs.iter().map(value));
        let mut row = |name: &str, value: &dyn Fn(&Once) -> f64| {
            let (theirs, ours) = (of(dockerd, value), of(tare, value));
            text += &format!("| {name} | {:.1} | {:.1} |\n", theirs * 1e3, ours * 1e3);
        };
        row("time, ms", &|run| run.seconds);
        row("CPU of the client, ms", &|run| run.client_seconds);
        for (at, name) in names().enumerate() {
            row(&format!("CPU of {name}, ms"), &|run| run.cpu_seconds[at]);
        }
        let sum = |run: &Once| run.above_idle(&saved.idle_seconds);
        row("CPU of all but the client, above idle, ms", &sum);
        let ratio = |value: &dyn Fn(&Once) -> f64| of(dockerd, value) / of(tare, value);
        text += &format!(
            "\n{:.1} times as fast, with {:.1} times less CPU time in daemons\n",
            ratio(&|run| run.seconds),
            ratio(&sum)
        );
    }
    text += "\nCPU time per second while nobody asks, ms:";
    for (name, seconds) in &saved.idle_seconds {
        text += &format!(" {name} {:.1}", seconds * 1e3);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_medians_and_ratios() {
        let runs = |seconds: [f64; 3], cpu: f64| {
            let once = |seconds| Once { seconds, client_seconds: 0.01, cpu_seconds: vec![cpu; 4] };
            seconds.map(once).to_vec()
        };
        let measurement = |server, runs| Measurement { way: "w", server, runs };
        let saved = Saved {
            machine: Machine::default(),
            containers: 2,
            client: "29.7.2".to_owned(),
            idle_seconds: names().map(|name| (name.to_owned(), 0.005)).collect(),
            measurements: vec![
                measurement("dockerd", runs([9.0, 2.0, 1.0], 0.1)),
                measurement("Tare", runs([0.2, 0.1, 0.0], 0.01)),
            ],
        };
        let table = table(&saved);
        assert!(table.contains("| time, ms | 2000.0 | 100.0 |"), "{table}");
        // 0.1 s less 2 s of 5 ms each, and 0.01 s less 0.1 s of them.
        assert!(table.contains("above idle, ms | 360.0 | 38.0 |"), "{table}");
        assert!(table.contains("20.0 times as fast, with 9.5 times less"), "{table}");
        assert!(table.ends_with("tare 5.0"), "{table}");
    }
}
