//! Block I/O compared with known amounts.

use anyhow::{Result, ensure};
use tare_tests::{
    block::{Lost, ensure_devices_add_up, lost},
    docker::Run,
    lab::Lab,
};

const MIB: u64 = 1 << 20;

/// Between the requested amount and 5 % more, for the filesystem's own blocks. Missing requests
/// must be reported as lost.
fn ensure_about(what: &str, counted: u64, lost: Lost, asked: u64) -> Result<()> {
    let (most, all) = (asked + asked / 20, counted + lost.bytes);
    ensure!(counted < most && all >= asked, "{what}: {counted}, {lost:?}, asked for {asked}");
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
    let first = tare.fresh_with(&[writer.id()])?;
    let before = first.row(writer.id())?;
    gate.open()?;
    writer.outcome()?;
    let report = tare.fresh()?;
    report.require("block")?;
    let after = report.row(writer.id())?;

    ensure!(after.str("/block/source")? == "bpf", "{after:?}");
    let written = after.growth(&before, "/block/write_bytes")?;
    ensure_about("written", written, lost(&first, &report)?, 64 * MIB)?;
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
    let first = tare.fresh_with(&[reader.id()])?;
    let before = first.row(reader.id())?;
    gate.open()?;
    reader.outcome()?;
    let report = tare.fresh()?;
    let after = report.row(reader.id())?;

    let read = after.growth(&before, "/block/read_bytes")?;
    ensure_about("read", read, lost(&first, &report)?, 32 * MIB)?;
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
    let first = tare.fresh_with(&[writer.id()])?;
    let before = first.row(writer.id())?;
    gate.open()?;
    writer.outcome()?;
    let report = tare.fresh()?;
    let after = report.row(writer.id())?;

    // The writer submits its own pages; only the journal is written by the kernel.
    let written = after.growth(&before, "/block/write_bytes")?;
    let lost = lost(&first, &report)?;
    ensure!(written + lost.bytes >= 16 * MIB, "{written} bytes, {lost:?}: {after:?}");
    Ok(())
}
