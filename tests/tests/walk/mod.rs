//! What a walk over cgroups must be, on any kernel.

mod churn;
mod compare;
mod fields;
mod groups;
mod report;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tare::internals::{
    KernelFacts, Reason,
    walk::{CGROUPS_MAX, Family, Hierarchy, Tree, Walk},
};
use tare_tests::scratch::Scratch;

pub(crate) use self::report::a_report_from_the_walk_is_that_of_files;
use self::{compare::Outcome, groups::Groups};

/// Starts a walk over these hierarchies, or says why there is none.
pub(crate) fn start(hierarchies: &[Hierarchy]) -> Result<Walk, Reason> {
    Walk::start(&KernelFacts::read(Path::new("/sys"), None), hierarchies, CGROUPS_MAX)
}

/// Why there is no walk over the hierarchies of this host, if there is none.
pub(crate) fn refusal() -> Result<Option<Reason>> {
    Ok(start(&groups::hierarchies()?).err())
}

/// Every field of so many cgroups lies between two looks at its file: after loads of all kinds, and
/// while they go on.
pub(crate) fn every_field_is_what_its_file_says(count: usize) -> Result<()> {
    let groups = Groups::new(count)?;
    let scratch = Scratch::new()?;
    let mut walk = start(&groups.hierarchies)?;
    for active in [false, true] {
        let loads = groups.load(scratch.path(), active)?;
        let outcome = compare::compare(&mut walk, &groups)?;
        println!("active {active}: {outcome:#?}");
        ensure!(outcome.wrong.is_empty(), "{:#?}", outcome.wrong);
        // Only what has run since the file was read shows what the walk makes of that.
        let Outcome { frozen: (equal, moved), .. } = outcome;
        ensure!(!active || moved > 0, "none of {equal} frozen cgroups had run");
        ensure!(outcome.unknown.is_empty(), "only files have {:?}", outcome.unknown);
        // What was always 0 would be right by chance.
        for (field, (compared, nonzero)) in &outcome.compared {
            let must_move =
                ["usage_usec", "cpuacct.", "nr_throttled", "oom_kill", "max_usage", "memory.peak"];
            let must = must_move.iter().any(|name| field.contains(name));
            let has = walk.records().trees().any(|tree| tree.family(Family::Throttling).is_ok());
            let elsewhere = field == "0 cpu.stat nr_throttled" && !is_in_unified(&walk);
            if must && has && !elsewhere {
                ensure!(*nonzero > 0, "{field} was 0 in all {compared} cgroups");
            }
        }
        // Few files are read until all numbers are known.
        ensure!(outcome.ambiguous * 5 < count, "{} files were read", outcome.ambiguous);
        ensure!(outcome.stat.1 > count, "{:?} of memory.stat", outcome.stat);
        drop(loads);
    }
    Ok(())
}

/// Whether cgroup2 has the CPU controller.
fn is_in_unified(walk: &Walk) -> bool {
    walk.records().tree(0).is_some_and(|tree| tree.family(Family::Throttling).is_ok())
}

/// The records of so many cgroups are freed after those are gone, and the count of runs goes on.
pub(crate) fn memory_of_records_is_freed(count: usize) -> Result<()> {
    let groups = Groups::new(count)?;
    let mut walk = start(&groups.hierarchies)?;
    let bytes = |walk: &Walk| walk.records().trees().map(Tree::memory_bytes).sum::<usize>();
    let before = bytes(&walk);
    walk.run()?;
    let full = bytes(&walk);
    ensure!(full > before * 4, "{before}, then {full} bytes for {count} cgroups");
    walk.shrink();
    // Nobody has gone: all of it is needed.
    ensure!(bytes(&walk) == full, "{} of {full} bytes", bytes(&walk));
    drop(groups);
    walk.run()?;
    let runs = walk.runs().context("runs")?.count;
    walk.shrink();
    ensure!(bytes(&walk) < full / 2, "{} of {full} bytes", bytes(&walk));
    walk.run()?;
    let after = walk.runs().context("runs")?.count;
    ensure!(after >= runs, "{after} runs after {runs}");
    let (found, missed) = walk.records().trees().fold((0, 0), |(found, missed), tree| {
        (found + tree.found().recorded, missed + tree.found().missed)
    });
    ensure!(found > 0 && missed == 0, "{found} cgroups found, {missed} missed");
    Ok(())
}

/// Cgroups come and go while the walk goes over them, so many a second.
pub(crate) fn no_record_is_stale_missing_or_double(seconds: u64, per_second: u32) -> Result<()> {
    let groups = Groups::new(0)?;
    for hierarchy in &groups.hierarchies {
        let mut walk = start(std::slice::from_ref(hierarchy))?;
        churn::churn(&mut walk, hierarchy, &groups.top(hierarchy), seconds, per_second)?;
    }
    Ok(())
}
