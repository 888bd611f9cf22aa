//! Which cgroup the kernel charges with block I/O, and since when Tare counts it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use tare_tests::{
    block::{
        Place, disk_of, ensure_agrees_with_io_stat, ensure_devices_add_up,
        ensure_histograms_are_whole,
    },
    scratch::Cgroup,
};

use crate::machine::{CGROUPS, Machine};

const MIB: u64 = 1 << 20;

#[test]
fn operations_and_merges_together_are_those_of_io_stat() -> Result<()> {
    let machine = Machine::take()?;
    let place = Place::new()?;
    let path = machine.scratch.path().join("file");
    let mut tare = machine.stream()?;
    let before = (tare.fresh_with(&[place.id()])?.row(place.id())?, place.io_stat()?);
    for load in [
        "write --bytes 4MiB --block 64KiB --mode direct",
        "write --bytes 8MiB --block 4KiB --mode buffered --fsync",
        "write --bytes 256KiB --block 16KiB --mode sync",
        "read --bytes 256KiB --block 4KiB --mode direct",
    ] {
        place.load(&format!("{load} --path {}", path.display()))?;
    }
    let after = (tare.fresh()?.row(place.id())?, place.io_stat()?);
    ensure_agrees_with_io_stat(&disk_of(&path)?, (&before.0, &after.0), (&before.1, &after.1))?;
    ensure!(after.0.u64("/block/in_flight")? == 0, "{:?}", after.0);
    ensure_devices_add_up(&after.0)?;
    ensure_histograms_are_whole(&after.0)
}

#[test]
fn what_was_done_before_tare_started_is_in_the_totals() -> Result<()> {
    let machine = Machine::take()?;
    let place = Place::new()?;
    let path = machine.scratch.path().join("file");
    let load = format!("write --bytes 2MiB --path {} --mode direct", path.display());
    place.load(&load)?;
    let mut tare = machine.stream()?;
    let disk = disk_of(&path)?;
    for expected in [2 * MIB, 4 * MIB] {
        let row = tare.fresh_with(&[place.id()])?.row(place.id())?;
        let reported = place.io_stat()?.get(&disk).context("the disk in io.stat")?.wbytes;
        let counted = row.u64("/block/write_bytes")?;
        ensure!(
            counted == reported && reported >= expected,
            "{counted}, io.stat has {reported}: {row:?}"
        );
        ensure!(row.get("/block/since")?.is_null(), "counted from the start: {row:?}");
        ensure!(!row.get("/block/details_since")?.is_null(), "times are younger: {row:?}");
        place.load(&load)?;
    }
    Ok(())
}

#[test]
fn a_cgroup_whose_io_is_charged_to_its_parent_has_no_numbers() -> Result<()> {
    let machine = Machine::take()?;
    // Its `cgroup.subtree_control` is empty.
    let parent = Cgroup::below(Path::new(CGROUPS))?;
    let place = Place::below(parent.path())?;
    let path = machine.scratch.path().join("file");
    let load = format!("write --bytes 1MiB --path {} --mode direct", path.display());
    let mut tare = machine.stream()?;
    tare.fresh_with(&[place.id()])?;
    place.load(&load)?;
    let report = tare.fresh()?;
    let row = report.row(place.id())?;
    for field in ["source", "write_bytes", "write_ops", "read_bytes", "latency"] {
        ensure!(row.get(&format!("/block/{field}"))?.is_null(), "{field} is published: {row:?}");
    }
    let name = parent.path().file_name().context("a cgroup has a name")?;
    let name = name.to_str().context("its name is UTF-8")?;
    ensure!(row.str("/block/reason")?.contains(name), "who pays? {row:?}");
    let (state, reason) = report.source("block")?;
    ensure!(
        state == "degraded" && reason.is_some_and(|r| r.contains("io controller")),
        "{reason:?}"
    );

    fs::write(parent.path().join("cgroup.subtree_control"), "+io").context("enable io")?;
    tare.fresh()?;
    place.load(&load)?;
    let report = tare.fresh()?;
    let row = report.row(place.id())?;
    ensure!(
        row.u64("/block/write_bytes")? >= MIB && row.get("/block/reason")?.is_null(),
        "{row:?}"
    );
    report.require("block")
}
