//! Settings that are plain numbers in the kernel: what a walk has of them.

use crate::{
    families::{
        settings::{CpuSettings, MemorySettings, Settings},
        walked::{CgroupRecords, Found},
    },
    kernel::walk::{CpuLimits, MemoryLimits, Record, Tasks},
};

/// Plain settings of a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PlainSettings {
    cpu: PlainCpuSettings,
    memory: MemorySettings,
    pids: [Option<u64>; 3],
    descendants: [Option<u64>; 2],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PlainCpuSettings {
    limits: CpuLimits,
    tightest: Option<(u64, u64)>,
}

impl PlainSettings {
    /// Those of a record; `None` if files have to be read.
    pub(super) fn of(records: &CgroupRecords<'_>) -> Option<Self> {
        let mut plain = Self::default();
        // The root has no files with settings on v2, and files that say something else on v1.
        let below_root = |found: Found<'_>| match found {
            Found::NotWalked => None,
            Found::Absent => Some(false),
            Found::Record(record) => (record.level() > 0).then_some(true),
        };
        if below_root(records.cpu())?
            && let Found::Record(record) = records.cpu()
        {
            plain.cpu = PlainCpuSettings::of(&record);
        }
        if below_root(records.memory())?
            && let Found::Record(record) = records.memory()
        {
            plain.memory = memory(&record);
        }
        if below_root(records.pids())?
            && let Found::Record(record) = records.pids()
        {
            let Tasks { limit, peak, limit_hits, .. } = record.tasks().unwrap_or_default();
            plain.pids = [limit, peak, limit_hits];
        }
        if let Found::Record(record) = records.unified()
            && let Some((alive, dying)) = record.descendants()
        {
            plain.descendants = [Some(alive), Some(dying)];
        }
        Some(plain)
    }

    /// Overwrites the plain settings among others.
    pub(super) fn write_to(&self, out: &mut Settings) {
        let CpuLimits {
            quota_microseconds,
            period_microseconds,
            burst_microseconds,
            weight,
            shares,
        } = self.cpu.limits;
        let cpu = &mut out.cpu;
        cpu.quota_microseconds = quota_microseconds;
        cpu.period_microseconds = period_microseconds;
        cpu.burst_microseconds = burst_microseconds;
        (cpu.weight, cpu.shares) = (weight, shares);
        cpu.tightest = self.cpu.tightest;
        out.memory = self.memory;
        [out.pids_limit, out.pids_peak, out.pids_limit_hits] = self.pids;
        [out.descendants, out.dying_descendants] = self.descendants;
    }
}

impl From<&Settings> for PlainSettings {
    fn from(all: &Settings) -> Self {
        let CpuSettings {
            quota_microseconds,
            period_microseconds,
            burst_microseconds,
            tightest,
            weight,
            shares,
            ..
        } = all.cpu;
        let limits = CpuLimits {
            quota_microseconds,
            period_microseconds,
            burst_microseconds,
            weight,
            shares,
        };
        Self {
            cpu: PlainCpuSettings { limits, tightest },
            memory: all.memory,
            pids: [all.pids_limit, all.pids_peak, all.pids_limit_hits],
            descendants: [all.descendants, all.dying_descendants],
        }
    }
}

impl PlainCpuSettings {
    fn of(record: &Record<'_>) -> Self {
        let limits = record.cpu_limits().unwrap_or_default();
        let quota = |limits: CpuLimits| limits.quota_microseconds.zip(limits.period_microseconds);
        let all = upwards(*record).filter_map(|record| record.cpu_limits().and_then(quota));
        Self { limits, tightest: all.fold(None, tighter) }
    }
}

fn memory(record: &Record<'_>) -> MemorySettings {
    let found = record.memory_limits().unwrap_or_default();
    let MemoryLimits { max_bytes, high_bytes, low_bytes, min_bytes, soft_bytes, .. } = found;
    let tightest = || upwards(*record).filter_map(|record| record.memory_limits()?.max_bytes).min();
    MemorySettings {
        max_bytes,
        tightest_max_bytes: if record.is_unified() { tightest() } else { None },
        high_bytes,
        low_bytes,
        min_bytes,
        soft_bytes,
        swap_max_bytes: found.swap_max_bytes,
        swap_high_bytes: found.swap_high_bytes,
        swap_peak_bytes: found.swap_peak_bytes,
        memory_and_swap_max_bytes: found.memory_and_swap_max_bytes,
        memory_and_swap_peak_bytes: found.memory_and_swap_peak_bytes,
        memory_and_swap_limit_hits: found.memory_and_swap_limit_hits,
    }
}

/// A cgroup and those above it.
fn upwards(record: Record<'_>) -> impl Iterator<Item = Record<'_>> {
    std::iter::successors(Some(record), Record::parent)
}

/// The smaller share of a CPU of two quotas with their periods.
pub(super) fn tighter(one: Option<(u64, u64)>, other: (u64, u64)) -> Option<(u64, u64)> {
    let cross = |a: u64, b: u64| u128::from(a) * u128::from(b);
    match one {
        Some(one) if cross(one.0, other.1) <= cross(other.0, one.1) => Some(one),
        _ if other.1 == 0 => one,
        _ => Some(other),
    }
}
