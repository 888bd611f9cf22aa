//! Resources of a cgroup besides their usage: settings, limits, events, pressure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Time lost to waiting for a resource (`Documentation/accounting/psi.rst`, Linux 4.20). The kernel
/// adds it up every 2 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Pressure {
    /// Seconds in which some task waited.
    pub some_seconds: Option<f64>,
    /// Seconds in which no task could do anything but wait.
    pub full_seconds: Option<f64>,
    /// Share of the last 10 s in which some task waited.
    pub some_avg10_percent: Option<f64>,
    /// Share of the last 60 s in which some task waited.
    pub some_avg60_percent: Option<f64>,
    /// Share of the last 300 s in which some task waited.
    pub some_avg300_percent: Option<f64>,
    /// Share of the last 10 s in which no task could do anything but wait.
    pub full_avg10_percent: Option<f64>,
    /// Share of the last 60 s in which no task could do anything but wait.
    pub full_avg60_percent: Option<f64>,
    /// Share of the last 300 s in which no task could do anything but wait.
    pub full_avg300_percent: Option<f64>,
}

/// How often an event happened on all CPUs since Tare began to count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct PerfEventCount {
    /// How often; of `cpu-clock` and `task-clock` nanoseconds. Never falls.
    pub count: u64,
    /// Share of the container's running time in which a CPU had a counter for it. The count is
    /// scaled to the whole time. `None` if the container did not run.
    pub counted_ratio: Option<f64>,
}

/// The cgroup's own CPU settings. `None` is none or unknown.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct CpuSettings {
    /// CPU seconds that may be used in a period.
    pub quota_seconds: Option<f64>,
    /// The period.
    pub period_seconds: Option<f64>,
    /// CPU seconds that may be saved up for later periods.
    pub burst_limit_seconds: Option<f64>,
    /// Share of CPU time where it is short (v2, 100 is usual).
    pub weight: Option<u64>,
    /// The same on v1, where 1024 is usual.
    pub shares: Option<u64>,
    /// CPUs that it asks for, such as `0-3,8`.
    pub cpus: Option<String>,
    /// CPUs that it gets.
    pub effective_cpus: Option<String>,
    /// Memory nodes that it asks for.
    pub mems: Option<String>,
    /// Memory nodes that it gets.
    pub effective_mems: Option<String>,
    /// Whether memory moves along when `mems` changes (v1).
    pub memory_migrate: Option<bool>,
}

/// The cgroup's own limits of memory and swap. `None` is none or unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct MemoryLimits {
    /// Above it the kernel kills.
    pub max_bytes: Option<u64>,
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
    /// Limit of memory and swap together (v1).
    pub memory_and_swap_max_bytes: Option<u64>,
}

/// What happened at the limits of memory, as often as it happened. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct MemoryEvents {
    /// Memory was taken back although it was below `low` (v2).
    pub low: Option<u64>,
    /// Tasks were slowed down because usage was above `high` (v2).
    pub high: Option<u64>,
    /// Usage was about to go above the limit.
    pub max: Option<u64>,
    /// The limit was reached and nothing could be taken back (v2).
    pub oom: Option<u64>,
    /// Processes that the kernel killed because memory ran out.
    pub oom_kill: Option<u64>,
    /// Times that all processes of a cgroup were killed at once (v2).
    pub oom_group_kill: Option<u64>,
    /// Memory and swap together were at their limit (v1).
    pub memory_and_swap_max: Option<u64>,
}

/// Huge pages of one size. `None` is unknown, and for a limit also none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct HugePages {
    /// In use.
    pub usage_bytes: Option<u64>,
    /// The most that may be used.
    pub limit_bytes: Option<u64>,
    /// The most that was in use (v1).
    pub peak_bytes: Option<u64>,
    /// How often the limit refused a page.
    pub limit_hits: Option<u64>,
}

/// Memory of a container on one NUMA node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct NumaMemory {
    /// Anonymous memory.
    pub anon_bytes: Option<u64>,
    /// Page cache.
    pub file_bytes: Option<u64>,
    /// Memory that cannot be reclaimed, such as locked memory.
    pub unevictable_bytes: Option<u64>,
}

/// The file system that takes what a container writes to its root: others write there too. Some
/// seconds old at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct RootFilesystem {
    /// What is mounted, such as `/dev/sda1`.
    pub device: String,
    /// Its type, such as `ext4`; not `overlay`, but what is below.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its size.
    pub size_bytes: u64,
    /// What is free, also what only root may use.
    pub free_bytes: u64,
    /// Inodes; 0 where there is no limit.
    pub inodes: u64,
    /// Inodes that are free.
    pub inodes_free: u64,
}

/// What a container has written to its root, apart from its image and volumes, as its runtime has
/// counted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct WritableLayer {
    /// When the runtime counted it.
    pub read_at: Timestamp,
    /// The space that it takes.
    pub used_bytes: u64,
    /// The inodes that it takes.
    #[serde(default)]
    pub inodes_used: Option<u64>,
}

/// The cgroup as a part of its tree. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Tree {
    /// Whether a process is in it or below it.
    pub populated: Option<bool>,
    /// Whether all its processes are stopped.
    pub frozen: Option<bool>,
    /// Cgroups below it.
    pub descendants: Option<u64>,
    /// Removed cgroups below it of which something is still charged.
    pub dying_descendants: Option<u64>,
}
