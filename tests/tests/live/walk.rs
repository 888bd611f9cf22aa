//! The walk over cgroups on this host.

#[path = "../walk/mod.rs"]
mod checks;

use anyhow::Result;

#[test]
fn every_field_is_what_its_file_says() -> Result<()> {
    checks::every_field_is_what_its_file_says(200)
}

#[test]
fn no_record_is_stale_missing_or_double_while_cgroups_come_and_go() -> Result<()> {
    checks::no_record_is_stale_missing_or_double(5, 2000)
}
