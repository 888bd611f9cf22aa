//! Block I/O compared with `io.stat` of the same cgroup.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use tare_tests::{process, report::Row, tare::Stream, wait::PATIENCE};

use crate::machine::{Container, Driver, Machine, rows};

/// What a cgroup did on one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    read_bytes: u64,
    write_bytes: u64,
    read_ops: u64,
    write_ops: u64,
}

/// `major:minor` of a block device.
fn number(device: &str) -> Result<String> {
    let file = format!("/sys/block/{device}/dev");
    Ok(fs::read_to_string(&file).context(file)?.trim().to_owned())
}

/// A device's line in a cgroup's `io.stat`; no line is no I/O.
fn io_stat(place: &Container, device: &str) -> Result<Totals> {
    let number = number(device)?;
    let text = place.read("io.stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix(&number)?.strip_prefix(' '));
    let mut totals = Totals::default();
    for (key, value) in line.unwrap_or_default().split(' ').filter_map(|pair| pair.split_once('='))
    {
        let value = value.parse().with_context(|| text.clone())?;
        match key {
            "rbytes" => totals.read_bytes = value,
            "wbytes" => totals.write_bytes = value,
            "rios" => totals.read_ops = value,
            "wios" => totals.write_ops = value,
            _ => {}
        }
    }
    Ok(totals)
}

/// What Tare reports for the same.
fn counted(row: &Row, device: &str) -> Result<Totals> {
    let number = number(device)?;
    if row.get("/block/devices")?.get(&number).is_none() {
        return Ok(Totals::default());
    }
    let at = |field: &str| row.u64(&format!("/block/devices/{number}/{field}"));
    Ok(Totals {
        read_bytes: at("read_bytes")?,
        write_bytes: at("write_bytes")?,
        read_ops: at("read_ops")?,
        write_ops: at("write_ops")?,
    })
}

/// Requests that the kernel merged into others before they reached the device (`Documentation/
/// block/stat.rst`).
fn merges(device: &str) -> Result<u64> {
    let file = format!("/sys/block/{device}/stat");
    let text = fs::read_to_string(&file).with_context(|| file.clone())?;
    let numbers: Result<Vec<u64>, _> = text.split_whitespace().map(str::parse).collect();
    let numbers = numbers.with_context(|| text.clone())?;
    match numbers.get(..6) {
        Some([_, reads, _, _, _, writes]) => Ok(reads + writes),
        _ => bail!("{file}: {text}"),
    }
}

/// Runs a load in a new container, then `after`, and compares Tare's counters of a device with
/// `io.stat`.
///
/// Bytes are equal. `io.stat` counts what was submitted and Tare what the device completed:
/// operations differ by those that were merged on the way. A flush is a write without bytes in
/// both.
fn ensure_equal(
    machine: &Machine,
    tare: &mut Stream,
    device: &str,
    load: &str,
    after: impl FnOnce(),
) -> Result<Totals> {
    let place = Container::new(Driver::Cgroupfs)?;
    let gate = machine.gate()?;
    let merged = merges(device)?;
    let mut running = machine.start(&place, load, Some(&gate))?;
    let [row] = rows(tare, [&place])?;
    ensure!(counted(&row, device)? == Totals::default(), "{row:?}");
    gate.open()?;
    running.outcome()?;
    after();
    let [row] = rows(tare, [&place])?;
    let (tare, kernel) = (counted(&row, device)?, io_stat(&place, device)?);
    let merged = merges(device)? - merged;
    let what = format!("{load}: {tare:?}, io.stat: {kernel:?}, {merged} merged");
    let bytes = |totals: Totals| (totals.read_bytes, totals.write_bytes);
    ensure!(bytes(tare) == bytes(kernel), "{what}");
    for (ours, theirs) in [(tare.read_ops, kernel.read_ops), (tare.write_ops, kernel.write_ops)] {
        ensure!(ours <= theirs && theirs - ours <= merged, "{what}");
        ensure!((ours == 0) == (theirs == 0), "{what}");
    }
    Ok(tare)
}

const MIB: u64 = 1 << 20;

#[test]
fn writes_and_reads_of_files_agree_with_io_stat() -> Result<()> {
    let machine = Machine::take()?;
    let mut tare = machine.stream()?;
    for (bytes, how) in [
        (8 * MIB, "--mode direct"),
        (4 * MIB, "--mode direct --block 16KiB"),
        (8 * MIB, "--mode buffered --fsync"),
        (MIB, "--mode sync --block 64KiB"),
    ] {
        // The kernel charges writes to the first cgroup that dirtied a file, so each load has its
        // own.
        let path = machine.scratch.subdirectory()?.join("file");
        let load = format!("write --path {} --bytes {bytes} {how}", path.display());
        let totals = ensure_equal(&machine, &mut tare, "vda", &load, || {})?;
        ensure!(totals.write_bytes == bytes, "{load}: {totals:?}");
        let load = format!("read --path {} --bytes 1MiB --block 64KiB", path.display());
        let totals = ensure_equal(&machine, &mut tare, "vda", &load, || {})?;
        ensure!(totals.read_bytes == MIB, "{load}: {totals:?}");
    }
    Ok(())
}

#[test]
fn writes_that_the_kernel_does_later_are_charged_to_the_writer() -> Result<()> {
    let machine = Machine::take()?;
    let mut tare = machine.stream()?;
    let path = machine.scratch.path().join("file");
    let load = format!("write --path {} --bytes 8MiB --mode buffered", path.display());
    // A kernel thread writes it, and another process waits for that.
    let totals = ensure_equal(&machine, &mut tare, "vda", &load, nix::unistd::sync)?;
    ensure!(totals.write_bytes == 8 * MIB, "{totals:?}");
    Ok(())
}

#[test]
fn raw_devices_agree_with_io_stat() -> Result<()> {
    let machine = Machine::take()?;
    let mut tare = machine.stream()?;
    for how in ["--mode direct", "--mode direct --block 4KiB", "--mode buffered --fsync"] {
        let load = format!("write --path /dev/nullb0 --bytes 4MiB {how}");
        let totals = ensure_equal(&machine, &mut tare, "nullb0", &load, || {})?;
        ensure!(totals.write_bytes == 4 * MIB, "{load}: {totals:?}");
    }
    let load = "read --path /dev/nullb0 --bytes 4MiB --mode direct";
    let totals = ensure_equal(&machine, &mut tare, "nullb0", load, || {})?;
    ensure!(totals.read_bytes == 4 * MIB, "{load}: {totals:?}");
    Ok(())
}

/// A loop device on a file; detached on drop.
struct Loop;

impl Loop {
    const DEVICE: &str = "loop0";

    fn over(file: &Path) -> Result<Self> {
        sh(&format!("losetup /dev/{} {}", Self::DEVICE, file.display()))?;
        Ok(Self)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Err(error) = sh(&format!("losetup -d /dev/{}", Self::DEVICE)) {
            eprintln!("{error:#}");
        }
    }
}

fn sh(script: &str) -> Result<()> {
    let mut command = Command::new("/bin/sh");
    command.args(["-ec", script]);
    process::output(command, PATIENCE).map(drop)
}

#[test]
fn loop_devices_agree_with_io_stat() -> Result<()> {
    let machine = Machine::take()?;
    let mut tare = machine.stream()?;
    let file = machine.scratch.path().join("disk");
    fs::write(&file, vec![0; 8 << 20])?;
    nix::unistd::sync();
    let _loop = Loop::over(&file)?;
    for how in ["--mode direct --fsync", "--mode buffered --fsync"] {
        let load = format!("write --path /dev/{} --bytes 4MiB {how}", Loop::DEVICE);
        let totals = ensure_equal(&machine, &mut tare, Loop::DEVICE, &load, || {})?;
        ensure!(totals.write_bytes == 4 * MIB, "{load}: {totals:?}");
    }
    Ok(())
}
