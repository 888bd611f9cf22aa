//! Numbers that both the tables and the aims need.

use super::summary::Summary;
use crate::bench::{
    effects::Background,
    measurements::Run,
    plan::Load,
    sampling::Sampling,
    tools::{Floor, TareRun, Tool as _},
};

/// All rounds of a tool at one size and load.
pub(crate) fn rounds<'a>(
    run: &'a Run,
    tool: &str,
    size: usize,
    load: Load,
) -> impl Iterator<Item = &'a Sampling> {
    run.sampling.sampling.iter().filter(move |one| {
        (one.size, one.load) == (size, load) && one.tool.as_deref() == Some(tool)
    })
}

/// µs of CPU time per sample and cgroup in it; other containers of the machine are among these.
pub(crate) fn micros(one: &Sampling) -> Option<f64> {
    let reads = one.samples.checked_mul(one.seen as u64).filter(|reads| *reads > 0)?;
    // A tool that did not list all cgroups is not compared.
    (one.seen >= one.size).then_some(one.cpu.total_ns as f64 / reads as f64 / 1e3)
}

pub(crate) fn cost(run: &Run, tool: &str, size: usize, load: Load) -> Option<Summary> {
    Summary::of(rounds(run, tool, size, load).filter_map(micros))
}

/// A tool's cost divided by the floor's in the same round.
pub(crate) fn ratio(
    run: &Run,
    tool: &str,
    floor: Floor,
    size: usize,
    load: Load,
) -> Option<Summary> {
    let pairs = rounds(run, tool, size, load).filter_map(|one| {
        let floor = rounds(run, &floor.name(), size, load).find(|low| low.round == one.round)?;
        Some(micros(one)? / micros(floor)?)
    });
    Summary::of(pairs)
}

/// Percent of one CPU, at one sample per second.
pub(crate) fn percent_of_core(run: &Run, tool: &str, size: usize, load: Load) -> Option<Summary> {
    let percent = |one: &Sampling| {
        (one.samples > 0).then(|| one.cpu.total_ns as f64 / one.samples as f64 / 1e7)
    };
    Summary::of(rounds(run, tool, size, load).filter_map(percent))
}

/// The change of a measurement by Tare, from pairs with and without it in the same round.
pub(crate) fn more(
    run: &Run,
    what: &str,
    background: Background,
    change: fn(f64, f64) -> f64,
) -> Option<Summary> {
    let with = run.effects.iter().filter(|one| one.background == background);
    Summary::of(with.filter_map(|one| {
        let without = run
            .effects
            .iter()
            .find(|other| (other.background, other.round) == (Background::Nothing, one.round))?;
        Some(change(*one.found.get(what)?, *without.found.get(what)?))
    }))
}

/// ns per event that a BPF program costs more than an empty one.
pub(crate) fn over_empty(run: &Run, program: &str) -> Option<Summary> {
    let ours = run.programs.iter().filter(|one| one.program == program);
    Summary::of(ours.map(|one| one.ns - one.empty_ns))
}

/// Resident memory of `tare run`, in bytes.
pub(crate) fn resident(run: &Run, size: usize, load: Load) -> Option<Summary> {
    let ours = rounds(run, TareRun::PLAIN.name, size, load);
    Summary::of(ours.filter_map(|one| one.memory.rss_bytes).map(|bytes| bytes as f64))
}

/// Memory that the kernel charges to `tare run`, in bytes.
pub(crate) fn kernel_memory(run: &Run, size: usize, load: Load) -> Option<Summary> {
    let ours = rounds(run, TareRun::PLAIN.name, size, load);
    Summary::of(ours.filter_map(|one| one.memory.kernel_bytes).map(|bytes| bytes as f64))
}

/// Sizes and loads that were measured, in that order.
pub(crate) fn sizes_and_loads(run: &Run) -> Vec<(usize, Load)> {
    let mut sizes_and_loads = Vec::new();
    for one in &run.sampling.sampling {
        if !sizes_and_loads.contains(&(one.size, one.load)) {
            sizes_and_loads.push((one.size, one.load));
        }
    }
    sizes_and_loads
}
