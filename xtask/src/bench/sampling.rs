//! The cost of a sample: all tools on the same cgroups, one after the other, in rounds of random
//! order.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{
    measure::{Cpu, MachineCpu, Memory},
    missing::Missing,
    plan::{Load, Plan, shuffle},
    program::{Program, command, scratch},
    scrape::{self, Scrape},
    test_cgroups::TestCgroups,
    tools::{
        Binaries, CADVISOR_MOST, Cadvisor, Cgtop, Floor, Running, Setup, TareRun, TareStats, Tool,
        files,
    },
};
use crate::wait::pause;

/// One measurement of one tool.
#[derive(Deserialize, Serialize)]
pub(crate) struct Sampling {
    pub(crate) size: usize,
    pub(crate) load: Load,
    /// Measurements of the same round ran within a minute or two.
    pub(crate) round: usize,
    /// `None` if only the load ran.
    pub(crate) tool: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) samples: u64,
    /// Cgroups in the latest sample, including other containers of the machine.
    pub(crate) seen: usize,
    pub(crate) cpu: Cpu,
    pub(crate) machine: MachineCpu,
    pub(crate) memory: Memory,
}

/// All measurements of tools and of scrapes.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Found {
    pub(crate) sampling: Vec<Sampling>,
    pub(crate) scrapes: Vec<Scrape>,
}

/// Measures all tools with all sizes and loads.
pub(crate) fn run(
    binaries: &Binaries,
    plan: &Plan,
    into: &mut Found,
    missing: &mut Missing,
) -> Result<()> {
    for &size in &plan.sizes {
        println!("{size} cgroups");
        let groups = TestCgroups::make(size)?;
        let files = {
            let _processes = populate(binaries, &groups, Load::Idle)?;
            files(binaries, &groups)?
        };
        let setup = Setup { binaries, groups: &groups, files: &files };
        for load in plan.loads(size) {
            let _processes = populate(binaries, &groups, load)?;
            if Plan::others(size, load) {
                scrape::run(&setup, plan, size, &mut into.scrapes, missing)?;
            }
            for round in 0..plan.rounds(size) {
                for tool in shuffle(tools(size, load)) {
                    let tool = tool.as_deref();
                    match measure(&setup, tool, plan.window) {
                        Ok(found) => {
                            let found = Sampling { size, load, round, ..found };
                            print(&found);
                            into.sampling.push(found);
                        }
                        Err(error) => missing.add(&what(tool, size), &error)?,
                    }
                }
            }
        }
    }
    Ok(())
}

fn what(tool: Option<&dyn Tool>, size: usize) -> String {
    let tool = tool.map_or_else(|| "nothing".to_owned(), Tool::name);
    format!("{tool}, {size} cgroups")
}

/// Starts a process in each cgroup.
pub(crate) fn populate(binaries: &Binaries, groups: &TestCgroups, load: Load) -> Result<Program> {
    let names = scratch("names")?;
    fs::write(&names, groups.names().join("\n")).context("cannot write the names")?;
    let mut populate = command(&binaries.bench, ["populate", "--names"]);
    populate.arg(names).args(["--busy-every", load.every()]);
    for parent in groups.parents() {
        populate.arg("--below").arg(parent);
    }
    Program::start_ready("populate", &populate)
}

/// No tool, floors and `tare run`, from the walk and from files, always; other tools at some sizes
/// and loads.
fn tools(size: usize, load: Load) -> Vec<Option<Box<dyn Tool>>> {
    let mut tools: Vec<Option<Box<dyn Tool>>> = vec![
        None,
        Some(Box::new(Floor::CpuAndMemory)),
        Some(Box::new(Floor::All)),
        Some(Box::new(TareRun::PLAIN)),
        Some(Box::new(TareRun::FILES)),
    ];
    if Plan::others(size, load) {
        tools.push(Some(Box::new(TareRun::NO_BPF)));
        tools.push(Some(Box::new(TareStats)));
        tools.push(Some(Box::new(Cgtop)));
    }
    if load != Load::All && (Plan::MANY..=CADVISOR_MOST).contains(&size) {
        tools.push(Some(Box::new(Cadvisor)));
    }
    tools
}

fn measure(setup: &Setup<'_>, tool: Option<&dyn Tool>, window: Duration) -> Result<Sampling> {
    let running = tool.map(|tool| tool.start(setup)).transpose()?;
    if let Some(tool) = tool {
        pause(tool.settle())?;
    }
    let last = running.as_ref().map(|running| running.signal.wait_between_samples()).transpose()?;
    let before = Reading::take(running.as_ref())?;
    pause(window)?;
    let after = Reading::take(running.as_ref())?;
    let samples = match running.as_ref().zip(last) {
        Some((running, last)) => running.signal.samples_since(&last)?,
        None => 0,
    };
    let (seen, memory) = match &running {
        Some(running) => ((running.seen)()?, running.program.cgroup().memory()),
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

/// Counters at one instant, between two samples.
struct Reading {
    at: Instant,
    cpu: Cpu,
    machine: MachineCpu,
}

impl Reading {
    fn take(running: Option<&Running>) -> Result<Self> {
        let cpu = running.map_or(Ok(Cpu::default()), |one| one.program.cgroup().cpu())?;
        Ok(Self { at: Instant::now(), cpu, machine: MachineCpu::now()? })
    }
}

fn print(found: &Sampling) {
    let Sampling { load, round, samples, seen, cpu, .. } = found;
    let tool = found.tool.as_deref().unwrap_or("nothing");
    let each = cpu.total_ns as f64 / (*samples).max(1) as f64 / (*seen).max(1) as f64 / 1e3;
    println!(
        "  {} {tool}, round {}: {samples} samples of {seen}, {each:.2} µs per cgroup and sample",
        load.name(),
        round + 1
    );
}
