//! Many cgroups that look like containers, and their removal.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cmd,
    mounts::{self, Mount},
};

/// Cgroup v1 controllers whose files count what a container uses.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuacct", "memory", "pids", "blkio", "freezer"];

/// How long killed processes may take to leave a cgroup.
const LEAVING: Duration = Duration::from_secs(20);

/// A cgroup hierarchy with containers.
pub(crate) struct Hierarchy {
    pub(crate) mount: PathBuf,
    /// Controllers on cgroup v1; `None` on cgroup2.
    pub(crate) controllers: Option<String>,
}

/// The hierarchies of this host that count what containers use.
pub(crate) fn hierarchies() -> Result<Vec<Hierarchy>> {
    Ok(counting(mounts::read()?))
}

fn counting(mounts: Vec<Mount>) -> Vec<Hierarchy> {
    let hierarchy = |Mount { point, filesystem, options }| match filesystem.as_str() {
        "cgroup2" => Some(Hierarchy { mount: point, controllers: None }),
        "cgroup" => {
            let known = options.iter().map(String::as_str).filter(|one| CONTROLLERS.contains(one));
            let known = known.collect::<Vec<_>>().join(",");
            (!known.is_empty()).then_some(Hierarchy { mount: point, controllers: Some(known) })
        }
        _ => None,
    };
    mounts.into_iter().filter_map(hierarchy).collect()
}

/// A directory of cgroups in each hierarchy; removed on drop.
pub(crate) struct TestCgroups {
    parents: Vec<PathBuf>,
    names: Vec<String>,
}

impl TestCgroups {
    /// Makes `count` cgroups, named as Docker names containers.
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
            groups.add(id(n as u64))?;
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

    /// The directory of the cgroups in each hierarchy.
    pub(crate) fn parents(&self) -> &[PathBuf] {
        &self.parents
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }
}

impl Drop for TestCgroups {
    fn drop(&mut self) {
        for parent in &self.parents {
            for name in &self.names {
                remove(&parent.join(name));
            }
            remove(parent);
        }
    }
}

/// Removes a cgroup; retries while killed processes leave it.
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

/// An id as Docker gives it: random digits, which do not compress. The same in each run.
fn id(n: u64) -> String {
    // SplitMix64 (Steele, Lea and Flood, 2014).
    let word = |at: u64| {
        let mut word = (n * 4 + at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    };
    (0..4).map(|at| format!("{:016x}", word(at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_those_that_count_what_containers_use() {
        let mountinfo = "\
            31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            32 24 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
            33 24 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n\
            34 24 0:30 / /proc rw - proc proc rw\n";
        let found = counting(mounts::parse(mountinfo));
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
