//! Settings, limits and peaks: numbers that change seldom, or cost too much to be read in every
//! sample.

use serde::{Deserialize, Serialize};

mod files;
mod huge_pages;
mod plain;

pub use self::{files::SettingsFiles, huge_pages::HugePages};

/// Settings of a cgroup, some seconds old at most. `None` is unknown, and for a limit also none.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Settings {
    /// Settings of the CPU controllers.
    pub cpu: CpuSettings,
    /// CPU time by possible CPU (v1, `cpuacct.usage_percpu`).
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
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
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
    /// CPUs that are requested, such as `0-3,8`; empty if none are, or unknown.
    pub cpus: String,
    /// CPUs that are in effect.
    pub effective_cpus: String,
    /// Memory nodes that are requested.
    pub mems: String,
    /// Memory nodes that are in effect.
    pub effective_mems: String,
    /// Whether memory moves along when `mems` changes (v1; v2 always moves it).
    pub memory_migrate: Option<bool>,
}

/// Limits of memory and swap, and what swap has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
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

impl Clone for Settings {
    fn clone(&self) -> Self {
        let mut copy = Self::default();
        copy.clone_from(self);
        copy
    }

    /// Without allocation where there is room.
    fn clone_from(&mut self, source: &Self) {
        self.cpu.clone_from(&source.cpu);
        self.per_cpu_nanoseconds.clone_from(&source.per_cpu_nanoseconds);
        self.memory = source.memory;
        self.pids_limit = source.pids_limit;
        self.pids_peak = source.pids_peak;
        self.pids_limit_hits = source.pids_limit_hits;
        self.huge_pages.clone_from(&source.huge_pages);
        self.descendants = source.descendants;
        self.dying_descendants = source.dying_descendants;
    }
}

impl Clone for CpuSettings {
    fn clone(&self) -> Self {
        let mut copy = Self::default();
        copy.clone_from(self);
        copy
    }

    /// Without allocation where there is room.
    fn clone_from(&mut self, source: &Self) {
        self.quota_microseconds = source.quota_microseconds;
        self.period_microseconds = source.period_microseconds;
        self.burst_microseconds = source.burst_microseconds;
        self.tightest = source.tightest;
        self.weight = source.weight;
        self.shares = source.shares;
        self.cpus.clone_from(&source.cpus);
        self.effective_cpus.clone_from(&source.effective_cpus);
        self.mems.clone_from(&source.mems);
        self.effective_mems.clone_from(&source.effective_mems);
        self.memory_migrate = source.memory_migrate;
    }
}
