//! Real containers with real work, watched by those who ask a daemon and by those who do not.

mod docker;
mod podman;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use self::docker::Docker;
use self::podman::Podman;
use super::latency::snapshot;
use super::measure::{Busy, Cpu, Memory, run_time_of};
use super::plan::{Plan, shuffle};
use super::program::{Program, command, pause};
use super::raw::{Missing, Run};
use super::tools::{self, Built, Cadvisor, Daemon};
use crate::{cmd, packages};

/// Processes that work for those who ask a daemon.
const DAEMONS: [&str; 5] = ["dockerd", "containerd", "containerd-shim", "conmon", "podman"];

/// From a tool's start until it is watched: by then it has asked a daemon for all names.
const SETTLE: Duration = Duration::from_secs(4);

/// Where node-exporter listens.
const EXPORTER: &str = "127.0.0.1:19753";

/// One tool, watched once.
#[derive(Deserialize, Serialize)]
pub(crate) struct Watching {
    pub(crate) engine: String,
    pub(crate) containers: usize,
    pub(crate) round: usize,
    /// `None`: nothing ran but the containers.
    pub(crate) tool: Option<String>,
    pub(crate) seconds: f64,
    /// Containers that Tare saw: more, if others run on this machine.
    pub(crate) seen: Option<usize>,
    /// Of the tool's own processes.
    pub(crate) cpu: Cpu,
    /// Time on a CPU of container daemons and their helpers.
    pub(crate) daemons_ns: u64,
    pub(crate) machine: Busy,
    pub(crate) memory: Memory,
}

/// A container engine, and what it can be asked.
trait Engine {
    fn name(&self) -> &'static str;
    /// Starts one more container that works.
    fn start(&mut self) -> Result<()>;
    /// Its own live table.
    fn stats(&self) -> Command;
    /// Addresses in its API that tell at once what each container uses; `None` if nothing serves it.
    fn stats_urls(&self) -> Option<String>;
    /// The option that makes Tare learn names from it.
    fn socket(&self) -> (&'static str, String);
}

/// Watches containers of Docker, and of Podman.
pub(crate) fn run(built: &Built, plan: &Plan, into: &mut Run) -> Result<()> {
    println!("Real containers");
    let most = plan.containers.last().copied().unwrap_or_default();
    match Docker::start(&built.probe) {
        Ok(mut docker) => watch_all(built, plan, &mut docker, &plan.containers, into)?,
        Err(error) => into.missing(Missing::part("containers of Docker", &error))?,
    }
    match Podman::start(&built.probe) {
        Ok(mut podman) => watch_all(built, plan, &mut podman, &[most.min(10)], into),
        Err(error) => into.missing(Missing::part("containers of Podman", &error)),
    }
}

fn watch_all(
    built: &Built,
    plan: &Plan,
    engine: &mut dyn Engine,
    sizes: &[usize],
    into: &mut Run,
) -> Result<()> {
    let mut there = 0;
    let mut tools = vec![None, Some(Tool::Tare), Some(Tool::Own), Some(Tool::Exporter)];
    if engine.stats_urls().is_some() {
        tools.extend([Some(Tool::Api), Some(Tool::Cadvisor)]);
    }
    for &containers in sizes {
        while there < containers {
            if let Err(error) = engine.start() {
                return into.missing(Missing::part(engine.name(), &error));
            }
            there += 1;
        }
        for round in 0..plan.repeat {
            for tool in shuffle(tools.clone()) {
                let name = tool.map(|tool| tool.name(engine));
                match watch(built, plan, engine, tool) {
                    Ok(found) => {
                        tell(name.as_deref(), containers, &found);
                        into.watching.push(Watching { containers, round, tool: name, ..found });
                    }
                    Err(error) => {
                        into.missing(Missing::part(&name.unwrap_or_default(), &error))?;
                    }
                }
            }
        }
        // It knows no containers, so more of them change nothing.
        tools.retain(|tool| !matches!(tool, Some(Tool::Exporter)));
    }
    pictures(built, plan, engine, there, into)
}

/// One picture of all containers, by Tare and by the engine.
fn pictures(
    built: &Built,
    plan: &Plan,
    engine: &dyn Engine,
    containers: usize,
    into: &mut Run,
) -> Result<()> {
    let mut tare = command(&built.tare, ["snapshot", "--window", "0"]);
    tare_options(&mut tare, engine);
    let mut stats = engine.stats();
    stats.arg("--no-stream");
    for (what, command) in
        [("tare snapshot --window 0", &mut tare), ("stats --no-stream", &mut stats)]
    {
        let what = format!("{what}, {containers} containers of {}", engine.name());
        match snapshot(&what, command, plan) {
            Ok(found) => into.snapshots.push(found),
            Err(error) => into.missing(Missing::part(&what, &error))?,
        }
    }
    Ok(())
}

/// Names are asked of this engine alone.
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
    /// cAdvisor, where it can ask the engine for names.
    Cadvisor,
    /// The engine's API, asked by curl for one container after the other.
    Api,
    /// node-exporter, which knows no containers: the host alone.
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

    fn start(self, built: &Built, engine: &dyn Engine) -> Result<Vec<Program>> {
        match self {
            Self::Tare => {
                let mut tare = command(&built.tare, ["run", "--listen", "off", "--socket"]);
                tare.arg(Daemon::socket()?);
                tare_options(&mut tare, engine);
                Ok(vec![Daemon::launch_command(&tare)?])
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
                // Who asks is not what is measured.
                Ok(vec![exporter, each_second(&format!("http://{EXPORTER}/metrics"))?])
            }
        }
    }
}

/// Asks again and again, as scrapers do.
fn each_second(what: &str) -> Result<Program> {
    let curl = cmd::find("curl").context("no curl")?;
    let ask = format!("while sleep 1; do {} --fail -sS {what}; done", curl.display());
    Program::start("asking", &command("sh", ["-c", &ask]), None)
}

fn watch(built: &Built, plan: &Plan, engine: &dyn Engine, tool: Option<Tool>) -> Result<Watching> {
    let mut programs = tool.map_or(Ok(Vec::new()), |tool| tool.start(built, engine))?;
    pause(SETTLE)?;
    let read = |programs: &[Program]| -> Result<_> {
        let own = programs.first().map(|program| program.account());
        let ours = own.map_or(Vec::new(), |account| account.pids());
        let cpu = own.map_or(Ok(Cpu::default()), |account| account.cpu())?;
        Ok((Instant::now(), cpu, run_time_of(&DAEMONS, &ours)?, Busy::now()?))
    };
    let before = read(&programs)?;
    pause(plan.window.max(Duration::from_secs(3)))?;
    let after = read(&programs)?;
    for program in &mut programs {
        program.ensure_running()?;
    }
    let seen = matches!(tool, Some(Tool::Tare)).then(Daemon::containers).transpose()?;
    Ok(Watching {
        engine: engine.name().to_owned(),
        containers: 0,
        round: 0,
        tool: None,
        seen,
        seconds: (after.0 - before.0).as_secs_f64(),
        cpu: after.1.since(before.1),
        daemons_ns: after.2.saturating_sub(before.2),
        machine: after.3.since(before.3),
        memory: programs.first().map(|program| program.account().memory()).unwrap_or_default(),
    })
}

fn tell(tool: Option<&str>, containers: usize, found: &Watching) {
    println!(
        "  {containers} of {}, {}: {:.1} ms of CPU per second, {:.1} in daemons",
        found.engine,
        tool.unwrap_or("nothing"),
        found.cpu.total_ns as f64 / found.seconds / 1e6,
        found.daemons_ns as f64 / found.seconds / 1e6,
    );
}
