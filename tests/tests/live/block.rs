//! Exact block I/O: each kind of request is counted once, under the right kind and device.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use tare_tests::{
    block::{
        LoopDevice, Place, Zram, disk_of, ensure_devices_add_up, ensure_histograms_are_whole, host,
        lost, numbers_of,
    },
    lab::Lab,
    report::Row,
    tare::Tare,
};

const MIB: u64 = 1 << 20;

/// The row of a cgroup after a load in it. Waits for a first row, so that all is counted.
fn after(tare: &Tare, place: &Place, load: impl FnOnce() -> Result<()>) -> Result<Row> {
    let mut stream = tare.stream("200ms")?;
    stream.fresh_with(&[place.id()])?.require("block")?;
    load()?;
    stream.fresh()?.row(place.id())
}

fn device(row: &Row, numbers: &str, field: &str) -> Result<u64> {
    row.u64(&format!("/block/devices/{numbers}/{field}"))
}

#[test]
fn direct_io_is_counted_to_the_byte_and_the_request() -> Result<()> {
    let lab = Lab::open()?;
    let place = Place::new()?;
    let file = lab.scratch.path().join("file");
    let path = file.display();
    // The file exists: only its data are counted, no metadata blocks.
    fs::write(&file, vec![1; 8 << 20])?;
    fs::File::open(&file)?.sync_all()?;
    let mut stream = lab.tare.stream("200ms")?;
    let before = stream.fresh_with(&[place.id()])?;
    before.require("block")?;
    place.load(&format!("read --bytes 8MiB --block 64KiB --path {path} --mode direct"))?;
    let report = stream.fresh()?;
    let row = report.row(place.id())?;
    let lost = lost(&before, &report)?;
    let disk = disk_of(&file)?;
    let (bytes, ops) = (device(&row, &disk, "read_bytes")?, device(&row, &disk, "read_ops")?);
    // The program itself may be read from the disk.
    ensure!(bytes < 9 * MIB && bytes + lost.bytes >= 8 * MIB, "{bytes} bytes, {lost:?}: {row:?}");
    ensure!(ops + lost.requests >= 128, "{ops} reads of 64 KiB, {lost:?}: {row:?}");
    ensure!(row.u64("/block/sectors")? == (bytes + row.u64("/block/write_bytes")?) >> 9, "{row:?}");
    let in_flight = row.u64("/block/in_flight")?;
    ensure!(in_flight <= lost.requests && row.u64("/block/errors")? == 0, "{lost:?}: {row:?}");
    ensure!(row.f64("/block/read_service_seconds")? > 0.0, "{row:?}");
    ensure!(!row.str(&format!("/block/devices/{disk}/name"))?.is_empty(), "{row:?}");
    ensure_devices_add_up(&row)?;
    ensure_histograms_are_whole(&row)
}

#[test]
fn a_cache_flush_is_one_operation_without_bytes() -> Result<()> {
    let lab = Lab::open()?;
    let place = Place::new()?;
    let disk = LoopDevice::new(&lab.scratch, 8 << 20, false)?;
    let node = disk.node().display();
    // A device's own fsync: one flush, which is a write without data.
    let row = after(&lab.tare, &place, || {
        place
            .load(&format!("write --bytes 64KiB --block 64KiB --path {node} --mode direct --fsync"))
    })?;
    let numbers = disk.numbers()?;
    ensure!(device(&row, &numbers, "flush_ops")? == 1, "{row:?}");
    ensure!(device(&row, &numbers, "write_bytes")? == 64 << 10, "{row:?}");
    ensure!(device(&row, &numbers, "write_ops")? == 2, "{row:?}");
    ensure!(device(&row, &numbers, "untimed_ops")? == 1, "the flush has no driver: {row:?}");
    ensure!(device(&row, &numbers, "in_flight")? == 0, "{row:?}");
    Ok(())
}

#[test]
fn writes_that_the_kernel_flushes_by_itself_are_counted_once() -> Result<()> {
    let lab = Lab::open()?;
    let place = Place::new()?;
    let disk = LoopDevice::new(&lab.scratch, 8 << 20, false)?;
    let numbers = disk.numbers()?;
    // A loop device has a cache and no FUA: the kernel turns each write into a sequence of write
    // and flush, which complete separately. The call itself ends with another flush.
    let node = disk.node().display();
    let args = format!("if=/dev/zero of={node} bs=16k count=16 oflag=direct,dsync");
    let row = after(&lab.tare, &place, || {
        let done = place.run("/bin/dd".as_ref(), &args)?;
        ensure!(done.status.success(), "dd: {}", done.stderr);
        Ok(())
    })?;
    ensure!(device(&row, &numbers, "write_bytes")? == MIB / 4, "{row:?}");
    ensure!(device(&row, &numbers, "flush_ops")? == 16, "{row:?}");
    ensure!(device(&row, &numbers, "write_ops")? == 32, "{row:?}");
    ensure!(device(&row, &numbers, "in_flight")? == 0, "{row:?}");
    Ok(())
}

#[test]
fn what_goes_through_a_loop_device_is_counted_once_in_total() -> Result<()> {
    let lab = Lab::open()?;
    let place = Place::new()?;
    let disk = LoopDevice::new(&lab.scratch, 16 << 20, true)?;
    let node = disk.node().display();
    let row = after(&lab.tare, &place, || {
        place.load(&format!("read --bytes 16MiB --path {node} --mode direct"))
    })?;
    let (upper, lower) = (disk.numbers()?, disk_of(disk.file())?);
    ensure!(row.get(&format!("/block/devices/{upper}/stacked"))? == true, "{row:?}");
    ensure!(row.get(&format!("/block/devices/{lower}/stacked"))? == false, "{row:?}");
    ensure!(device(&row, &upper, "read_bytes")? == 16 * MIB, "{row:?}");
    ensure!(device(&row, &lower, "read_bytes")? >= 16 * MIB, "the disk below: {row:?}");
    ensure!(row.u64("/block/read_bytes")? < 17 * MIB, "counted twice: {row:?}");
    ensure_devices_add_up(&row)?;
    ensure_histograms_are_whole(&row)
}

#[test]
fn discards_are_neither_reads_nor_writes() -> Result<()> {
    let lab = Lab::open()?;
    let place = Place::new()?;
    let disk = LoopDevice::new(&lab.scratch, 8 << 20, false)?;
    let args = format!("--offset 1048576 --length 2097152 {}", disk.node().display());
    let row = after(&lab.tare, &place, || {
        let done = place.run("/usr/sbin/blkdiscard".as_ref(), &args)?;
        ensure!(done.status.success(), "blkdiscard: {}", done.stderr);
        Ok(())
    })?;
    let numbers = disk.numbers()?;
    ensure!(device(&row, &numbers, "discard_bytes")? == 2 * MIB, "{row:?}");
    ensure!(device(&row, &numbers, "discard_ops")? == 1, "{row:?}");
    ensure!(device(&row, &numbers, "write_bytes")? == 0, "{row:?}");
    Ok(())
}

#[test]
fn a_failed_read_is_an_error_and_no_read() -> Result<()> {
    let lab = Lab::open()?;
    let place = Place::new()?;
    let disk = LoopDevice::new(&lab.scratch, 8 << 20, false)?;
    // The device keeps its size, but its file has no data.
    fs::OpenOptions::new().write(true).open(disk.file())?.set_len(0)?;
    let args = format!("read --bytes 64KiB --path {} --mode direct", disk.node().display());
    let row = after(&lab.tare, &place, || {
        ensure!(place.load(&args).is_err(), "reading beyond the file's end succeeded");
        Ok(())
    })?;
    let numbers = disk.numbers()?;
    ensure!(device(&row, &numbers, "errors")? == 1, "{row:?}");
    ensure!(device(&row, &numbers, "read_ops")? == 0, "{row:?}");
    ensure!(device(&row, &numbers, "in_flight")? == 0, "{row:?}");
    Ok(())
}

#[test]
fn adjacent_writes_are_counted_as_merged() -> Result<()> {
    let lab = Lab::open()?;
    let place = Place::new()?;
    let disk = LoopDevice::new(&lab.scratch, 64 << 20, false)?;
    let node = disk.node().display();
    // Pages written through the cache and synced by the writer are merged.
    let row = after(&lab.tare, &place, || {
        let load = "write --bytes 32MiB --block 4KiB --mode buffered --fsync";
        place.load(&format!("{load} --path {node}"))
    })?;
    let numbers = disk.numbers()?;
    let (ops, merges) =
        (device(&row, &numbers, "write_ops")?, device(&row, &numbers, "write_merges")?);
    ensure!(device(&row, &numbers, "write_bytes")? == 32 * MIB, "{row:?}");
    ensure!(merges > 0, "{ops} writes of 32 MiB and no merge: {row:?}");
    Ok(())
}

#[test]
fn bios_of_a_device_without_requests_are_counted() -> Result<()> {
    let lab = Lab::open()?;
    let place = Place::new()?;
    let zram = Zram::new(16 << 20)?;
    let node = zram.node();
    let row = after(&lab.tare, &place, || {
        place.load(&format!(
            "write --bytes 4MiB --block 64KiB --path {} --mode direct",
            node.display()
        ))
    })?;
    let numbers = numbers_of(&node)?;
    ensure!(device(&row, &numbers, "write_bytes")? == 4 * MIB, "{row:?}");
    ensure!(device(&row, &numbers, "write_ops")? == 64, "{row:?}");
    ensure!(row.get(&format!("/block/devices/{numbers}/stacked"))? == false, "{row:?}");
    for unknown in ["in_flight", "write_service_seconds", "write_wait_seconds"] {
        let value = row.get(&format!("/block/devices/{numbers}/{unknown}"))?;
        ensure!(value.is_null(), "{unknown} of a bio is {value}");
    }
    ensure_devices_add_up(&row)
}

#[test]
fn a_request_that_the_driver_holds_is_in_flight() -> Result<()> {
    let lab = Lab::open()?;
    let place = Place::new()?;
    let disk = LoopDevice::new(&lab.scratch, 8 << 20, false)?;
    let mountpoint = lab.scratch.subdirectory()?;
    let (node, inner) = (disk.node().display().to_string(), mountpoint.join("disk"));
    host("mkfs.ext4", &["-q", "-F", &node])?;
    host("mount", &[&node, &mountpoint.display().to_string()])?;
    let held = hold_a_read(&lab, &place, &inner, &mountpoint.display().to_string());
    host("umount", &[&mountpoint.display().to_string()])?;
    held
}

/// A loop device on a file of a frozen filesystem cannot write: its request stays in flight.
fn hold_a_read(lab: &Lab, place: &Place, inner: &std::path::Path, mounted: &str) -> Result<()> {
    fs::write(inner, vec![0; 1 << 20])?;
    let mut losetup = std::process::Command::new("losetup");
    losetup.args(["--find", "--show"]).arg(inner);
    let upper = tare_tests::process::output(losetup, tare_tests::wait::PATIENCE)?;
    let numbers = numbers_of(upper.as_ref())?;
    let result = (|| {
        let mut stream = lab.tare.stream("200ms")?;
        stream.fresh_with(&[place.id()])?;
        host("fsfreeze", &["--freeze", mounted])?;
        let (during, written) = std::thread::scope(|scope| {
            let args = format!("write --bytes 4KiB --block 4KiB --path {upper} --mode direct");
            let writer = scope.spawn(move || place.load(&args));
            let during =
                tare_tests::wait::until("a request in flight", tare_tests::wait::PATIENCE, || {
                    let row = stream.report()?.row(place.id())?;
                    let held = device(&row, &numbers, "in_flight").unwrap_or(0);
                    Ok((held == 1).then_some(()))
                });
            let thawed = host("fsfreeze", &["--unfreeze", mounted]);
            let written = writer.join().map_err(|_| anyhow::anyhow!("the writer died"));
            (during.and(thawed), written)
        });
        during?;
        written??;
        let row = stream.fresh()?.row(place.id())?;
        ensure!(device(&row, &numbers, "in_flight")? == 0, "{row:?}");
        Ok(())
    })();
    host("losetup", &["--detach", &upper])?;
    result
}

#[test]
fn on_v1_buffered_writes_are_reported_as_charged_to_the_root() -> Result<()> {
    let lab = Lab::open()?;
    let place = Place::new()?;
    let path = lab.scratch.path().join("file");
    let load = format!("write --bytes 16MiB --path {} --mode buffered", path.display());
    let row = after(&lab.tare, &place, || {
        place.load(&load)?;
        host("sync", &[])
    })?;
    let layout = lab.tare.report()?.value()["host"]["cgroup_layout"].clone();
    let written = row.u64("/block/write_bytes")?;
    if layout == "v2" {
        ensure!(written >= 16 * MIB, "writeback is the writer's on v2: {row:?}");
    } else {
        ensure!(written < MIB, "who wrote it back? {row:?}");
        ensure!(row.str("/block/reason")?.contains("page cache"), "{row:?}");
    }
    Ok(())
}

#[test]
fn without_a_free_slot_numbers_are_unknown_and_others_stay_right() -> Result<()> {
    let lab = Lab::open()?;
    let file = lab.scratch.path().join("file");
    let path = file.display();
    fs::write(&file, vec![1; 1 << 20])?;
    fs::File::open(&file)?.sync_all()?;
    let read = format!("read --bytes 1MiB --path {path} --mode direct");
    let first = Place::new()?;
    let tare = lab.tare.clone().option("--slots", "16");
    let mut stream = tare.stream("200ms")?;
    stream.fresh_with(&[first.id()])?.require("block")?;
    first.load(&read)?;
    let places = (0..20).map(|_| Place::new()).collect::<Result<Vec<_>>>()?;
    for place in &places {
        place.load(&read)?;
    }
    let last = places.last().context("there are places")?;
    let report = stream.fresh_with(&[last.id()])?;
    let row = report.row(first.id())?;
    ensure!((MIB..2 * MIB).contains(&row.u64("/block/read_bytes")?), "{row:?}");
    let row = report.row(last.id())?;
    ensure!(row.get("/block/read_bytes")?.is_null(), "an unknown number is published: {row:?}");
    ensure!(row.str("/block/reason")?.contains("slot"), "{row:?}");
    let (state, reason) = report.source("block")?;
    let reason = reason.context("a degraded source has a reason")?;
    ensure!(state == "degraded" && reason.contains("15 slots"), "{state}: {reason}");
    let overflow = reason.split_once('(').and_then(|(_, rest)| rest.split(' ').next());
    let overflow: u64 = overflow.context("how much")?.parse().context("bytes in the overflow")?;
    ensure!(overflow >= MIB && overflow.is_multiple_of(512), "{reason}");
    // With more slots than cgroups all numbers are known again.
    lab.tare.report()?.require("block").context("a new run has all slots")
}

#[test]
fn sockets_without_a_free_slot_are_unknown() -> Result<()> {
    let lab = Lab::open()?;
    let tare = lab.tare.option("--slots", "16");
    let first = Place::new()?;
    let mut stream = tare.stream("200ms")?;
    stream.fresh_with(&[first.id()])?.require("network_sockets")?;
    first.load("pair --tcp 127.0.0.1:7700 --bytes 1MiB")?;
    let places = (0..20).map(|_| Place::new()).collect::<Result<Vec<_>>>()?;
    for (port, place) in (7701..).zip(&places) {
        place.load(&format!("pair --tcp 127.0.0.1:{port} --bytes 1MiB"))?;
    }
    let last = places.last().context("there are places")?;
    let report = stream.fresh_with(&[last.id()])?;
    let row = report.row(first.id())?;
    ensure!(row.u64("/network/sockets/tx_bytes")? == MIB, "{row:?}");
    let row = report.row(last.id())?;
    ensure!(row.get("/network/sockets")?.is_null(), "an unknown number is published: {row:?}");
    let (state, reason) = report.source("network_sockets")?;
    ensure!(state == "degraded" && reason.is_some_and(|r| r.contains("overflow")), "{reason:?}");
    Ok(())
}

/// Programs look a key up by its low bits first: with 64 slots the lowest 7, which are equal for
/// these cgroups. None may get counts of another one, or of a former one.
#[test]
fn cgroups_whose_ids_share_their_low_bits_are_counted_separately() -> Result<()> {
    const HINTS: u64 = 128;
    let lab = Lab::open()?;
    let first = Place::new()?;
    let low_bits = first.unified_id()? % HINTS;
    let another = || {
        // Ids are consecutive, but other processes make cgroups as well.
        for _ in 0..100 * HINTS {
            let place = Place::new()?;
            if place.unified_id()? % HINTS == low_bits {
                return Ok(place);
            }
        }
        bail!("no cgroup got an id with these low bits")
    };
    let second = another()?;
    let mut stream = lab.tare.option("--slots", "64").stream("200ms")?;
    stream.fresh_with(&[first.id(), second.id()])?.require("network_sockets")?;
    let load = |place: &Place, bytes: u64| {
        place.load(&format!("pair --tcp 127.0.0.1:7850 --bytes {bytes}"))
    };
    for _ in 0..2 {
        load(&first, MIB)?;
        load(&second, 2 * MIB)?;
    }
    let report = stream.fresh()?;
    let sent = |id| report.row(id)?.u64("/network/sockets/tx_bytes");
    let counted = (sent(first.id())?, sent(second.id())?);
    ensure!(counted == (2 * MIB, 4 * MIB), "{counted:?}");
    drop(first);
    let third = another()?;
    stream.fresh_with(&[third.id()])?;
    load(&third, MIB)?;
    load(&second, MIB)?;
    let report = stream.fresh()?;
    let sent = |id| report.row(id)?.u64("/network/sockets/tx_bytes");
    let counted = (sent(third.id())?, sent(second.id())?);
    ensure!(counted == (MIB, 5 * MIB), "{counted:?}");
    Ok(())
}
