//! The size of a container's root where a project quota limits it.

use std::{
    ffi::CString,
    fs::{self, File},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use nix::{errno::Errno, libc};
use tare_tests::{
    process::{self, Process},
    wait::PATIENCE,
};

use crate::machine::{Container, Driver, Machine, rows};

/// An ext4 with project quotas, of the archive that the machine has booted from.
const IMAGE: &str = "/quota.img";

const PROJECT: u32 = 77;
const LIMIT_BYTES: u64 = 2 << 20;
const LIMIT_INODES: u64 = 50;
const WRITTEN_BYTES: u64 = 64 << 10;

#[test]
fn a_project_quota_is_the_size_of_the_root() -> Result<()> {
    let machine = Machine::take()?;
    let place = Container::new(Driver::Cgroupfs)?;
    let disk = Mount::new(&machine, &["-t", "ext4", "-o", "prjquota", IMAGE])?;
    let layer = disk.0.join("layer");
    fs::create_dir(&layer)?;
    join_project(&layer)?;
    limit_project(&device_of(&disk.0)?)?;
    let [upper, work] = ["upper", "work"].map(|name| layer.join(name));
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    fs::write(upper.join("file"), vec![1; usize::try_from(WRITTEN_BYTES)?])?;
    nix::unistd::sync();
    let layers = format!("lowerdir=/bin,upperdir={},workdir={}", upper.display(), work.display());
    let root = Mount::new(&machine, &["-t", "overlay", "-o", &layers, "overlay"])?;

    let procs = place.file("cgroup.procs");
    let (procs, inside) = (procs.display(), root.0.display());
    let script = format!("echo $$ >{procs} && exec chroot {inside} /tare-load serve --linger");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script]);
    let mut load = Process::spawn(command)?;
    ensure!(load.next_line(PATIENCE)? == "ready", "the load is not ready");
    let mut tare = machine.stream()?;
    let [row] = rows(&mut tare, [&place])?;
    let number = |name: &str| row.u64(&format!("/root_filesystem/{name}"));
    ensure!(row.str("/root_filesystem/type")? == "ext4", "{row:?}");
    ensure!(number("size_bytes")? == LIMIT_BYTES, "{row:?}");
    ensure!(number("inodes")? == LIMIT_INODES, "{row:?}");
    let used = LIMIT_BYTES - number("free_bytes")?;
    // Directories have blocks, too.
    ensure!((WRITTEN_BYTES..2 * WRITTEN_BYTES).contains(&used), "{row:?}");
    Ok(())
}

/// A mounted file system; unmounted on drop.
struct Mount(PathBuf);

impl Mount {
    fn new(machine: &Machine, args: &[&str]) -> Result<Self> {
        let directory = machine.scratch.subdirectory()?;
        let mut mount = Command::new("mount");
        mount.args(args).arg(&directory);
        process::output(mount, PATIENCE)?;
        Ok(Self(directory))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A process may still be about to leave it.
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        if !done.as_ref().is_ok_and(std::process::ExitStatus::success) {
            eprintln!("cannot unmount {}: {done:?}", self.0.display());
        }
    }
}

/// The device of the file system that is mounted here.
fn device_of(directory: &Path) -> Result<String> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let place = directory.to_str().context("not UTF-8")?;
    let mut rows = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let row = rows.find(|row| row.get(1) == Some(&place)).context("it is not mounted")?;
    Ok(row[0].to_owned())
}

/// `struct fsxattr` (`include/uapi/linux/fs.h`).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent: u32,
    extents: u32,
    project: u32,
    cow_extent: u32,
    padding: [u8; 8],
}

/// Has the directory, and all that is made in it, count as the project's.
fn join_project(directory: &Path) -> Result<()> {
    const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;
    const FS_XFLAG_PROJINHERIT: u32 = 0x200;
    let directory = File::open(directory)?;
    let attributes =
        Attributes { flags: FS_XFLAG_PROJINHERIT, project: PROJECT, ..Attributes::default() };
    // SAFETY: the request reads a structure of this form.
    let done = unsafe {
        libc::ioctl(directory.as_raw_fd(), FS_IOC_FSSETXATTR as _, &raw const attributes)
    };
    Errno::result(done).context("set the project").map(drop)
}

fn limit_project(device: &str) -> Result<()> {
    const PROJECTS: libc::c_int = 2;
    const QIF_LIMITS: u32 = 1 | 4;
    const BLOCK_BYTES: u64 = 1024;
    // SAFETY: all fields are numbers.
    let mut limits: libc::dqblk = unsafe { std::mem::zeroed() };
    limits.dqb_bhardlimit = LIMIT_BYTES / BLOCK_BYTES;
    limits.dqb_ihardlimit = LIMIT_INODES;
    limits.dqb_valid = QIF_LIMITS;
    let device = CString::new(device)?;
    let command = libc::QCMD(libc::Q_SETQUOTA, PROJECTS);
    // SAFETY: the command reads a structure of this form.
    let done = unsafe {
        libc::quotactl(command, device.as_ptr(), PROJECT.cast_signed(), (&raw mut limits).cast())
    };
    Errno::result(done).context("limit the project").map(drop)
}
