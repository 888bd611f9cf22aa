//! What seldom changes, or costs too much to be read each time: settings, limits, peaks.
//!
//! These files do not stay open: most are read once in [`SETTINGS_INTERVAL`].

use std::path::{Path, PathBuf};
use std::str;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, mem};

use crate::cgroup::error::ReadError;
use crate::cgroup::file::read_once;
use crate::cgroup::files::turn;
use crate::cgroup::huge_pages::{HugePages, HugePagesFiles};
use crate::cgroup::mounts::{Hierarchies, Version};
use crate::cgroup::text::{named_number, number, words};
use crate::cgroup::walk::below;

/// How often settings are read of a cgroup that runs; also when it is first seen and when it ends.
///
/// Opening and closing a file costs ten times as much as reading one that is open, and one that
/// stays open costs a page of the kernel's memory.
pub const SETTINGS_INTERVAL: Duration = Duration::from_secs(30);

/// How often they are read of a cgroup that did not run since the last time.
pub const IDLE_SETTINGS_INTERVAL: Duration = Duration::from_secs(120);

/// What the longest name of these files takes, `memory.memsw.max_usage_in_bytes`, and the slash.
const FILE_NAME_BYTES: usize = 32;

/// A v1 limit from here on is none. The kernel's greatest is `i64::MAX` rounded down to whole pages
/// (`include/linux/page_counter.h`, `PAGE_COUNTER_MAX`), and a page has 64 KiB at most.
pub(crate) const V1_UNLIMITED: u64 = i64::MAX as u64 & !0xffff;

/// What was read of a cgroup some seconds ago at most. `None` is unknown, and for a limit also none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Settings of the CPU controllers.
    pub cpu: CpuSettings,
    /// CPU time by CPU, those included that are not there (v1, `cpuacct.usage_percpu`).
    pub per_cpu_nanoseconds: Vec<u64>,
    /// Limits of memory and swap.
    pub memory: MemorySettings,
    /// The most tasks that may exist.
    pub pids_limit: Option<u64>,
    /// The most tasks that existed at a time. Since Linux 6.6.
    pub pids_peak: Option<u64>,
    /// Forks that failed for the limit of this cgroup. v2 since Linux 6.6: and of those below it.
    pub pids_limit_hits: Option<u64>,
    /// Huge pages, by size.
    pub huge_pages: Vec<HugePages>,
    /// Cgroups below this one (`cgroup.stat` of v2).
    pub descendants: Option<u64>,
    /// Removed cgroups below this one of which something is still charged.
    pub dying_descendants: Option<u64>,
}

/// Settings of the controllers `cpu` and `cpuset`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuSettings {
    /// CPU time that may be used in a period.
    pub quota_microseconds: Option<u64>,
    /// The period.
    pub period_microseconds: Option<u64>,
    /// CPU time that may be saved up for later periods.
    pub burst_microseconds: Option<u64>,
    /// The tightest quota, with its period, of this cgroup and those above it that can be seen.
    pub tightest: Option<(u64, u64)>,
    /// Share of CPU time where it is short (v2, 100 is usual).
    pub weight: Option<u64>,
    /// The same on v1, where 1024 is usual.
    pub shares: Option<u64>,
    /// CPUs that it asks for, such as `0-3,8`; empty if it does not ask, or unknown.
    pub cpus: String,
    /// CPUs that it gets.
    pub effective_cpus: String,
    /// Memory nodes that it asks for.
    pub mems: String,
    /// Memory nodes that it gets.
    pub effective_mems: String,
}

/// Limits of memory and swap, and what swap has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemorySettings {
    /// Above it the kernel kills.
    pub max_bytes: Option<u64>,
    /// The smallest such limit of this cgroup and those above it that can be seen (v2).
    pub tightest_max_bytes: Option<u64>,
    /// Above it allocations are slowed down (v2).
    pub high_bytes: Option<u64>,
    /// Memory that is taken back only if there is no other (v2).
    pub low_bytes: Option<u64>,
    /// Memory that is never taken back (v2).
    pub min_bytes: Option<u64>,
    /// What the kernel tries to keep it to when memory is short (v1).
    pub soft_bytes: Option<u64>,
    /// Limit of swap (v2).
    pub swap_max_bytes: Option<u64>,
    /// Above it allocations are slowed down (v2).
    pub swap_high_bytes: Option<u64>,
    /// The most swap that was in use. Since Linux 6.5 (v2).
    pub swap_peak_bytes: Option<u64>,
    /// Limit of memory and swap together (v1).
    pub memory_and_swap_max_bytes: Option<u64>,
    /// The most memory and swap together that was in use (v1).
    pub memory_and_swap_peak_bytes: Option<u64>,
    /// How often memory and swap together were at their limit (v1).
    pub memory_and_swap_limit_hits: Option<u64>,
}

/// Where the seldom read files of one cgroup are, and what they said.
#[derive(Debug)]
pub struct SettingsFiles {
    cpu: Option<Place>,
    cpuacct: Option<Place>,
    cpuset: Option<Place>,
    memory: Option<Place>,
    pids: Option<Place>,
    unified: Option<Place>,
    huge_pages: Option<HugePagesFiles>,
    /// A directory further up than the one that is read.
    above: PathBuf,
    latest: Arc<Settings>,
    /// What was read before, to be overwritten once nobody holds it.
    spare: Option<Arc<Settings>>,
    due: Option<Instant>,
    turn: Duration,
}

/// The directory of a cgroup in one hierarchy.
#[derive(Debug)]
struct Place {
    version: Version,
    directory: PathBuf,
    /// How much of that is the root's.
    root_bytes: usize,
}

impl SettingsFiles {
    /// Finds the directories of the cgroup at a path such as `/docker/abc`.
    pub fn find(hierarchies: &Hierarchies, path: &str) -> Self {
        let place = |name| {
            let controller = hierarchies.controller(name)?;
            Some(Place::new(controller.version, controller.root, path))
        };
        let unified = hierarchies.unified.as_deref();
        Self {
            cpu: place("cpu"),
            cpuacct: place("cpuacct").filter(|place| place.version == Version::V1),
            cpuset: place("cpuset"),
            memory: place("memory"),
            pids: place("pids"),
            unified: unified.map(|root| Place::new(Version::V2, root, path)),
            huge_pages: HugePagesFiles::new(hierarchies, path),
            above: PathBuf::new(),
            latest: Arc::default(),
            spare: None,
            due: None,
            turn: turn(SETTINGS_INTERVAL, path),
        }
    }

    /// Reads the files anew if that is due, which depends on whether the cgroup `ran` since they were
    /// read last; whether they were.
    ///
    /// # Errors
    ///
    /// The first fault of a file that is there and cannot be read; all others are read.
    /// [`ReadError::Vanished`] when the cgroup was removed. What was read before stays then.
    pub fn read_settings(
        &mut self,
        ran: bool,
        now: Instant,
        buffer: &mut Vec<u8>,
    ) -> Result<bool, ReadError> {
        let grace = if ran { Duration::ZERO } else { IDLE_SETTINGS_INTERVAL - SETTINGS_INTERVAL };
        if self.due.is_some_and(|due| now < due + grace) {
            return Ok(false);
        }
        // The first time is when all are new; from then on each has its own turn.
        let wait = match self.due {
            None => self.turn,
            Some(_) => SETTINGS_INTERVAL,
        };
        self.due = Some(now + wait);
        let first = self.spare.is_none();
        let mut spare = self.spare.take().unwrap_or_default();
        if Arc::get_mut(&mut spare).is_none() {
            spare = Arc::default();
        }
        let mut faults = Faults(None);
        if let Some(out) = Arc::get_mut(&mut spare) {
            self.read_all(buffer, out, &mut faults);
        }
        if !self.is_there() {
            return Err(ReadError::Vanished);
        }
        let before = mem::replace(&mut self.latest, spare);
        // The second time shall find all the memory that it needs.
        self.spare = Some(if first { Arc::new(Settings::clone(&self.latest)) } else { before });
        faults.0.map_or(Ok(true), Err)
    }

    /// What was read last.
    pub fn latest(&self) -> &Arc<Settings> {
        &self.latest
    }

    /// Has the next read go to the files.
    pub fn expire(&mut self) {
        self.due = None;
    }

    /// Whether the cgroup is still there: its files vanish one by one.
    fn is_there(&self) -> bool {
        let places = [&self.memory, &self.cpu, &self.pids, &self.unified];
        places.into_iter().flatten().any(|place| fs::metadata(&place.directory).is_ok())
    }

    fn read_all(&mut self, buffer: &mut Vec<u8>, out: &mut Settings, faults: &mut Faults) {
        let mut reader = Reader { buffer, faults };
        if let Some(cpu) = &mut self.cpu {
            reader.cpu(cpu, &mut self.above, &mut out.cpu);
        }
        out.per_cpu_nanoseconds.clear();
        if let Some(cpuacct) = &mut self.cpuacct
            && let Some(text) = reader.text(&mut cpuacct.directory, "cpuacct.usage_percpu")
        {
            out.per_cpu_nanoseconds.extend(words(text).map_while(number));
        }
        if let Some(cpuset) = &mut self.cpuset {
            let [effective_cpus, effective_mems] = match cpuset.version {
                Version::V1 => ["cpuset.effective_cpus", "cpuset.effective_mems"],
                Version::V2 => ["cpuset.cpus.effective", "cpuset.mems.effective"],
            };
            let directory = &mut cpuset.directory;
            reader.list(directory, "cpuset.cpus", &mut out.cpu.cpus);
            reader.list(directory, effective_cpus, &mut out.cpu.effective_cpus);
            reader.list(directory, "cpuset.mems", &mut out.cpu.mems);
            reader.list(directory, effective_mems, &mut out.cpu.effective_mems);
        }
        if let Some(memory) = &mut self.memory {
            out.memory = match memory.version {
                Version::V1 => reader.memory_v1(memory),
                Version::V2 => reader.memory_v2(memory, &mut self.above),
            };
        }
        if let Some(pids) = &mut self.pids {
            out.pids_limit = reader.limit(&mut pids.directory, "pids.max");
            out.pids_peak = reader.limit(&mut pids.directory, "pids.peak");
            out.pids_limit_hits = reader
                .text(&mut pids.directory, "pids.events")
                .and_then(|text| named_number(text, "max"));
        }
        if let Some(unified) = &mut self.unified
            && let Some(text) = reader.text(&mut unified.directory, "cgroup.stat")
        {
            out.descendants = named_number(text, "nr_descendants");
            out.dying_descendants = named_number(text, "nr_dying_descendants");
        }
        if let Some(files) = &mut self.huge_pages
            && let Err(fault) = files.read_huge_pages(reader.buffer, &mut out.huge_pages)
        {
            reader.faults.keep(fault);
        }
    }
}

impl Place {
    fn new(version: Version, root: &Path, path: &str) -> Self {
        let found = below(root, path);
        // What is read is named in the same memory.
        let mut directory = PathBuf::with_capacity(found.as_os_str().len() + FILE_NAME_BYTES);
        directory.push(found);
        Self { version, directory, root_bytes: root.as_os_str().len() }
    }

    /// Visits the directories above this one, up to the root.
    fn upwards(&self, above: &mut PathBuf, mut visit: impl FnMut(&mut PathBuf)) {
        above.clone_from(&self.directory);
        while above.as_os_str().len() > self.root_bytes && above.pop() {
            visit(above);
        }
    }
}

/// The first fault, so that the others do not cost their numbers.
struct Faults(Option<ReadError>);

impl Faults {
    fn keep(&mut self, fault: ReadError) {
        if !matches!(fault, ReadError::Vanished) {
            self.0.get_or_insert(fault);
        }
    }
}

struct Reader<'a> {
    buffer: &'a mut Vec<u8>,
    faults: &'a mut Faults,
}

impl Reader<'_> {
    /// The text of a file; `None` if it is not there.
    fn text(&mut self, directory: &mut PathBuf, file: &str) -> Option<&[u8]> {
        directory.push(file);
        let read = read_once(directory, self.buffer);
        directory.pop();
        match read {
            Ok(text) => text,
            Err(fault) => {
                self.faults.keep(fault);
                None
            }
        }
    }

    /// A number; `None` for none (`max` on v2, `-1` on v1).
    fn limit(&mut self, directory: &mut PathBuf, file: &str) -> Option<u64> {
        number(self.text(directory, file)?.trim_ascii())
    }

    fn list(&mut self, directory: &mut PathBuf, file: &str, out: &mut String) {
        out.clear();
        let text = self.text(directory, file).and_then(|text| str::from_utf8(text).ok());
        out.push_str(text.unwrap_or_default().trim());
    }

    fn cpu(&mut self, cpu: &mut Place, above: &mut PathBuf, out: &mut CpuSettings) {
        let Place { version, directory, .. } = cpu;
        (out.quota_microseconds, out.period_microseconds) = self.bandwidth(*version, directory);
        match version {
            Version::V1 => {
                out.burst_microseconds = self.limit(directory, "cpu.cfs_burst_us");
                out.shares = self.limit(directory, "cpu.shares");
            }
            Version::V2 => {
                out.burst_microseconds = self.limit(directory, "cpu.max.burst");
                out.weight = self.limit(directory, "cpu.weight");
            }
        }
        let own = out.quota_microseconds.zip(out.period_microseconds);
        out.tightest = own.and_then(|own| tighter(None, own));
        let version = *version;
        cpu.upwards(above, |directory| {
            if let (Some(quota), Some(period)) = self.bandwidth(version, directory) {
                out.tightest = tighter(out.tightest, (quota, period));
            }
        });
    }

    /// Quota and period in microseconds.
    fn bandwidth(
        &mut self,
        version: Version,
        directory: &mut PathBuf,
    ) -> (Option<u64>, Option<u64>) {
        match version {
            Version::V1 => (
                self.limit(directory, "cpu.cfs_quota_us"),
                self.limit(directory, "cpu.cfs_period_us"),
            ),
            Version::V2 => self.text(directory, "cpu.max").map_or((None, None), parse_cpu_max),
        }
    }

    fn memory_v1(&mut self, memory: &mut Place) -> MemorySettings {
        let directory = &mut memory.directory;
        let mut limit = |file| self.limit(directory, file).filter(|limit| *limit < V1_UNLIMITED);
        MemorySettings {
            max_bytes: limit("memory.limit_in_bytes"),
            soft_bytes: limit("memory.soft_limit_in_bytes"),
            memory_and_swap_max_bytes: limit("memory.memsw.limit_in_bytes"),
            memory_and_swap_peak_bytes: limit("memory.memsw.max_usage_in_bytes"),
            memory_and_swap_limit_hits: limit("memory.memsw.failcnt"),
            ..MemorySettings::default()
        }
    }

    fn memory_v2(&mut self, memory: &mut Place, above: &mut PathBuf) -> MemorySettings {
        let mut limit = |file| self.limit(&mut memory.directory, file);
        let mut out = MemorySettings {
            max_bytes: limit("memory.max"),
            high_bytes: limit("memory.high"),
            low_bytes: limit("memory.low"),
            min_bytes: limit("memory.min"),
            swap_max_bytes: limit("memory.swap.max"),
            swap_high_bytes: limit("memory.swap.high"),
            swap_peak_bytes: limit("memory.swap.peak"),
            ..MemorySettings::default()
        };
        out.tightest_max_bytes = out.max_bytes;
        memory.upwards(above, |directory| {
            let limits = [out.tightest_max_bytes, self.limit(directory, "memory.max")];
            out.tightest_max_bytes = limits.into_iter().flatten().min();
        });
        out
    }
}

/// Reads a `cpu.max`: quota, which may be `max`, and period in microseconds
/// (`kernel/sched/core.c`, `cpu_max_show`).
pub fn parse_cpu_max(text: &[u8]) -> (Option<u64>, Option<u64>) {
    let mut words = words(text);
    (words.next().and_then(number), words.next().and_then(number))
}

/// The smaller share of a CPU of two quotas with their periods.
fn tighter(one: Option<(u64, u64)>, other: (u64, u64)) -> Option<(u64, u64)> {
    let cross = |a: u64, b: u64| u128::from(a) * u128::from(b);
    match one {
        Some(one) if cross(one.0, other.1) <= cross(other.0, one.1) => Some(one),
        _ if other.1 == 0 => one,
        _ => Some(other),
    }
}

#[cfg(test)]
mod tests;
