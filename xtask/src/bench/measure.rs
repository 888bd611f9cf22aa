//! Resources that a program uses, as the kernel counts them for its cgroup, and CPU time of the
//! whole machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

use super::{
    machine::{field, kibibytes},
    test_cgroups::hierarchies,
};

/// CPU time since the cgroup was made.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Cpu {
    /// Exact run time of its processes.
    pub(crate) total_ns: u64,
    /// In user mode, counted in ticks: precise only over many samples.
    pub(crate) user_ns: u64,
    pub(crate) system_ns: u64,
}

impl Cpu {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            total_ns: self.total_ns.saturating_sub(before.total_ns),
            user_ns: self.user_ns.saturating_sub(before.user_ns),
            system_ns: self.system_ns.saturating_sub(before.system_ns),
        }
    }
}

/// Memory of a cgroup's processes; `None` where the kernel does not report it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Memory {
    pub(crate) rss_bytes: Option<u64>,
    /// Resident memory, with shared pages divided among their users.
    pub(crate) pss_bytes: Option<u64>,
    /// Kernel memory: open files, BPF maps, page tables.
    pub(crate) kernel_bytes: Option<u64>,
    /// BPF maps, as their `memlock` in `fdinfo` reports.
    pub(crate) maps_bytes: Option<u64>,
}

/// A cgroup for the processes of one program; removed on drop.
pub(crate) struct ProgramCgroup {
    /// The cgroup that counts CPU time.
    cpu: PathBuf,
    /// The cgroup that counts memory; the same on cgroup2.
    memory: PathBuf,
}

impl ProgramCgroup {
    pub(crate) fn open(name: &str) -> Result<Self> {
        let place = |controller: &str| -> Result<PathBuf> {
            let all = hierarchies()?;
            let v1 = all.iter().find(|one| {
                one.controllers.iter().flat_map(|all| all.split(',')).any(|one| one == controller)
            });
            let place = v1.or_else(|| all.iter().find(|one| one.controllers.is_none()));
            let mount = &place.with_context(|| format!("no cgroup counts {controller}"))?.mount;
            Ok(mount.join(format!("tare-bench-{name}-{}", std::process::id())))
        };
        let cgroup = Self { cpu: place("cpuacct")?, memory: place("memory")? };
        for directory in cgroup.directories() {
            fs::create_dir(directory).with_context(|| format!("cannot make {directory:?}"))?;
        }
        Ok(cgroup)
    }

    fn directories(&self) -> impl Iterator<Item = &Path> {
        let memory = (self.memory != self.cpu).then_some(self.memory.as_path());
        [self.cpu.as_path()].into_iter().chain(memory)
    }

    /// The files to which a process writes its id to enter.
    pub(crate) fn procs_files(&self) -> impl Iterator<Item = PathBuf> {
        self.directories().map(|directory| directory.join("cgroup.procs"))
    }

    pub(crate) fn cpu(&self) -> Result<Cpu> {
        let read = |name: &str| {
            let file = self.cpu.join(name);
            fs::read_to_string(&file).with_context(|| format!("cannot read {file:?}"))
        };
        if let Ok(total) = read("cpuacct.usage") {
            let (stat, tick) = (read("cpuacct.stat")?, tick_ns()?);
            let total_ns = total.trim().parse().context("cpuacct.usage")?;
            return Ok(Cpu {
                total_ns,
                user_ns: word(&stat, "user").unwrap_or_default() * tick,
                system_ns: word(&stat, "system").unwrap_or_default() * tick,
            });
        }
        let stat = read("cpu.stat")?;
        let micros = |name| word(&stat, name).map(|micros| micros * 1000);
        Ok(Cpu {
            total_ns: micros("usage_usec").context("no usage_usec in cpu.stat")?,
            user_ns: micros("user_usec").unwrap_or_default(),
            system_ns: micros("system_usec").unwrap_or_default(),
        })
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.cpu.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    pub(crate) fn memory(&self) -> Memory {
        let pids = self.pids();
        let sum =
            |name| pids.iter().map(|pid| kibibytes(&proc_file(*pid, "smaps_rollup")?, name)).sum();
        let file = |name: &str| {
            fs::read_to_string(self.memory.join(name)).ok()?.trim().parse::<u64>().ok()
        };
        let v2 = || word(&fs::read_to_string(self.memory.join("memory.stat")).ok()?, "kernel");
        Memory {
            rss_bytes: sum("Rss"),
            pss_bytes: sum("Pss"),
            kernel_bytes: file("memory.kmem.usage_in_bytes").or_else(v2),
            maps_bytes: Some(maps_bytes(&pids)),
        }
    }
}

impl Drop for ProgramCgroup {
    fn drop(&mut self) {
        for directory in self.directories() {
            super::test_cgroups::remove(directory);
        }
    }
}

fn proc_file(pid: u32, name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/{name}")).ok()
}

/// Memory of the BPF maps that these processes hold, each map once.
fn maps_bytes(pids: &[u32]) -> u64 {
    let maps: BTreeMap<u64, u64> = descriptors(pids)
        .filter_map(|info| Some((number(&info, "map_id")?, number(&info, "memlock")?)))
        .collect();
    maps.into_values().sum()
}

/// Ids of the BPF programs that these processes hold, directly or through links.
pub(crate) fn program_ids(pids: &[u32]) -> BTreeSet<u64> {
    descriptors(pids).filter_map(|info| number(&info, "prog_id")).collect()
}

/// The contents of `fdinfo` for each open descriptor.
fn descriptors(pids: &[u32]) -> impl Iterator<Item = String> {
    let entries = pids.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fdinfo")).ok());
    // A descriptor may be closed before its file is read.
    entries.flatten().flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok())
}

fn number(info: &str, name: &str) -> Option<u64> {
    field(info, name)?.parse().ok()
}

/// CPU time, in ns, of the current threads of all processes with these names, except some.
pub(crate) fn run_time_of(names: &[&str], except: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // The kernel truncates names to 15 bytes.
        let ours = proc_file(pid, "comm").is_some_and(|name| names.contains(&name.trim()));
        if ours && !except.contains(&pid) {
            sum += run_time(pid);
        }
    }
    Ok(sum)
}

/// CPU time of a process's threads, in ns; 0 if it has ended.
fn run_time(pid: u32) -> u64 {
    threads(pid).filter_map(|thread| thread_time(&thread)).sum()
}

/// CPU time, in ns, of a process's threads with this name; exact while they sleep.
pub(crate) fn run_time_of_thread(pid: u32, name: &str) -> Result<u64> {
    let is_called = |thread: &PathBuf| {
        fs::read_to_string(thread.join("comm")).is_ok_and(|found| found.trim() == name)
    };
    let times = threads(pid).filter(is_called).filter_map(|thread| thread_time(&thread));
    times.reduce(|sum, time| sum + time).with_context(|| format!("no thread {name} in {pid}"))
}

fn threads(pid: u32) -> impl Iterator<Item = PathBuf> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    threads.flatten().map(|thread| thread.path())
}

fn thread_time(thread: &Path) -> Option<u64> {
    let text = fs::read_to_string(thread.join("schedstat")).ok()?;
    text.split(' ').next()?.parse().ok()
}

/// The number after a word at the start of a line.
fn word(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn tick_ns() -> Result<u64> {
    let ticks = sysconf(SysconfVar::CLK_TCK)?.context("no CLK_TCK")?;
    Ok(1_000_000_000 / u64::try_from(ticks)?)
}

/// CPU time of the whole machine since its start.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct MachineCpu {
    /// Of processes and interrupts.
    pub(crate) busy_ns: u64,
    /// Taken by the hypervisor for other guests.
    pub(crate) stolen_ns: u64,
}

impl MachineCpu {
    pub(crate) fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        Self::parse(&stat, tick_ns()?).context("no line of all CPUs in /proc/stat")
    }

    fn parse(stat: &str, tick: u64) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|text| text.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal
        let &[user, nice, system, _, _, irq, softirq, steal, ..] = ticks.as_slice() else {
            return None;
        };
        let busy = user + nice + system + irq + softirq;
        Some(Self { busy_ns: busy * tick, stolen_ns: steal * tick })
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            busy_ns: self.busy_ns.saturating_sub(before.busy_ns),
            stolen_ns: self.stolen_ns.saturating_sub(before.stolen_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_excludes_idle_and_waiting() {
        let busy = MachineCpu::parse("cpu  1 2 3 400 500 6 7 8 0 0\ncpu0 1 2\n", 10).unwrap();
        assert_eq!((busy.busy_ns, busy.stolen_ns), (190, 80));
        assert!(MachineCpu::parse("intr 1\n", 10).is_none());
    }

    #[test]
    fn threads_are_selected_by_name() {
        let burn = || {
            let begin = std::time::Instant::now();
            while begin.elapsed().as_millis() < 20 {}
            run_time_of_thread(std::process::id(), "burner").unwrap()
        };
        let burner = std::thread::Builder::new().name("burner".to_owned()).spawn(burn).unwrap();
        assert!(burner.join().unwrap() > 0);
        assert!(run_time_of_thread(std::process::id(), "no such thread").is_err());
    }

    #[test]
    fn only_whole_words_match() {
        assert_eq!(word("user_usec 3\nuser 4\n", "user"), Some(4));
        assert_eq!(word("kernel_stack 1\n", "kernel"), None);
    }
}
