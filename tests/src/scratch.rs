//! Resources of a test, removed at its end: a directory on a disk, a cgroup.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, bail};
use nix::sys::statfs::{FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use tempfile::TempDir;

/// `RAMFS_MAGIC` of `linux/magic.h`.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// A name that is unique among concurrent tests and test runs.
#[must_use]
pub fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("tare-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A new directory on a disk-backed filesystem, readable by everyone, removed on drop.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// Makes it below `TARE_TEST_DIR`, by default `/var/tmp`.
    pub fn new() -> Result<Self> {
        let parent = std::env::var_os("TARE_TEST_DIR").unwrap_or_else(|| "/var/tmp".into());
        let parent = PathBuf::from(parent);
        let kind = statfs(&parent).with_context(|| format!("statfs {}", parent.display()))?;
        if [TMPFS_MAGIC, OVERLAYFS_SUPER_MAGIC, RAMFS_MAGIC].contains(&kind.filesystem_type()) {
            bail!(
                "{} is not on a disk, so writes there are no block I/O; \
                 set TARE_TEST_DIR to a directory on a disk-backed filesystem",
                parent.display()
            );
        }
        let dir = tempfile::Builder::new()
            .prefix(&unique_name())
            .tempdir_in(&parent)
            .with_context(|| format!("make a directory in {}", parent.display()))?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))
            .with_context(|| format!("open {} to all", dir.path().display()))?;
        Ok(Self(dir))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A new directory in it.
    pub fn subdirectory(&self) -> Result<PathBuf> {
        let path = self.path().join(unique_name());
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(path)
    }
}

/// A cgroup of the test's own, removed on drop together with the cgroups below it.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one below the directory `parent` of a mounted hierarchy.
    pub fn below(parent: &Path) -> Result<Self> {
        Self::named(&parent.join(unique_name()))
    }

    /// Makes the one at `path`, which must not exist.
    pub fn named(path: &Path) -> Result<Self> {
        fs::create_dir(path).with_context(|| format!("make the cgroup {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Moves a process into it.
    pub fn take(&self, pid: u32) -> Result<()> {
        let procs = self.0.join("cgroup.procs");
        fs::write(&procs, pid.to_string())
            .with_context(|| format!("write {pid} to {}", procs.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A killed process leaves its cgroup a moment later.
        for _ in 0..50 {
            if remove_tree(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        eprintln!("could not remove the cgroup {}", self.0.display());
    }
}

/// Removes a cgroup and those below it, whose files the kernel removes.
fn remove_tree(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

/// Where the cgroup2 hierarchy is mounted.
pub fn cgroup2_mount() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    let mount = mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| place.split(' ').nth(4)).flatten()
    });
    mount.map(PathBuf::from).context("no cgroup2 hierarchy is mounted")
}
