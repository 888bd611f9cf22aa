//! Cgroups that look like containers, many of them, and their end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cmd;

/// Controllers of cgroup v1 whose files tell what a container uses.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuacct", "memory", "pids", "blkio", "freezer"];

/// For how long processes that were killed may still be leaving.
const LEAVING: Duration = Duration::from_secs(20);

/// A hierarchy in which containers have a cgroup.
pub(crate) struct Hierarchy {
    pub(crate) mount: PathBuf,
    /// Of cgroup v1; `None` is cgroup2.
    pub(crate) controllers: Option<String>,
}

/// The hierarchies of this host that tell what containers use.
pub(crate) fn hierarchies() -> Result<Vec<Hierarchy>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    Ok(parse(&mounts))
}

fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (place, source) = line.split_once(" - ")?;
            let mount = PathBuf::from(place.split(' ').nth(4)?.replace("\\040", " "));
            let mut source = source.split(' ');
            match source.next()? {
                "cgroup2" => Some(Hierarchy { mount, controllers: None }),
                "cgroup" => {
                    let options = source.nth(1)?;
                    let ours = |option: &&str| CONTROLLERS.contains(option);
                    let ours: Vec<&str> = options.split(',').filter(ours).collect();
                    let controllers = Some(ours.join(","));
                    (!ours.is_empty()).then_some(Hierarchy { mount, controllers })
                }
                _ => None,
            }
        })
        .collect()
}

/// A directory of cgroups in each hierarchy; all that is in them goes on drop.
pub(crate) struct Groups {
    parents: Vec<PathBuf>,
    names: Vec<String>,
}

impl Groups {
    /// Makes so many, named as Docker names containers.
    pub(crate) fn make(count: usize) -> Result<Self> {
        let own = format!("tare-bench-{}", process::id());
        let mounts = hierarchies()?.into_iter().map(|hierarchy| hierarchy.mount);
        let mut groups = Self { parents: Vec::new(), names: Vec::new() };
        for parent in mounts.map(|mount| mount.join(&own)) {
            fs::create_dir(&parent).with_context(|| format!("cannot make {parent:?}"))?;
            groups.parents.push(parent);
        }
        for n in 0..count {
            if cmd::interrupted() {
                bail!("interrupted");
            }
            groups.add(format!("{:08x}{n:056x}", process::id()))?;
        }
        Ok(groups)
    }

    fn add(&mut self, name: String) -> Result<()> {
        self.names.push(name.clone());
        for parent in &self.parents {
            let path = parent.join(&name);
            fs::create_dir(&path).with_context(|| format!("cannot make {path:?}"))?;
        }
        Ok(())
    }

    /// The directory in each hierarchy that holds them.
    pub(crate) fn parents(&self) -> &[PathBuf] {
        &self.parents
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for parent in &self.parents {
            for name in &self.names {
                remove(&parent.join(name));
            }
            remove(parent);
        }
    }
}

/// Removes a cgroup; those who were killed may still be leaving it.
pub(crate) fn remove(path: &Path) {
    const POLL: Duration = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    while let Err(error) = fs::remove_dir(path) {
        if !path.exists() {
            return;
        }
        if waited >= LEAVING {
            eprintln!("warning: cannot remove {path:?}: {error}");
            return;
        }
        sleep(POLL);
        waited += POLL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_those_that_tell_what_containers_use() {
        let mountinfo = "\
            31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            32 24 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
            33 24 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n\
            34 24 0:30 / /proc rw - proc proc rw\n";
        let found = parse(mountinfo);
        let found: Vec<_> =
            found.iter().map(|one| (one.mount.to_str(), one.controllers.as_deref())).collect();
        assert_eq!(
            found,
            [
                (Some("/sys/fs/cgroup/cpu,cpuacct"), Some("cpu,cpuacct")),
                (Some("/sys/fs/cgroup/unified"), None),
            ]
        );
    }
}
