//! The walk over cgroups on this host.

#[path = "../walk/mod.rs"]
mod checks;

use anyhow::{Context as _, Result, ensure};
use tare_tests::{binaries, tare::Tare};

/// How many cgroups are compared: `TARE_WALK_GROUPS`, with 200 of which the test takes two minutes,
/// or else few.
fn groups() -> Result<usize> {
    match std::env::var("TARE_WALK_GROUPS") {
        Ok(count) => count.parse().context("TARE_WALK_GROUPS"),
        Err(_) => Ok(48),
    }
}

#[test]
fn every_field_of_the_walk_is_what_its_file_says() -> Result<()> {
    checks::every_field_is_what_its_file_says(groups()?)
}

#[test]
fn no_record_is_stale_missing_or_double_while_cgroups_come_and_go() -> Result<()> {
    checks::no_record_is_stale_missing_or_double(2, 2000)
}

#[test]
fn memory_of_records_is_freed_after_their_cgroups() -> Result<()> {
    checks::memory_of_records_is_freed(4000)
}

#[test]
fn a_report_from_the_walk_is_that_of_files() -> Result<()> {
    ensure!(checks::refusal()?.is_none(), "{:?}", checks::refusal()?);
    let tare = Tare::at(binaries::tare()?).option("--docker-socket", "off");
    checks::a_report_from_the_walk_is_that_of_files(&tare, 48)
}
