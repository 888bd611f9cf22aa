//! What a sample costs: all tools on the same cgroups, one after the other in random order, again
//! and again.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::groups::Groups;
use super::measure::{Busy, Cpu, Memory};
use super::plan::{Plan, shuffle};
use super::program::{Program, command, pause, scratch};
use super::raw::{Missing, Run};
use super::scrape;
use super::tools::{
    Built, CADVISOR_MOST, Cadvisor, Cgtop, Daemon, Floor, Running, Scene, Stats, Tool, files,
};

/// How many of the cgroups' processes use something each second.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) enum Load {
    Idle,
    Tenth,
    All,
}

impl Load {
    pub(crate) const EVERY: [Self; 3] = [Self::Idle, Self::Tenth, Self::All];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Tenth => "10 % busy",
            Self::All => "all busy",
        }
    }

    /// Every how manieth process is busy.
    fn every(self) -> &'static str {
        match self {
            Self::Idle => "0",
            Self::Tenth => "10",
            Self::All => "1",
        }
    }
}

/// One tool, measured once.
#[derive(Deserialize, Serialize)]
pub(crate) struct Sampling {
    pub(crate) size: usize,
    pub(crate) load: Load,
    /// What one round measures ran within a minute or two.
    pub(crate) round: usize,
    /// `None`: nothing ran but the load.
    pub(crate) tool: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) samples: u64,
    /// Cgroups in the latest sample; other containers of the machine are among them.
    pub(crate) seen: usize,
    pub(crate) cpu: Cpu,
    pub(crate) machine: Busy,
    pub(crate) memory: Memory,
}

/// Measures all tools on all sizes and loads.
pub(crate) fn run(built: &Built, plan: &Plan, into: &mut Run) -> Result<()> {
    for &size in &plan.sizes {
        println!("{size} cgroups");
        let groups = Groups::make(size)?;
        let files = {
            let _processes = populate(built, &groups, Load::Idle)?;
            files(built, &groups)?
        };
        let scene = Scene { built, groups: &groups, files: &files };
        for load in plan.loads(size) {
            let _processes = populate(built, &groups, load)?;
            if plan.others(size, load) {
                scrape::run(&scene, plan, size, into)?;
            }
            for round in 0..plan.rounds(size) {
                for tool in shuffle(tools(plan, size, load)) {
                    let tool = tool.as_deref();
                    match measure(&scene, tool, plan.window) {
                        Ok(found) => {
                            let found = Sampling { size, load, round, ..found };
                            tell(&found);
                            into.sampling.push(found);
                        }
                        Err(error) => into.missing(Missing::of(tool, size, &error))?,
                    }
                }
            }
        }
    }
    Ok(())
}

/// A process in each cgroup.
pub(crate) fn populate(built: &Built, groups: &Groups, load: Load) -> Result<Program> {
    let names = scratch("names")?;
    fs::write(&names, groups.names().join("\n")).context("cannot write the names")?;
    let mut populate = command(&built.probe, ["populate", "--names"]);
    populate.arg(names).args(["--busy-every", load.every()]);
    for parent in groups.parents() {
        populate.arg("--below").arg(parent);
    }
    Program::start_ready("populate", &populate)
}

/// Nothing, floors and Tare everywhere; others where they may be compared without all of them.
fn tools(plan: &Plan, size: usize, load: Load) -> Vec<Option<Box<dyn Tool>>> {
    let mut tools: Vec<Option<Box<dyn Tool>>> = vec![
        None,
        Some(Box::new(Floor::CpuAndMemory)),
        Some(Box::new(Floor::All)),
        Some(Box::new(Daemon::PLAIN)),
    ];
    if plan.others(size, load) {
        tools.push(Some(Box::new(Daemon::FILES)));
        tools.push(Some(Box::new(Stats)));
        tools.push(Some(Box::new(Cgtop)));
    }
    if load != Load::All && (Plan::MANY..=CADVISOR_MOST).contains(&size) {
        tools.push(Some(Box::new(Cadvisor)));
    }
    tools
}

fn measure(scene: &Scene<'_>, tool: Option<&dyn Tool>, window: Duration) -> Result<Sampling> {
    let running = tool.map(|tool| tool.start(scene)).transpose()?;
    if let Some(tool) = tool {
        pause(tool.settle())?;
    }
    let mark = running.as_ref().map(|running| running.pulse.between()).transpose()?;
    let before = Reading::take(running.as_ref())?;
    pause(window)?;
    let after = Reading::take(running.as_ref())?;
    let samples = match running.as_ref().zip(mark) {
        Some((running, mark)) => running.pulse.since(&mark)?,
        None => 0,
    };
    let (seen, memory) = match &running {
        Some(running) => ((running.seen)()?, running.program.account().memory()),
        None => (0, Memory::default()),
    };
    Ok(Sampling {
        size: 0,
        load: Load::Idle,
        round: 0,
        tool: tool.map(Tool::name),
        seconds: (after.at - before.at).as_secs_f64(),
        samples,
        seen,
        cpu: after.cpu.since(before.cpu),
        machine: after.machine.since(before.machine),
        memory,
    })
}

/// Everything that is counted, between two samples.
struct Reading {
    at: Instant,
    cpu: Cpu,
    machine: Busy,
}

impl Reading {
    fn take(running: Option<&Running>) -> Result<Self> {
        let cpu = running.map_or(Ok(Cpu::default()), |one| one.program.account().cpu())?;
        Ok(Self { at: Instant::now(), cpu, machine: Busy::now()? })
    }
}

fn tell(found: &Sampling) {
    let Sampling { load, round, samples, seen, cpu, .. } = found;
    let tool = found.tool.as_deref().unwrap_or("nothing");
    let each = cpu.total_ns as f64 / (*samples).max(1) as f64 / (*seen).max(1) as f64 / 1e3;
    println!(
        "  {} {tool}, round {}: {samples} samples of {seen}, {each:.2} µs per cgroup and sample",
        load.name(),
        round + 1
    );
}
