//! What the tables and the aims both ask of a run.

use super::spread::Spread;
use crate::bench::effects::Beside;
use crate::bench::raw::Run;
use crate::bench::sampling::{Load, Sampling};
use crate::bench::tools::{Daemon, Floor, Tool as _};

/// All rounds of a tool in one place.
pub(crate) fn rounds<'a>(
    run: &'a Run,
    tool: &str,
    size: usize,
    load: Load,
) -> impl Iterator<Item = &'a Sampling> {
    run.sampling.iter().filter(move |one| {
        (one.size, one.load) == (size, load) && one.tool.as_deref() == Some(tool)
    })
}

/// µs of CPU time for each cgroup that it saw and sample: Tare sees other containers of the machine.
pub(crate) fn micros(one: &Sampling) -> Option<f64> {
    let reads = one.samples.checked_mul(one.seen as u64).filter(|reads| *reads > 0)?;
    // A tool that did not see them all is not compared.
    (one.seen >= one.size).then_some(one.cpu.total_ns as f64 / reads as f64 / 1e3)
}

pub(crate) fn cost(run: &Run, tool: &str, size: usize, load: Load) -> Option<Spread> {
    Spread::of(rounds(run, tool, size, load).filter_map(micros))
}

/// A tool's cost as a multiple of a floor's in the same round.
pub(crate) fn ratio(
    run: &Run,
    tool: &str,
    floor: Floor,
    size: usize,
    load: Load,
) -> Option<Spread> {
    let pairs = rounds(run, tool, size, load).filter_map(|one| {
        let floor = rounds(run, &floor.name(), size, load).find(|low| low.round == one.round)?;
        Some(micros(one)? / micros(floor)?)
    });
    Spread::of(pairs)
}

/// Percent of one CPU at a sample each second.
pub(crate) fn percent_of_core(run: &Run, tool: &str, size: usize, load: Load) -> Option<Spread> {
    let percent = |one: &Sampling| {
        (one.samples > 0).then(|| one.cpu.total_ns as f64 / one.samples as f64 / 1e7)
    };
    Spread::of(rounds(run, tool, size, load).filter_map(percent))
}

/// Something measured with and without Tare: how much more with it, in the same round.
pub(crate) fn more(
    run: &Run,
    what: &str,
    beside: Beside,
    change: fn(f64, f64) -> f64,
) -> Option<Spread> {
    let with = run.effects.iter().filter(|one| one.beside == beside);
    Spread::of(with.filter_map(|one| {
        let without = run
            .effects
            .iter()
            .find(|other| (other.beside, other.round) == (Beside::Nothing, one.round))?;
        Some(change(*one.found.get(what)?, *without.found.get(what)?))
    }))
}

/// What a program costs for each event over an empty one, in ns.
pub(crate) fn over_empty(run: &Run, program: &str) -> Option<Spread> {
    let ours = run.programs.iter().filter(|one| one.program == program);
    Spread::of(ours.map(|one| one.ns - one.empty_ns))
}

/// Resident bytes of the daemon.
pub(crate) fn resident(run: &Run, size: usize, load: Load) -> Option<Spread> {
    let ours = rounds(run, Daemon::PLAIN.name, size, load);
    Spread::of(ours.filter_map(|one| one.memory.rss_bytes).map(|bytes| bytes as f64))
}

/// Sizes and loads that were measured, in their order.
pub(crate) fn scenes(run: &Run) -> Vec<(usize, Load)> {
    let mut scenes = Vec::new();
    for one in &run.sampling {
        if !scenes.contains(&(one.size, one.load)) {
            scenes.push((one.size, one.load));
        }
    }
    scenes
}
