//! The sum of all counters compared with the kernel's own. On some machines the kernel does not run
//! BPF programs for every request (`docs/limits.md`); Tare must report that.

use std::fs;

use anyhow::{Result, ensure};
use tare_tests::{block::Place, lab::Lab};

const BLOCK: u64 = 4096;

/// A file on the disk, and the load that reads it in this number of requests.
fn reading(lab: &Lab, requests: u64) -> Result<String> {
    let file = lab.scratch.subdirectory()?.join("file");
    fs::write(&file, vec![1; usize::try_from(requests * BLOCK)?])?;
    fs::File::open(&file)?.sync_all()?;
    let bytes = requests * BLOCK;
    Ok(format!("read --bytes {bytes} --block {BLOCK} --path {} --mode direct", file.display()))
}

#[test]
fn missing_requests_are_reported_as_lost() -> Result<()> {
    const READS: u64 = 20_000;
    let lab = Lab::open()?;
    let load = reading(&lab, READS)?;
    let place = Place::new()?;
    let mut stream = lab.tare.stream("200ms")?;
    let before = stream.fresh_with(&[place.id()])?;
    place.load(&load)?;
    let after = stream.fresh()?;
    let (old, new) = (before.reconciled("block")?, after.reconciled("block")?);
    let row = after.row(place.id())?;
    let missed = READS.saturating_sub(row.u64("/block/read_ops")?);
    let lost = new.lost - old.lost;
    println!("{missed} of {READS} reads are missing, {lost} requests are said to be lost");
    ensure!(new.expected - old.expected >= READS, "{old:?}, {new:?}");
    ensure!(lost >= missed, "{missed} reads are missing: {old:?}, {new:?}, {row:?}");
    ensure!(lost < READS / 20, "{old:?}, {new:?}");
    let (state, reason) = after.source("block")?;
    let reported = reason.is_some_and(|reason| reason.contains("were not seen"));
    let is_much = new.lost > (new.expected / 1000).max(10);
    ensure!(reported == is_much && reported == (state == "degraded"), "{state}: {reason:?}");
    Ok(())
}

#[test]
fn what_found_no_slot_is_not_lost() -> Result<()> {
    const READS: u64 = 1000;
    let lab = Lab::open()?;
    let load = reading(&lab, READS)?;
    let mut stream = lab.tare.option("--slots", "16").stream("200ms")?;
    let before = stream.fresh()?.reconciled("block")?;
    let places = (0..20).map(|_| Place::new()).collect::<Result<Vec<_>>>()?;
    for place in &places {
        place.load(&load)?;
    }
    let report = stream.fresh()?;
    let (_, reason) = report.source("block")?;
    ensure!(reason.is_some_and(|reason| reason.contains("15 slots")), "{reason:?}");
    let reconciled = report.reconciled("block")?;
    ensure!(reconciled.expected - before.expected >= 20 * READS, "{before:?}, {reconciled:?}");
    // At least five of them are in the overflow slot.
    ensure!(reconciled.lost < READS, "{reconciled:?}");
    ensure!(reconciled.expected.abs_diff(reconciled.counted) < READS, "{reconciled:?}");
    Ok(())
}
