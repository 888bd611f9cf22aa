//! The unit.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::deploy;

/// The exposure that `systemd-analyze security` may find, in tenths.
const EXPOSURE_MAX: u32 = 30;

#[test]
fn the_unit_is_confined_and_has_no_unknown_directive() -> Result<()> {
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=yes", "--no-pager"]);
    analyze.arg(format!("--threshold={EXPOSURE_MAX}")).arg(deploy("systemd/tare.service"));
    let done = analyze.output()?;
    let (found, complaints) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success(), "{found}{complaints}");
    ensure!(found.contains("Overall exposure level for tare.service"), "{found}");
    ensure!(complaints.is_empty(), "{complaints}");
    Ok(())
}
