//! The mounts of this machine.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// A line of `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).
pub(crate) struct Mount {
    pub(crate) point: PathBuf,
    pub(crate) filesystem: String,
    /// Options of the filesystem itself; for cgroup v1 these include the controllers.
    pub(crate) options: Vec<String>,
}

/// All mounts; a mount comes after the one it is mounted in.
pub(crate) fn read() -> Result<Vec<Mount>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    Ok(parse(&text))
}

pub(crate) fn parse(mountinfo: &str) -> Vec<Mount> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (place, source) = line.split_once(" - ")?;
            let point = PathBuf::from(place.split(' ').nth(4)?.replace("\\040", " "));
            let mut source = source.split(' ');
            let filesystem = source.next()?.to_owned();
            let options = source.nth(1)?.split(',').map(str::to_owned).collect();
            Some(Mount { point, filesystem, options })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_point_a_filesystem_and_options() {
        let mounts = parse(
            "31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
             33 24 0:29 / /mnt/a\\040disk rw - ext4 /dev/vda rw\n\
             nonsense\n",
        );
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].point, PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(mounts[0].filesystem, "cgroup");
        assert_eq!(mounts[0].options, ["rw", "cpu", "cpuacct"]);
        assert_eq!(mounts[1].point, PathBuf::from("/mnt/a disk"));
    }
}
