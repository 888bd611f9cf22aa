//! From readings of memory to the contract.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tare_model::{HugePages, Memory, MemoryEvents, MemoryLimits, NumaMemory, OomKill};
use tare_parsers::{memory, numa_stat::NumaUsage, pressure::Pressure};

use crate::families::{
    lifecycle,
    memory::MemoryUsage,
    pressure,
    settings::{MemorySettings, Settings},
};

/// What memory's part of a report is made of.
#[derive(Clone, Copy, Debug)]
pub struct MemoryInputs<'a> {
    /// The last reading.
    pub usage: &'a MemoryUsage,
    /// Limits and peaks.
    pub settings: &'a Settings,
    /// Time lost to waiting for memory.
    pub pressure: Option<Pressure>,
    /// The last process that the kernel killed because memory ran out.
    pub oom_kill: Option<&'a lifecycle::OomKill>,
    /// All memory of the host.
    pub host_bytes: Option<u64>,
    /// When the sample was taken.
    pub sampled_at: Timestamp,
}

/// Memory and swap of a cgroup.
pub fn report(inputs: MemoryInputs<'_>) -> Memory {
    let MemoryInputs { usage, settings, host_bytes, .. } = inputs;
    let limits = &settings.memory;
    let (working_set, limit) = (working_set(usage), limit_bytes(usage, limits, host_bytes));
    Memory {
        usage_bytes: usage.usage_bytes,
        working_set_bytes: working_set,
        limit_bytes: limit,
        percent: working_set
            .zip(limit.filter(|limit| *limit > 0))
            .map(|(used, limit)| used as f64 / limit as f64 * 100.0),
        rss_bytes: usage.rss_bytes(),
        cache_bytes: usage.cache_bytes(),
        swap_bytes: usage.swap_bytes,
        mapped_bytes: usage.mapped_bytes(),
        peak_bytes: usage.peak_bytes,
        // Peaks are read seldom: a higher usage since then is one, too.
        swap_peak_bytes: limits.swap_peak_bytes.map(|p| p.max(usage.swap_bytes.unwrap_or(0))),
        memory_and_swap_peak_bytes: limits.memory_and_swap_peak_bytes,
        oom_kills: usage.events.oom_kill,
        last_oom_kill: inputs.oom_kill.map(|kill| OomKill {
            at: kill.at,
            pid: kill.pid,
            command: kill.command.clone(),
        }),
        under_oom: usage.events.under_oom,
        events: events(usage, settings),
        events_local: local_events(&usage.events_local),
        stat_at: stat_at(usage, inputs.sampled_at),
        limits: self::limits(limits),
        huge_pages: huge_pages(settings),
        numa_nodes: usage.numa.iter().map(numa_node).collect(),
        pressure: inputs.pressure.map(pressure::report),
        stat: usage.stat.clone(),
    }
}

/// When `memory.stat` was read.
fn stat_at(usage: &MemoryUsage, sampled_at: Timestamp) -> Option<Timestamp> {
    let with_sample = (!usage.stat.is_empty()).then_some(sampled_at);
    usage.stat_read_at.map(|at| at.time).or(with_sample)
}

/// The tightest limit; without one, or with one above what there is, the host's memory.
pub fn limit_bytes(
    usage: &MemoryUsage,
    limits: &MemorySettings,
    host_bytes: Option<u64>,
) -> Option<u64> {
    let own = [limits.max_bytes, limits.tightest_max_bytes, usage.hierarchical_limit_bytes()];
    match (own.into_iter().flatten().min(), host_bytes) {
        (Some(limit), Some(host)) => Some(limit.min(host)),
        (limit, host) => limit.or_else(|| host.filter(|_| usage.usage_bytes.is_some())),
    }
}

/// As `docker stats`: usage without the inactive part of the page cache, unless that part is
/// larger. Both are of the time when `memory.stat` was read; unknown if it could not be read.
pub fn working_set(usage: &MemoryUsage) -> Option<u64> {
    if usage.stat.is_empty() {
        return None;
    }
    let inactive = usage.inactive_file_bytes();
    let subtract = |all: u64| inactive.and_then(|inactive| all.checked_sub(inactive));
    let all = usage.stat_usage_bytes.or(usage.usage_bytes);
    all.map(|all| subtract(all).filter(|rest| *rest > 0).unwrap_or(all))
}

fn limits(settings: &MemorySettings) -> MemoryLimits {
    MemoryLimits {
        max_bytes: settings.max_bytes,
        high_bytes: settings.high_bytes,
        low_bytes: settings.low_bytes,
        min_bytes: settings.min_bytes,
        soft_bytes: settings.soft_bytes,
        swap_max_bytes: settings.swap_max_bytes,
        swap_high_bytes: settings.swap_high_bytes,
        memory_and_swap_max_bytes: settings.memory_and_swap_max_bytes,
    }
}

fn events(usage: &MemoryUsage, settings: &Settings) -> MemoryEvents {
    MemoryEvents {
        memory_and_swap_max: settings.memory.memory_and_swap_limit_hits,
        ..local_events(&usage.events)
    }
}

fn local_events(events: &memory::MemoryEvents) -> MemoryEvents {
    MemoryEvents {
        low: events.low,
        high: events.high,
        max: events.max,
        oom: events.oom,
        oom_kill: events.oom_kill,
        oom_group_kill: events.oom_group_kill,
        memory_and_swap_max: None,
    }
}

fn numa_node(usage: &NumaUsage) -> (String, NumaMemory) {
    let NumaUsage { node, anon_bytes, file_bytes, unevictable_bytes } = *usage;
    (node.to_string(), NumaMemory { anon_bytes, file_bytes, unevictable_bytes })
}

fn huge_pages(settings: &Settings) -> BTreeMap<String, HugePages> {
    let sizes = settings.huge_pages.iter().map(|pages| {
        let super::super::settings::HugePages {
            size,
            usage_bytes,
            limit_bytes,
            peak_bytes,
            limit_hits,
        } = pages;
        let pages = HugePages {
            usage_bytes: *usage_bytes,
            limit_bytes: *limit_bytes,
            peak_bytes: *peak_bytes,
            limit_hits: *limit_hits,
        };
        ((**size).to_owned(), pages)
    });
    sizes.collect()
}
