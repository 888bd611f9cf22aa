//! The sum of all counters compared with the kernel's own: on a healthy machine nothing is missing.

use anyhow::{Result, ensure};
use tare_tests::{
    report::Report,
    wait::{self, PATIENCE},
};

use crate::machine::{Container, Driver, Machine};

#[test]
fn every_request_is_counted() -> Result<()> {
    const OPS: u64 = 4096;
    const FLUSHES_MAX: u64 = 64;
    let machine = Machine::take()?;
    let mut tare = machine.stream()?;
    let before = tare.fresh()?.reconciled("block")?;
    let file = |name: &str| machine.scratch.path().join(name).display().to_string();
    let (direct, later) = (file("direct"), file("later"));
    let bytes = OPS * 4096;
    // One after the other: a completion that interrupts the program of another one is not seen.
    for load in [
        format!("write --path /dev/nullb0 --bytes {bytes} --block 4KiB --mode direct"),
        format!("read --path /dev/nullb0 --bytes {bytes} --block 4KiB --mode direct"),
        format!("write --path {direct} --bytes {bytes} --block 4KiB --mode direct --fsync"),
        format!("read --path {direct} --bytes {bytes} --block 4KiB --mode direct"),
        format!("write --path {later} --bytes {bytes} --mode buffered"),
    ] {
        let place = Container::new(Driver::Cgroupfs)?;
        machine.start(&place, &load, None)?.outcome()?;
        let report = tare.fresh()?;
        ensure!(report.reconciled("block")?.lost == 0, "{load}: {report:?}");
    }
    nix::unistd::sync();
    // Some kernels do not count flushes without data.
    let settled = || -> Result<Option<Report>> {
        let report = tare.fresh()?;
        let reconciled = report.reconciled("block")?;
        let flushes = reconciled.counted.checked_sub(reconciled.expected);
        Ok(flushes.is_some_and(|flushes| flushes < FLUSHES_MAX).then_some(report))
    };
    let report = wait::until("both counts to be the same", PATIENCE, settled)?;
    let after = report.reconciled("block")?;
    ensure!(after.lost == 0 && after.covered >= 2 && after.uncovered == 0, "{report:?}");
    ensure!(after.expected - before.expected >= 4 * OPS, "{before:?}, {report:?}");
    ensure!(report.source("block")?.0 == "on", "{report:?}");
    Ok(())
}
