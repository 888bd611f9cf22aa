//! The cgroups that container engines leave behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cmd;

/// What Docker, Podman, containerd and Kubernetes name the parents of their containers' cgroups.
/// None of them removes it.
const PARENTS: [&str; 4] = ["docker", "libpod_parent", "default", "kubepods"];

/// Parents that were not there at first; those that are empty by then are removed on drop.
#[must_use]
pub(crate) struct Leftovers {
    absent: Vec<PathBuf>,
}

impl Leftovers {
    /// Looks which are there now.
    pub(crate) fn from_now_on() -> Result<Self> {
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
        let parents = |root: PathBuf| PARENTS.map(|name| root.join(name));
        let all: BTreeSet<PathBuf> = cgroup_roots(&mounts).into_iter().flat_map(parents).collect();
        Ok(Self { absent: all.into_iter().filter(|path| !path.exists()).collect() })
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        for parent in self.absent.iter().filter(|path| path.exists()) {
            // What is in use is not ours alone; the kernel refuses to remove it.
            let mut remove = cmd::as_root("rmdir", &[]);
            let _ = cmd::check(remove.args(inner_first(parent)));
        }
    }
}

/// A directory and all below it, a directory after those in it.
fn inner_first(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut all: Vec<PathBuf> = inner.flat_map(|entry| inner_first(&entry.path())).collect();
    all.push(directory.to_owned());
    all
}

/// Where filesystems are mounted, by the lines of `/proc/self/mountinfo`.
pub(crate) fn mount_points(mountinfo: &str) -> Vec<PathBuf> {
    let fields = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    fields.map(|point| PathBuf::from(point.replace("\\040", " "))).collect()
}

fn cgroup_roots(mountinfo: &str) -> Vec<PathBuf> {
    let is_cgroup = |line: &&str| {
        line.split_once(" - ").is_some_and(|(_, source)| {
            source.starts_with("cgroup ") || source.starts_with("cgroup2 ")
        })
    };
    mountinfo.lines().filter(is_cgroup).flat_map(mount_points).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup_roots_are_those_of_both_versions() {
        let mountinfo = "\
            31 24 0:27 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
            32 24 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
            33 24 0:29 / /mnt/a\\040disk rw - ext4 /dev/vda rw\n";
        let roots = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"].map(PathBuf::from);
        assert_eq!(cgroup_roots(mountinfo), roots);
        assert_eq!(mount_points(mountinfo)[2], PathBuf::from("/mnt/a disk"));
    }

    #[test]
    fn what_is_in_a_directory_goes_before_it() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let all = inner_first(here);
        let place = |path: &str| all.iter().position(|each| *each == here.join(path));
        assert!(place("src/bench").is_some() && place("src/bench") < place("src"));
        assert_eq!(all.last().map(PathBuf::as_path), Some(here));
    }
}
