//! Block I/O against known amounts.

use anyhow::{Result, ensure};
use tare_tests::block::ensure_devices_add_up;
use tare_tests::docker::Run;
use tare_tests::lab::Lab;

const MIB: u64 = 1 << 20;

/// What was asked for, or less than 5 % more: the filesystem's own blocks.
fn ensure_about(what: &str, counted: u64, asked: u64) -> Result<()> {
    let most = asked + asked / 20;
    ensure!((asked..most).contains(&counted), "{what}: {counted}, asked for {asked}");
    Ok(())
}

#[test]
fn direct_writes_are_counted_to_within_five_percent() -> Result<()> {
    let lab = Lab::open()?;
    let gate = lab.gate()?;
    let data = lab.scratch.subdirectory()?;
    let load = Run::load("write --bytes 64MiB --path /data/file --mode direct");
    let writer = lab.start(load.mount(&data, "/data").behind(&gate).linger())?;

    let mut tare = lab.tare.stream("200ms")?;
    let before = tare.fresh_with(&[writer.id()])?.row(writer.id())?;
    gate.open()?;
    writer.outcome()?;
    let report = tare.fresh()?;
    report.require("block")?;
    let after = report.row(writer.id())?;

    ensure!(after.str("/block/source")? == "bpf", "{after:?}");
    ensure_about("written", after.growth(&before, "/block/write_bytes")?, 64 * MIB)?;
    ensure!(after.growth(&before, "/block/write_ops")? >= 1, "no write requests: {after:?}");
    ensure!(after.growth(&before, "/block/read_bytes")? < MIB, "it read: {after:?}");
    ensure_devices_add_up(&after)
}

#[test]
fn direct_reads_are_counted_to_within_five_percent() -> Result<()> {
    let lab = Lab::open()?;
    let gate = lab.gate()?;
    let data = lab.scratch.subdirectory()?;
    let file = "--bytes 32MiB --path /data/file --mode direct";
    lab.start(Run::load(&format!("write {file}")).mount(&data, "/data"))?.outcome()?;
    let load = Run::load(&format!("read {file}"));
    let reader = lab.start(load.mount(&data, "/data").behind(&gate).linger())?;

    let mut tare = lab.tare.stream("200ms")?;
    let before = tare.fresh_with(&[reader.id()])?.row(reader.id())?;
    gate.open()?;
    reader.outcome()?;
    let after = tare.fresh()?.row(reader.id())?;

    ensure_about("read", after.growth(&before, "/block/read_bytes")?, 32 * MIB)?;
    ensure!(after.growth(&before, "/block/write_bytes")? < MIB, "it wrote: {after:?}");
    ensure_devices_add_up(&after)
}

#[test]
fn synchronous_writes_through_the_cache_are_counted() -> Result<()> {
    let lab = Lab::open()?;
    let gate = lab.gate()?;
    let data = lab.scratch.subdirectory()?;
    let load = Run::load("write --bytes 16MiB --path /data/file --mode sync");
    let writer = lab.start(load.mount(&data, "/data").behind(&gate).linger())?;

    let mut tare = lab.tare.stream("200ms")?;
    let before = tare.fresh_with(&[writer.id()])?.row(writer.id())?;
    gate.open()?;
    writer.outcome()?;
    let after = tare.fresh()?.row(writer.id())?;

    // The writer submits its own pages here; only the journal's blocks are the kernel's.
    let written = after.growth(&before, "/block/write_bytes")?;
    ensure!(written >= 16 * MIB, "{written} bytes written: {after:?}");
    Ok(())
}
