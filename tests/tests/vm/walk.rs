//! The walk over cgroups.

#[path = "../walk/mod.rs"]
mod checks;

use anyhow::{Result, ensure};
use tare_tests::report::Report;

use crate::{kernels::running, machine::Machine};

/// Whether this kernel can be walked; it has said why if not.
fn can_walk() -> Result<bool> {
    let refusal = checks::refusal()?.map(|reason| reason.to_string());
    ensure!(refusal.as_deref() == running()?.no_walk, "no walk because: {refusal:?}");
    Ok(refusal.is_none())
}

#[test]
fn cgroups_are_walked_by_default_where_nothing_waits_for_it() -> Result<()> {
    let machine = Machine::take()?;
    let done = machine.tare.run(&["stats", "--no-stream", "--format", "json"])?;
    ensure!(done.status.success(), "{}", done.stderr);
    let report = Report::parse(done.stdout.trim())?;
    for family in ["cpu", "memory", "pids"] {
        let source = &report.value()["sources"][family];
        ensure!(source["not_walked"].as_str() == running()?.not_walked, "{family}: {source}");
    }
    Ok(())
}

#[test]
#[ignore = "minutes in an emulated machine; cargo xtask vm 6.12 -- --ignored walk"]
fn every_field_of_the_walk_is_what_its_file_says() -> Result<()> {
    let _machine = Machine::take()?;
    if can_walk()? { checks::every_field_is_what_its_file_says(48) } else { Ok(()) }
}

#[test]
#[ignore = "minutes in an emulated machine; cargo xtask vm 6.12 -- --ignored walk"]
fn memory_of_records_is_freed_after_their_cgroups() -> Result<()> {
    let _machine = Machine::take()?;
    if can_walk()? { checks::memory_of_records_is_freed(1500) } else { Ok(()) }
}

#[test]
#[ignore = "minutes in an emulated machine; cargo xtask vm 6.12 -- --ignored walk"]
fn no_record_is_stale_missing_or_double_while_cgroups_come_and_go() -> Result<()> {
    let _machine = Machine::take()?;
    if can_walk()? { checks::no_record_is_stale_missing_or_double(3, 200) } else { Ok(()) }
}

#[test]
#[ignore = "minutes in an emulated machine; cargo xtask vm 6.12 -- --ignored walk"]
fn a_report_from_the_walk_is_that_of_files_or_says_why_there_is_none() -> Result<()> {
    let machine = Machine::take()?;
    if can_walk()? {
        return checks::a_report_from_the_walk_is_that_of_files(&machine.tare, 24);
    }
    let done = machine.tare.option("--sources", "walk").run(&[
        "stats",
        "--no-stream",
        "--format",
        "json",
    ])?;
    let reason = running()?.no_walk.unwrap_or_default();
    ensure!(!done.status.success() && done.stderr.contains(reason), "{done:?}");
    Ok(())
}
