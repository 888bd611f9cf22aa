//! Memory and swap.

mod files;
mod metrics;
mod report;
mod source;
mod stat_decoder;

use serde::{Deserialize, Serialize};
use tare_parsers::{memory::MemoryEvents, numa_stat::NumaUsage, stat_table::StatTable};

pub(crate) use self::metrics::{METRICS, ORIGIN};
pub use self::{
    files::MemoryFiles,
    report::{MemoryInputs, limit_bytes, report, working_set},
    source::source,
    stat_decoder::StatDecoder,
};
use crate::clock::Moment;

/// A v1 limit from here on means that there is none. The kernel's greatest is `i64::MAX` rounded
/// down to whole pages (`include/linux/page_counter.h`, `PAGE_COUNTER_MAX`), and a page has 64 KiB
/// at most.
pub(crate) const V1_UNLIMITED: u64 = i64::MAX as u64 & !0xffff;

/// Memory of a cgroup with all its descendants.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct MemoryUsage {
    /// Everything charged to the cgroup now, page cache and kernel memory included.
    pub usage_bytes: Option<u64>,
    /// Swap in use; `None` if the kernel does not account for it.
    pub swap_bytes: Option<u64>,
    /// The highest usage so far. v2: since Linux 5.19.
    pub peak_bytes: Option<u64>,
    /// What happened at its limits.
    pub events: MemoryEvents,
    /// The part of it that was not in cgroups below it. v2, since Linux 5.2.
    pub events_local: MemoryEvents,
    /// When [`MemoryUsage::stat`] was read; `None` if it is as new as the sample, or unknown.
    pub stat_read_at: Option<Moment>,
    /// The usage at that time.
    pub stat_usage_bytes: Option<u64>,
    /// The whole `memory.stat`. Bytes and events; up to about 2 s old, because the kernel puts off
    /// adding up its per-CPU counts (`mm/memcontrol.c`, `mem_cgroup_flush_stats`).
    pub stat: StatTable,
    /// The parts on each NUMA node, read as seldom as settings. v2: since Linux 5.10.
    pub numa: Vec<NumaUsage>,
}

impl Clone for MemoryUsage {
    fn clone(&self) -> Self {
        let mut copy = Self::default();
        copy.clone_from(self);
        copy
    }

    /// Without allocation where there is room.
    fn clone_from(&mut self, source: &Self) {
        self.usage_bytes = source.usage_bytes;
        self.swap_bytes = source.swap_bytes;
        self.peak_bytes = source.peak_bytes;
        self.events = source.events;
        self.events_local = source.events_local;
        self.stat_read_at = source.stat_read_at;
        self.stat_usage_bytes = source.stat_usage_bytes;
        self.stat.clone_from(&source.stat);
        self.numa.clone_from(&source.numa);
    }
}

impl MemoryUsage {
    /// File pages that the kernel would take back first: what `docker stats` subtracts from usage.
    pub fn inactive_file_bytes(&self) -> Option<u64> {
        self.first_of(["total_inactive_file", "inactive_file"])
    }

    /// Anonymous memory. v1 leaves out shared memory, and so does v2's `anon`.
    pub fn rss_bytes(&self) -> Option<u64> {
        self.first_of(["total_rss", "rss"]).or_else(|| self.stat.get("anon"))
    }

    /// Page cache, shared memory included.
    pub fn cache_bytes(&self) -> Option<u64> {
        self.first_of(["total_cache", "cache"]).or_else(|| self.stat.get("file"))
    }

    /// Page cache that processes have mapped.
    pub fn mapped_bytes(&self) -> Option<u64> {
        self.first_of(["total_mapped_file", "mapped_file"]).or_else(|| self.stat.get("file_mapped"))
    }

    /// The smallest limit up to the root (v1 only).
    pub fn hierarchical_limit_bytes(&self) -> Option<u64> {
        self.stat.get("hierarchical_memory_limit").filter(|limit| *limit < V1_UNLIMITED)
    }

    fn first_of(&self, names: [&str; 2]) -> Option<u64> {
        names.iter().find_map(|name| self.stat.get(name))
    }
}
