//! Real containers with real work, sampled by tools that ask a container daemon and by tools that
//! do not.

mod docker;
mod podman;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

pub(super) use self::docker::Docker;
use self::podman::Podman;
use super::{
    latency::{Snapshot, snapshot},
    measure::{Cpu, MachineCpu, Memory, ProgramCgroup, run_time_of},
    missing::Missing,
    plan::{Plan, shuffle},
    program::{Program, command},
    tools::{self, Binaries, Cadvisor, TareRun},
};
use crate::{cmd, packages, wait::pause};

/// Processes that work for tools that ask a daemon.
const DAEMONS: [&str; 5] = ["dockerd", "containerd", "containerd-shim", "conmon", "podman"];

/// Time from a tool's start to the measurement; by then it has asked for all names.
const SETTLE: Duration = Duration::from_secs(4);

/// Where node-exporter listens.
const EXPORTER: &str = "127.0.0.1:19753";

/// One measurement of one tool.
#[derive(Deserialize, Serialize)]
pub(crate) struct ContainerMeasurement {
    pub(crate) engine: String,
    pub(crate) containers: usize,
    pub(crate) round: usize,
    /// `None` if only the containers ran.
    pub(crate) tool: Option<String>,
    pub(crate) seconds: f64,
    /// Containers in Tare's latest sample, including others of the machine.
    pub(crate) seen: Option<usize>,
    /// CPU time of the tool's own processes.
    pub(crate) cpu: Cpu,
    /// CPU time of container daemons and their helpers.
    pub(crate) daemons_ns: u64,
    pub(crate) machine: MachineCpu,
    pub(crate) memory: Memory,
}

/// A container engine and its ways to report usage.
pub(super) trait Engine {
    fn name(&self) -> &'static str;
    /// Starts another container that does work.
    fn start(&mut self) -> Result<()>;
    /// The command of its live table.
    fn stats(&self) -> Command;
    /// URLs of its API, one per container, that report usage at once; `None` without an API.
    fn stats_urls(&self) -> Option<String>;
    /// Tare's option for its socket, and the value.
    fn socket(&self) -> (&'static str, String);
}

/// All measurements with real containers.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Found {
    pub(crate) watching: Vec<ContainerMeasurement>,
    #[serde(default)]
    pub(crate) reports: Vec<Snapshot>,
}

/// Measures with containers of Docker and of Podman.
pub(crate) fn run(
    binaries: &Binaries,
    plan: &Plan,
    into: &mut Found,
    missing: &mut Missing,
) -> Result<()> {
    println!("Real containers");
    let most = plan.containers.last().copied().unwrap_or_default();
    match Docker::start(&binaries.bench) {
        Ok(mut docker) => watch_all(binaries, plan, &mut docker, &plan.containers, into, missing)?,
        Err(error) => missing.add("containers of Docker", &error)?,
    }
    match Podman::start(&binaries.bench) {
        Ok(mut podman) => watch_all(binaries, plan, &mut podman, &[most.min(10)], into, missing),
        Err(error) => missing.add("containers of Podman", &error),
    }
}

fn watch_all(
    binaries: &Binaries,
    plan: &Plan,
    engine: &mut dyn Engine,
    sizes: &[usize],
    into: &mut Found,
    missing: &mut Missing,
) -> Result<()> {
    let mut there = 0;
    let mut tools = vec![None, Some(Tool::Tare), Some(Tool::Own), Some(Tool::Exporter)];
    if engine.stats_urls().is_some() {
        tools.extend([Some(Tool::Api), Some(Tool::Cadvisor)]);
    }
    for &containers in sizes {
        while there < containers {
            if let Err(error) = engine.start() {
                return missing.add(engine.name(), &error);
            }
            there += 1;
        }
        for round in 0..plan.repeat {
            for tool in shuffle(tools.clone()) {
                let name = tool.map(|tool| tool.name(engine));
                match watch(binaries, plan, engine, tool) {
                    Ok(found) => {
                        print(name.as_deref(), containers, &found);
                        into.watching.push(ContainerMeasurement {
                            containers,
                            round,
                            tool: name,
                            ..found
                        });
                    }
                    Err(error) => {
                        missing.add(&name.unwrap_or_default(), &error)?;
                    }
                }
            }
        }
        // It knows no containers, so one size is enough.
        tools.retain(|tool| !matches!(tool, Some(Tool::Exporter)));
    }
    single_reports(binaries, plan, engine, there, into, missing)
}

/// A single report of all containers, by Tare and by the engine.
fn single_reports(
    binaries: &Binaries,
    plan: &Plan,
    engine: &dyn Engine,
    containers: usize,
    into: &mut Found,
    missing: &mut Missing,
) -> Result<()> {
    let mut tare = command(&binaries.tare, ["snapshot", "--window", "0"]);
    tare_options(&mut tare, engine);
    let mut stats = engine.stats();
    stats.arg("--no-stream");
    for (what, command) in
        [("tare snapshot --window 0", &mut tare), ("stats --no-stream", &mut stats)]
    {
        let what = format!("{what}, {containers} containers of {}", engine.name());
        match snapshot(&what, command, plan) {
            Ok(found) => into.reports.push(found),
            Err(error) => missing.add(&what, &error)?,
        }
    }
    Ok(())
}

/// Takes names from this engine alone.
fn tare_options(tare: &mut Command, engine: &dyn Engine) {
    let (option, socket) = engine.socket();
    for each in ["--docker-socket", "--podman-socket", "--cri-socket"] {
        tare.args([each, if each == option { &socket } else { "off" }]);
    }
}

#[derive(Clone, Copy)]
enum Tool {
    Tare,
    /// The engine's live table.
    Own,
    /// cAdvisor, which asks the engine for names.
    Cadvisor,
    /// The engine's API, requested by curl for one container after the other.
    Api,
    /// node-exporter, which reports the host and no containers.
    Exporter,
}

impl Tool {
    fn name(self, engine: &dyn Engine) -> String {
        match self {
            Self::Tare => "tare run".to_owned(),
            Self::Own => format!("{} stats", engine.name()),
            Self::Cadvisor => tools::Tool::name(&Cadvisor),
            Self::Api => format!("API of {}, one-shot", engine.name()),
            Self::Exporter => "prometheus-node-exporter".to_owned(),
        }
    }

    fn start(self, binaries: &Binaries, engine: &dyn Engine) -> Result<Vec<Program>> {
        match self {
            Self::Tare => {
                let mut tare = command(&binaries.tare, ["run", "--listen", "off", "--socket"]);
                tare.arg(TareRun::socket()?);
                tare_options(&mut tare, engine);
                Ok(vec![TareRun::launch_command(&tare)?])
            }
            Self::Own => Ok(vec![Program::start("stats", &engine.stats(), None)?]),
            Self::Cadvisor => {
                let (_, socket) = engine.socket();
                Ok(vec![Cadvisor::launch(&["-docker", &format!("unix://{socket}")])?])
            }
            Self::Api => {
                let (_, socket) = engine.socket();
                let urls = engine.stats_urls().context("nothing serves its API")?;
                let ask = format!("--unix-socket {socket} {urls}");
                Ok(vec![each_second(&ask)?])
            }
            Self::Exporter => {
                let name = "prometheus-node-exporter";
                let exporter = packages::unpacked(name, &[name])?.join(name);
                let address = format!("--web.listen-address={EXPORTER}");
                let exporter = Program::start("exporter", &command(exporter, [address]), None)?;
                // The first program is measured, not the one that scrapes it.
                Ok(vec![exporter, each_second(&format!("http://{EXPORTER}/metrics"))?])
            }
        }
    }
}

/// Requests URLs every second.
fn each_second(what: &str) -> Result<Program> {
    let curl = cmd::find("curl").context("no curl")?;
    let ask = format!("while sleep 1; do {} --fail -sS {what}; done", curl.display());
    Program::start("requests", &command("sh", ["-c", &ask]), None)
}

fn watch(
    binaries: &Binaries,
    plan: &Plan,
    engine: &dyn Engine,
    tool: Option<Tool>,
) -> Result<ContainerMeasurement> {
    let mut programs = tool.map_or(Ok(Vec::new()), |tool| tool.start(binaries, engine))?;
    pause(SETTLE)?;
    let read = |programs: &[Program]| -> Result<_> {
        let own = programs.first().map(Program::cgroup);
        let ours = own.map_or(Vec::new(), ProgramCgroup::pids);
        let cpu = own.map_or(Ok(Cpu::default()), ProgramCgroup::cpu)?;
        Ok((Instant::now(), cpu, run_time_of(&DAEMONS, &ours)?, MachineCpu::now()?))
    };
    let before = read(&programs)?;
    pause(plan.window.max(Duration::from_secs(3)))?;
    let after = read(&programs)?;
    for program in &mut programs {
        program.ensure_running()?;
    }
    let seen = matches!(tool, Some(Tool::Tare)).then(TareRun::containers).transpose()?;
    Ok(ContainerMeasurement {
        engine: engine.name().to_owned(),
        containers: 0,
        round: 0,
        tool: None,
        seen,
        seconds: (after.0 - before.0).as_secs_f64(),
        cpu: after.1.since(before.1),
        daemons_ns: after.2.saturating_sub(before.2),
        machine: after.3.since(before.3),
        memory: programs.first().map(|program| program.cgroup().memory()).unwrap_or_default(),
    })
}

fn print(tool: Option<&str>, containers: usize, found: &ContainerMeasurement) {
    println!(
        "  {containers} of {}, {}: {:.1} ms of CPU per second, {:.1} in daemons",
        found.engine,
        tool.unwrap_or("nothing"),
        found.cpu.total_ns as f64 / found.seconds / 1e6,
        found.daemons_ns as f64 / found.seconds / 1e6,
    );
}
