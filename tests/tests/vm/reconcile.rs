//! The sum of all counters against the kernel's own: on a healthy machine nothing is missing.

use anyhow::{Result, ensure};
use tare_tests::report::Report;
use tare_tests::wait::{self, PATIENCE};

use crate::machine::{Container, Driver, Machine};

#[test]
fn every_request_is_counted() -> Result<()> {
    const OPS: u64 = 4096;
    let machine = Machine::take()?;
    let mut tare = machine.stream()?;
    let before = tare.fresh()?.reconciled("block")?;
    let file = |name: &str| machine.scratch.path().join(name).display().to_string();
    let (direct, later) = (file("direct"), file("later"));
    let bytes = OPS * 4096;
    for loads in [
        vec![format!("write --path /dev/nullb0 --bytes {bytes} --block 4KiB --mode direct")],
        vec![format!("write --path {direct} --bytes {bytes} --block 4KiB --mode direct --fsync")],
        // On both disks at once, from here and from the kernel's threads that write back.
        vec![
            format!("read --path /dev/nullb0 --bytes {bytes} --block 4KiB --mode direct"),
            format!("read --path {direct} --bytes {bytes} --block 4KiB --mode direct"),
            format!("write --path {later} --bytes {bytes} --mode buffered"),
        ],
    ] {
        let place = Container::new(Driver::Cgroupfs)?;
        let loads: Result<Vec<_>> =
            loads.iter().map(|load| machine.start(&place, load, None)).collect();
        for mut load in loads? {
            load.outcome()?;
        }
        let report = tare.fresh()?;
        ensure!(report.reconciled("block")?.lost == 0, "{report:?}");
    }
    nix::unistd::sync();
    let settled = || -> Result<Option<Report>> {
        let report = tare.fresh()?;
        let books = report.reconciled("block")?;
        Ok((books.expected == books.counted).then_some(report))
    };
    let report = wait::until("both counts to be the same", PATIENCE, settled)?;
    let after = report.reconciled("block")?;
    ensure!(after.lost == 0 && after.covered >= 2 && after.uncovered == 0, "{report:?}");
    ensure!(after.expected - before.expected >= 4 * OPS, "{before:?}, {report:?}");
    ensure!(report.source("block")?.0 == "on", "{report:?}");
    Ok(())
}
