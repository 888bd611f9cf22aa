//! Tools for tests of block I/O: a cgroup, devices, and checks that hold on every host.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    binaries,
    process::{self, Finished, output},
    report::{Report, Row},
    scratch::{Cgroup, Scratch, unique_name},
    wait::PATIENCE,
};

/// A cgroup without a container, named like a Docker container's, so that `tare` lists it.
#[derive(Debug)]
pub struct Place {
    id: String,
    cgroups: Vec<Cgroup>,
}

impl Place {
    /// Makes it in every hierarchy that counts block I/O or that `tare` walks.
    pub fn new() -> Result<Self> {
        let roots = hierarchies()?;
        ensure!(!roots.is_empty(), "no cgroup hierarchy is mounted");
        Self::in_all(&roots)
    }

    /// Makes it in another cgroup.
    pub fn below(parent: &Path) -> Result<Self> {
        Self::in_all(&[parent.to_owned()])
    }

    fn in_all(parents: &[PathBuf]) -> Result<Self> {
        // Unique like every name of the tests, in the form of Docker's ids.
        let name = unique_name();
        let digits = name.bytes().fold(String::new(), |all, byte| format!("{all}{byte:02x}"));
        let id: String = digits.chars().rev().chain("0".repeat(64).chars()).take(64).collect();
        let mut cgroups = Vec::new();
        for parent in parents {
            cgroups.push(Cgroup::named(&parent.join(format!("docker-{id}.scope")))?);
        }
        Ok(Self { id, cgroups })
    }

    /// The id that its row in a report has.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The id of its cgroup in cgroup2: the inode of the directory.
    pub fn unified_id(&self) -> Result<u64> {
        let mut paths = self.cgroups.iter().map(Cgroup::path);
        // Files of this name are in cgroup2 only.
        let path = paths.find(|path| path.join("cgroup.events").exists());
        let path = path.context("no cgroup2 is mounted")?;
        Ok(fs::metadata(path).with_context(|| path.display().to_string())?.ino())
    }

    /// Runs a program in it, to its end.
    pub fn run(&self, program: &Path, args: &str) -> Result<Finished> {
        let enter = "while [ \"$1\" != -- ]; do echo $$ > \"$1/cgroup.procs\" || exit 9; shift; done; \
                     shift; exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", enter, "sh"]);
        command.args(self.cgroups.iter().map(Cgroup::path)).arg("--");
        command.arg(program).args(args.split_whitespace());
        process::run(command, PATIENCE)
    }

    /// Runs a known load in it.
    pub fn load(&self, args: &str) -> Result<()> {
        let done = self.run(&binaries::load()?, args)?;
        ensure!(done.status.success(), "tare-load {args}: {}", done.stderr.trim());
        Ok(())
    }

    /// Its `io.stat`, which only v2 with the io controller has.
    pub fn io_stat(&self) -> Result<BTreeMap<String, IoStat>> {
        let files = self.cgroups.iter().map(|cgroup| cgroup.path().join("io.stat"));
        let file = files.into_iter().find(|file| file.exists()).context("there is no io.stat")?;
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Ok(text.lines().filter_map(parse_io_stat).collect())
    }
}

/// Roots of cgroup2 and of the v1 hierarchy with `blkio`, as far as they are mounted.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    let mut roots: Vec<PathBuf> =
        mounts.lines().filter_map(cgroup_root).map(PathBuf::from).collect();
    roots.sort();
    roots.dedup();
    Ok(roots)
}

/// The place of a mount of cgroup2, or of v1 with `blkio`.
fn cgroup_root(mount: &str) -> Option<&str> {
    let (place, kind) = mount.split_once(" - ")?;
    let blkio = kind.starts_with("cgroup ") && kind.split([' ', ',']).any(|o| o == "blkio");
    if blkio || kind.starts_with("cgroup2 ") { place.split(' ').nth(4) } else { None }
}

/// One device's line of an `io.stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct IoStat {
    pub rbytes: u64,
    pub wbytes: u64,
    pub rios: u64,
    pub wios: u64,
    pub dbytes: u64,
}

fn parse_io_stat(line: &str) -> Option<(String, IoStat)> {
    let (device, rest) = line.split_once(' ')?;
    let value = |name: &str| {
        let pair = rest.split(' ').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        pair.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    let stat = IoStat {
        rbytes: value("rbytes"),
        wbytes: value("wbytes"),
        rios: value("rios"),
        wios: value("wios"),
        dbytes: value("dbytes"),
    };
    Some((device.to_owned(), stat))
}

/// Checks that a device's growth between two rows equals that of `io.stat`, to the byte and the
/// operation. `io.stat` counts submitted bios, `tare` completed requests: a merged bio is an
/// operation there, and a merge and no operation here. Nothing may be in flight at either end.
pub fn ensure_agrees_with_io_stat(
    device: &str,
    rows: (&Row, &Row),
    stats: (&BTreeMap<String, IoStat>, &BTreeMap<String, IoStat>),
) -> Result<()> {
    let grown = |field: &str| {
        let pointer = format!("/block/devices/{device}/{field}");
        let before = rows.0.u64(&pointer).unwrap_or(0);
        rows.1.u64(&pointer).map(|after| after - before)
    };
    let before = stats.0.get(device).copied().unwrap_or_default();
    let after = stats.1.get(device).with_context(|| format!("{device} is not in io.stat"))?;
    for (what, counted, reported) in [
        ("bytes read", grown("read_bytes")?, after.rbytes - before.rbytes),
        ("bytes written", grown("write_bytes")?, after.wbytes - before.wbytes),
        ("bytes discarded", grown("discard_bytes")?, after.dbytes - before.dbytes),
        ("reads", grown("read_ops")? + grown("read_merges")?, after.rios - before.rios),
        ("writes", grown("write_ops")? + grown("write_merges")?, after.wios - before.wios),
    ] {
        ensure!(
            counted == reported,
            "{what} on {device}: {counted}, io.stat has {reported}: {rows:?}"
        );
    }
    Ok(())
}

/// The totals are the sums over the devices that are not stacked.
pub fn ensure_devices_add_up(row: &Row) -> Result<()> {
    let devices = row.get("/block/devices")?.as_object().context("devices")?;
    ensure!(!devices.is_empty(), "no devices in {row:?}");
    for field in ["read_bytes", "write_bytes", "read_ops", "write_ops", "sectors", "errors"] {
        let leaves = devices.values().filter(|device| device["stacked"] == false);
        let sum: u64 = leaves.filter_map(|device| device[field].as_u64()).sum();
        let total = row.u64(&format!("/block/{field}"))?;
        ensure!(total == sum, "{field}: {total} in total, {sum} over the devices: {row:?}");
    }
    Ok(())
}

/// Checks that every operation is in one bucket, and that the times add up. Only for a row that was
/// counted from its start, on devices whose requests the kernel stamps.
pub fn ensure_histograms_are_whole(row: &Row) -> Result<()> {
    let bounds = row.get("/block/latency/le_seconds")?.as_array().context("le_seconds")?.len();
    for kind in ["read", "write"] {
        let histogram = row.get(&format!("/block/latency/{kind}"))?;
        let buckets = histogram["buckets"].as_array().context("buckets")?;
        ensure!(buckets.len() == bounds + 1, "{bounds} bounds, {} buckets", buckets.len());
        let sum: u64 = buckets.iter().filter_map(Value::as_u64).sum();
        let ops = row.u64(&format!("/block/{kind}_ops"))?;
        ensure!(sum == ops && histogram["count"] == ops, "{ops} {kind}s: {histogram}");
        let all = histogram["sum_seconds"].as_f64().context("sum_seconds")?;
        let parts = row.f64(&format!("/block/{kind}_service_seconds"))?
            + row.f64(&format!("/block/{kind}_wait_seconds"))?;
        // Operations that never reached the driver are only in the sum.
        ensure!(all > parts - 1e-6, "{kind}: {all} s in all, {parts} s of service and wait");
        let untimed = row.u64("/block/untimed_ops")?;
        ensure!(untimed > 0 || (all - parts).abs() < 1e-6, "{kind}: {all} s, parts {parts} s");
    }
    Ok(())
}

/// Requests for which this machine's kernel ran no program, as Tare reports.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Lost {
    pub requests: u64,
    pub bytes: u64,
}

/// What was lost from one report to another.
pub fn lost(before: &Report, after: &Report) -> Result<Lost> {
    let (old, new) = (before.reconciled("block")?, after.reconciled("block")?);
    let bytes = new.lost_bytes.unwrap_or(0).saturating_sub(old.lost_bytes.unwrap_or(0));
    Ok(Lost { requests: new.lost - old.lost, bytes })
}

/// A loop device on a new file; detached on drop.
#[derive(Debug)]
pub struct LoopDevice {
    node: PathBuf,
    file: PathBuf,
}

impl LoopDevice {
    /// Makes one of this size, whose file is read and written past the page cache or through it.
    pub fn new(scratch: &Scratch, bytes: usize, direct: bool) -> Result<Self> {
        let file = scratch.subdirectory()?.join("disk");
        fs::write(&file, vec![0x5a; bytes]).with_context(|| file.display().to_string())?;
        fs::File::open(&file).and_then(|file| file.sync_all()).context("write out the disk")?;
        let mut losetup = Command::new("losetup");
        losetup.arg(if direct { "--direct-io=on" } else { "--direct-io=off" });
        losetup.args(["--find", "--show"]).arg(&file);
        let node = output(losetup, PATIENCE).context("losetup")?;
        Ok(Self { node: node.into(), file })
    }

    /// Its node in `/dev`.
    #[must_use]
    pub fn node(&self) -> &Path {
        &self.node
    }

    /// The file that holds its data.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// `major:minor`.
    pub fn numbers(&self) -> Result<String> {
        numbers_of(&self.node)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let mut losetup = Command::new("losetup");
        losetup.arg("--detach").arg(&self.node);
        if let Err(error) = output(losetup, PATIENCE) {
            eprintln!("could not detach {}: {error:#}", self.node.display());
        }
    }
}

/// `major:minor` of a device node.
pub fn numbers_of(node: &Path) -> Result<String> {
    let name = node.file_name().context("a device node has a name")?;
    let file = Path::new("/sys/class/block").join(name).join("dev");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Ok(text.trim().to_owned())
}

/// `major:minor` of the whole disk that a path is on.
pub fn disk_of(path: &Path) -> Result<String> {
    use std::os::unix::fs::MetadataExt as _;
    let device = fs::metadata(path).with_context(|| path.display().to_string())?.dev();
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let place = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let place = fs::canonicalize(&place)
        .with_context(|| format!("{} is on no block device", path.display()))?;
    let disk = if place.join("partition").exists() { place.parent() } else { Some(&*place) };
    let file = disk.context("a partition is on a disk")?.join("dev");
    Ok(fs::read_to_string(&file).with_context(|| file.display().to_string())?.trim().to_owned())
}

/// A new zram device; removed on drop.
#[derive(Debug)]
pub struct Zram(u32);

impl Zram {
    /// Makes one of this many bytes.
    pub fn new(bytes: u64) -> Result<Self> {
        let add = "/sys/class/zram-control/hot_add";
        let number = fs::read_to_string(add).context("zram is needed: modprobe zram")?;
        let zram = Self(number.trim().parse().with_context(|| format!("{add}: {number}"))?);
        let size = format!("/sys/block/zram{}/disksize", zram.0);
        fs::write(&size, bytes.to_string()).with_context(|| size.clone())?;
        Ok(zram)
    }

    /// Its node in `/dev`.
    #[must_use]
    pub fn node(&self) -> PathBuf {
        format!("/dev/zram{}", self.0).into()
    }
}

impl Drop for Zram {
    fn drop(&mut self) {
        let reset = fs::write(format!("/sys/block/zram{}/reset", self.0), "1");
        let removed = reset
            .and_then(|()| fs::write("/sys/class/zram-control/hot_remove", self.0.to_string()));
        if let Err(error) = removed {
            eprintln!("could not remove zram{}: {error}", self.0);
        }
    }
}

/// Runs a program of the host that must succeed.
pub fn host(program: &str, args: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(args);
    if let Err(error) = output(command, PATIENCE) {
        bail!("{program} {args:?}: {error:#}");
    }
    Ok(())
}
