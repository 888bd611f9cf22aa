//! Cgroups of the tests: the same in each hierarchy, with loads in them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tare::internals::walk::Hierarchy;
use tare_tests::{scratch::unique_name, wait};

/// Controllers that a walk has a use for.
const CONTROLLERS: [&str; 5] = ["cpu", "memory", "pids", "freezer", "cpuacct"];

/// The hierarchies of this host that are walked.
pub(crate) fn hierarchies() -> Result<Vec<Hierarchy>> {
    let table = fs::read_to_string("/proc/cgroups")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let number = |name: &str| -> Option<u32> {
        let line = table.lines().find(|line| line.split_whitespace().next() == Some(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let (mut unified, mut legacy) = (None, Vec::new());
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let root = PathBuf::from(left.split_whitespace().nth(4).unwrap_or_default());
        let mut right = right.split_whitespace();
        match right.next() {
            Some("cgroup2") => unified = Some(root),
            Some("cgroup") => {
                let options = right.next_back().unwrap_or_default().split(',');
                legacy.push((root, options.map(str::to_owned).collect::<Vec<_>>()));
            }
            _ => {}
        }
    }
    let is_legacy = |name: &str| legacy.iter().any(|(_, has)| has.iter().any(|has| has == name));
    let mut found = Vec::new();
    if let Some(root) = unified {
        let is_v2 = |name: &&str| !["freezer", "cpuacct"].contains(name) && !is_legacy(name);
        let all = CONTROLLERS.into_iter().filter(is_v2);
        let controllers = all.map(str::to_owned).collect();
        found.push(Hierarchy { id: 0, root, controllers, counts_swap: None });
    }
    for (root, controllers) in legacy {
        let wanted = CONTROLLERS.into_iter().find(|name| controllers.iter().any(|c| c == name));
        if let Some(name) = wanted {
            let id = number(name).with_context(|| format!("/proc/cgroups has no {name}"))?;
            found.push(Hierarchy { id, root, controllers, counts_swap: None });
        }
    }
    ensure!(!found.is_empty(), "no cgroups are mounted");
    Ok(found)
}

/// So many cgroups in each hierarchy, below one; removed on drop, with what runs in them.
pub(crate) struct Groups {
    /// The hierarchies.
    pub(crate) hierarchies: Vec<Hierarchy>,
    /// How many there are in each.
    pub(crate) count: usize,
    name: String,
}

impl Groups {
    /// Makes them.
    pub(crate) fn new(count: usize) -> Result<Self> {
        let groups = Self { hierarchies: hierarchies()?, count, name: unique_name() };
        for hierarchy in &groups.hierarchies {
            let top = groups.top(hierarchy);
            enable(&hierarchy.root, hierarchy)?;
            fs::create_dir(&top).with_context(|| top.display().to_string())?;
            enable(&top, hierarchy)?;
            for index in 0..count {
                fs::create_dir(groups.directory(hierarchy, index))?;
            }
        }
        Ok(groups)
    }

    /// The name of the cgroup above all.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The cgroup above all.
    pub(crate) fn top(&self, hierarchy: &Hierarchy) -> PathBuf {
        hierarchy.root.join(&self.name)
    }

    /// One of them.
    pub(crate) fn directory(&self, hierarchy: &Hierarchy, index: usize) -> PathBuf {
        self.top(hierarchy).join(format!("g{index}"))
    }

    /// Loads of all kinds in every eighth, each once; with `active`, some go on until the end.
    pub(crate) fn load(&self, scratch: &Path, active: bool) -> Result<Vec<Load>> {
        let mut running = Vec::new();
        for index in 0..self.count {
            let Some(script) = self.script(scratch, index)? else { continue };
            if active && index % 5 == 0 {
                let pause = index % 9 + 1;
                let script = format!("while :; do {script}; sleep 0.0{pause}; done");
                running.push(Load(self.start(index, &script)?));
            } else {
                self.start(index, &script)?.wait()?;
            }
        }
        Ok(running)
    }

    /// What runs in a group, for which its limits are set.
    fn script(&self, scratch: &Path, index: usize) -> Result<Option<String>> {
        let mut limits: &[(&str, &str)] = &[];
        let file = scratch.join(format!("f{index}"));
        let script = match index % 8 {
            0 => return Ok(None),
            1 => "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done".to_owned(),
            2 => format!("head -c {} /dev/zero | tail >/dev/null", (index % 7 + 1) << 20),
            3 => "i=0; while [ $i -lt 20 ]; do /bin/true; i=$((i+1)); done".to_owned(),
            4 => {
                limits = &[
                    ("cpu.max", "3000 20000"),
                    ("cpu.max.burst", "1000"),
                    ("cpu.weight", "37"),
                    ("cpu.cfs_period_us", "20000"),
                    ("cpu.cfs_quota_us", "3000"),
                    ("cpu.cfs_burst_us", "1000"),
                    ("cpu.shares", "370"),
                ];
                "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done".to_owned()
            }
            5 => {
                limits = &[
                    ("memory.max", "3M"),
                    ("memory.swap.max", "5M"),
                    ("memory.limit_in_bytes", "3M"),
                    ("memory.soft_limit_in_bytes", "2M"),
                ];
                // In bytes: not every `head` knows units.
                "head -c 16777216 /dev/zero | tail >/dev/null; true".to_owned()
            }
            6 => {
                limits = &[("memory.low", "1M"), ("memory.min", "512K"), ("memory.high", "6M")];
                let (file, blocks) = (file.display(), index % 40 + 8);
                format!(
                    "dd if=/dev/zero of={file} bs=64k count={blocks} conv=fsync; \
                     cat {file} >/dev/null; dd if=/dev/zero of={file}x bs=64k count=8"
                )
            }
            _ => {
                limits = &[("pids.max", "2")];
                "/bin/true & /bin/true & /bin/true & /bin/true; sleep 0".to_owned()
            }
        };
        for hierarchy in &self.hierarchies {
            for (name, value) in limits {
                let file = self.directory(hierarchy, index).join(name);
                if file.exists() {
                    fs::write(&file, value)
                        .with_context(|| format!("{value} to {}", file.display()))?;
                }
            }
        }
        Ok(Some(script))
    }

    /// A shell in a group.
    fn start(&self, index: usize, script: &str) -> Result<Child> {
        let places = self.hierarchies.iter().map(|hierarchy| self.directory(hierarchy, index));
        let moves: String =
            places.map(|place| format!("echo $$ >{}/cgroup.procs; ", place.display())).collect();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &(moves + script)]).stdout(Stdio::null()).stderr(Stdio::null());
        shell.spawn().context("start /bin/sh")
    }

    fn remove(&self, directory: &Path) {
        for _ in 0..200 {
            let tasks = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            for pid in tasks.split_whitespace().filter_map(|pid| pid.parse().ok()) {
                // It may have ended by itself.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            if fs::remove_dir(directory).is_ok() || !directory.exists() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        eprintln!("could not remove {}", directory.display());
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for hierarchy in &self.hierarchies {
            for index in 0..self.count {
                self.remove(&self.directory(hierarchy, index));
            }
            self.remove(&self.top(hierarchy));
        }
    }
}

/// A load that goes on until it is dropped.
pub(crate) struct Load(Child);

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A cgroup of cgroup2 in which nothing runs until this is dropped.
pub(crate) struct Frozen(PathBuf);

impl Frozen {
    /// Waits until nothing runs (`cgroup.freeze`, Linux 5.2).
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let file = directory.join("cgroup.freeze");
        fs::write(&file, "1").with_context(|| file.display().to_string())?;
        let frozen = Self(file);
        let is_frozen = || {
            let events = fs::read_to_string(directory.join("cgroup.events"))?;
            Ok(events.contains("frozen 1").then_some(()))
        };
        wait::until("a frozen cgroup", wait::PATIENCE, is_frozen)?;
        Ok(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = fs::write(&self.0, "0");
    }
}

/// Lets the cgroups below a directory have the controllers (cgroup2).
fn enable(directory: &Path, hierarchy: &Hierarchy) -> Result<()> {
    let Ok(there) = fs::read_to_string(directory.join("cgroup.controllers")) else { return Ok(()) };
    for name in
        there.split_whitespace().filter(|name| hierarchy.controllers.iter().any(|c| c == name))
    {
        let file = directory.join("cgroup.subtree_control");
        fs::write(&file, format!("+{name}"))
            .with_context(|| format!("+{name} to {}", file.display()))?;
    }
    Ok(())
}
