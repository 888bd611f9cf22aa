//! A record → numbers in the units of the families. `None` is unknown, and of a limit also none.

use std::sync::atomic::{AtomicU64, Ordering};

use tare_ebpf::{
    ABSENT, hole_index,
    walk_record::{Holes, bandwidth, base, cpu, freezer, memory, pids, pressure},
};
use tare_parsers::memory::MemoryEvents;

use crate::kernel::walk::{
    Family,
    pressure::{Averages, Clock},
    records::Tree,
    times,
};

/// What a walk found of one cgroup.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    pub(super) words: &'a [AtomicU64],
    pub(super) tree: &'a Tree,
}

/// CPU time of a cgroup with its descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// All of it, exact.
    pub usage_nanoseconds: u64,
    /// As ticks saw it in user mode: only its ratio to the next one means something.
    pub user_by_ticks: u64,
    /// As ticks saw it in the kernel.
    pub system_by_ticks: u64,
    /// Time in user mode that `cpu.stat`, on v1 `cpuacct.stat`, has said last, in nanoseconds.
    pub shown_user: u64,
    /// Time in the kernel that it has said last, in nanoseconds.
    pub shown_system: u64,
}

impl CpuTime {
    /// The times in user mode and in the kernel, in nanoseconds, which add up to the usage: what
    /// `cpu.stat`, on v1 `cpuacct.stat`, would show if it was read now.
    ///
    /// The kernel divides the usage anew whenever the file is read, by the ticks so far, and keeps
    /// only what it has shown from falling. The walk cannot make it note what it has found, so the
    /// file may say less of one of them afterwards.
    pub fn split(&self) -> (u64, u64) {
        let shown = (self.shown_user, self.shown_system);
        times::split(self.usage_nanoseconds, (self.user_by_ticks, self.system_by_ticks), shown)
    }

    /// The same, no less than these ones before.
    pub fn split_after(&self, before: (u64, u64)) -> (u64, u64) {
        times::no_less(self.usage_nanoseconds, self.split(), before)
    }
}

/// Throttling by the CPU limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Periods in which tasks could run.
    pub periods: u64,
    /// Periods in which the limit was reached.
    pub throttled_periods: u64,
    /// For how long tasks were kept from running, summed over the CPUs.
    pub throttled_nanoseconds: u64,
    /// Periods in which what had been saved up was used. Since Linux 5.16.
    pub bursts: Option<u64>,
    /// The time that was used so.
    pub burst_nanoseconds: Option<u64>,
}

/// Limit and share of CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuLimits {
    /// CPU time that may be used in a period.
    pub quota_microseconds: Option<u64>,
    /// The period.
    pub period_microseconds: Option<u64>,
    /// CPU time that may be saved up.
    pub burst_microseconds: Option<u64>,
    /// `cpu.weight`, of cgroup2.
    pub weight: Option<u64>,
    /// `cpu.shares`, of v1.
    pub shares: Option<u64>,
}

/// Memory of a cgroup with its descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// In use.
    pub usage_bytes: u64,
    /// The most that was in use.
    pub peak_bytes: u64,
    /// Swap in use, of cgroup2.
    pub swap_bytes: Option<u64>,
}

/// Limits of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct MemoryLimits {
    pub max_bytes: Option<u64>,
    pub high_bytes: Option<u64>,
    pub low_bytes: Option<u64>,
    pub min_bytes: Option<u64>,
    pub soft_bytes: Option<u64>,
    pub swap_max_bytes: Option<u64>,
    pub swap_high_bytes: Option<u64>,
    pub swap_peak_bytes: Option<u64>,
    pub memory_and_swap_max_bytes: Option<u64>,
    pub memory_and_swap_peak_bytes: Option<u64>,
    pub memory_and_swap_limit_hits: Option<u64>,
}

/// Tasks of a cgroup with its descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tasks {
    /// There are.
    pub current: u64,
    /// There may be.
    pub limit: Option<u64>,
    /// The most that there were. Since Linux 6.6.
    pub peak: Option<u64>,
    /// Forks that failed for the limit, as `pids.events` counts them.
    pub limit_hits: Option<u64>,
}

/// What the freezer of v1 has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freezing {
    /// Tasks may run.
    Thawed,
    /// Tasks are being stopped. Whether all have stopped is found out when `freezer.state` is read,
    /// and not before (`kernel/cgroup/legacy_freezer.c`, `update_if_frozen`).
    Freezing,
    /// All had stopped when `freezer.state` was read last.
    Frozen,
}

/// Time lost to waiting, and shares of the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// Since the cgroup was made. The kernel adds it up every 2 s at the latest.
    pub total_microseconds: u64,
    /// Over 10, 60 and 300 s, in hundredths of a percent; `None` if this kernel's clock of
    /// pressure cannot be read.
    pub averages: Option<[u64; 3]>,
}

/// Pressure of one resource: some tasks waited, all tasks waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Pressure {
    pub some: Stall,
    pub full: Stall,
}

/// Pressures of a cgroup with its descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Pressures {
    pub io: Pressure,
    pub memory: Pressure,
    pub cpu: Pressure,
}

/// A quota that is none: `RUNTIME_INF` (`kernel/sched/sched.h`).
const NO_QUOTA: u64 = u64::MAX;
/// Shares are kept with so many bits more (`include/linux/sched.h`, `SCHED_FIXEDPOINT_SHIFT`).
const SHARES_SHIFT: u32 = 10;
/// The fewest shares (`kernel/sched/sched.h`, `scale_load_down`).
const SHARES_MIN: u64 = 2;

impl<'a> Record<'a> {
    /// Inode of the cgroup's directory: its id in the hierarchy.
    pub fn id(&self) -> u64 {
        self.word(base::ID)
    }

    /// A number that no other cgroup of the host has had, in any hierarchy; later ones are larger.
    pub fn serial(&self) -> u64 {
        self.word(base::SERIAL)
    }

    /// Id of the cgroup above; 0 for the root.
    pub fn parent_id(&self) -> u64 {
        self.word(base::PARENT_ID)
    }

    /// How many cgroups are above.
    pub fn level(&self) -> u32 {
        (self.word(base::FLAGS) >> 32) as u32
    }

    /// The cgroup above, if the walk has it.
    pub fn parent(&self) -> Option<Self> {
        self.tree.find_anywhere(self.parent_id())
    }

    /// Whether it is of cgroup2.
    pub fn is_unified(&self) -> bool {
        self.tree.plan().unified
    }

    /// The lowest limits of memory, and of memory and swap, of this cgroup and those above it, as
    /// `memory.stat` of v1 shows them (`mm/memcontrol-v1.c`, `memcg1_stat_format`), in bytes. The
    /// second is `None` where swap is not counted. `None` if a limit is not in the records.
    pub fn hierarchical_limits(&self) -> Option<(u64, Option<u64>)> {
        self.tree.plan().family(Family::Settings).as_ref().ok()?;
        // `PAGE_COUNTER_MAX`, `include/linux/page_counter.h`.
        let page = self.tree.page_bytes();
        let none = i64::MAX as u64 / page * page;
        let (mut memory, mut both) = (none, none);
        for record in std::iter::successors(Some(*self), Self::parent) {
            let limits = record.memory_limits().unwrap_or_default();
            memory = memory.min(limits.max_bytes.unwrap_or(none));
            both = both.min(limits.memory_and_swap_max_bytes.unwrap_or(none));
        }
        Some((memory, self.tree.counts_swap().then_some(both)))
    }

    /// Whether a task is in the cgroup or below it. Only cgroup2 has it.
    pub fn populated(&self) -> Option<bool> {
        let known = self.tree.plan().unified && self.has(hole_index!(populated_csets));
        known.then(|| self.flag(base::POPULATED))
    }

    /// Whether all its tasks are stopped, by the freezer of cgroup2.
    pub fn frozen(&self) -> Option<bool> {
        self.has(hole_index!(frozen_bit)).then(|| self.flag(base::FROZEN))
    }

    /// What the freezer of v1 has done.
    pub fn freezing(&self) -> Option<Freezing> {
        // `enum freezer_state_flags`, `kernel/cgroup/legacy_freezer.c`.
        const FREEZING: u64 = 2 | 4;
        const FROZEN: u64 = 8;
        let section = self.section(self.holes().at_freezer, base::HAS_FREEZER)?;
        Some(match section.word(freezer::STATE) {
            state if state & FREEZING == 0 => Freezing::Thawed,
            state if state & FROZEN == 0 => Freezing::Freezing,
            _ => Freezing::Frozen,
        })
    }

    /// Cgroups below, and removed ones of which something is still charged.
    pub fn descendants(&self) -> Option<(u64, u64)> {
        let word = self.has(hole_index!(descendants)).then(|| self.word(base::DESCENDANTS))?;
        Some((word & u64::from(u32::MAX), word >> 32))
    }

    /// CPU time.
    pub fn cpu(&self) -> Option<CpuTime> {
        let is_legacy = !self.is_unified();
        let bit = if is_legacy { base::HAS_CPUACCT } else { 0 };
        let section = self.section(self.holes().at_cpu, bit)?;
        // That of cgroup2's root is not kept here (`kernel/cgroup/rstat.c`, `root_cgroup_cputime`).
        (is_legacy || self.level() > 0).then(|| CpuTime {
            usage_nanoseconds: section.word(cpu::USAGE),
            user_by_ticks: section.word(cpu::USER),
            system_by_ticks: section.word(cpu::SYSTEM),
            shown_user: section.word(cpu::SHOWN_USER),
            shown_system: section.word(cpu::SHOWN_SYSTEM),
        })
    }

    /// Throttling by the CPU limit.
    pub fn throttling(&self) -> Option<Throttling> {
        let section = self.section(self.holes().at_bandwidth, base::HAS_BANDWIDTH)?;
        Some(Throttling {
            periods: section.word(bandwidth::PERIODS),
            throttled_periods: section.word(bandwidth::THROTTLED),
            throttled_nanoseconds: section.word(bandwidth::THROTTLED_TIME),
            bursts: self.known(section, hole_index!(bursts), bandwidth::BURSTS),
            burst_nanoseconds: self.known(section, hole_index!(burst_time), bandwidth::BURST_TIME),
        })
    }

    /// Limit and share of CPU time.
    pub fn cpu_limits(&self) -> Option<CpuLimits> {
        const NANOSECONDS: u64 = 1000;
        self.tree.plan().family(Family::Settings).as_ref().ok()?;
        let section = self.section(self.holes().at_bandwidth, base::HAS_BANDWIDTH)?;
        let quota = section.word(bandwidth::QUOTA);
        let shares = match section.word(bandwidth::SHARES) >> SHARES_SHIFT {
            0 if section.word(bandwidth::SHARES) == 0 => 0,
            shares => shares.max(SHARES_MIN),
        };
        let unified = self.tree.plan().unified;
        let burst = self.known(section, hole_index!(burst), bandwidth::BURST);
        Some(CpuLimits {
            quota_microseconds: (quota != NO_QUOTA).then_some(quota / NANOSECONDS),
            period_microseconds: Some(section.word(bandwidth::PERIOD) / NANOSECONDS),
            burst_microseconds: burst.map(|burst| burst / NANOSECONDS),
            // `sched_weight_to_cgroup`, `kernel/sched/core.c`: rounded to the closest.
            weight: unified.then_some((shares * 100 + 512) / 1024),
            shares: (!unified).then_some(shares),
        })
    }

    /// Memory.
    pub fn memory(&self) -> Option<Memory> {
        let section = self.memory_section()?;
        let swap = self.tree.plan().unified && self.tree.counts_swap();
        Some(Memory {
            usage_bytes: self.bytes(section.word(memory::USAGE)),
            peak_bytes: self.bytes(section.word(memory::PEAK)),
            swap_bytes: swap.then(|| self.bytes(section.word(memory::SWAP_USAGE))),
        })
    }

    /// Limits of memory.
    pub fn memory_limits(&self) -> Option<MemoryLimits> {
        self.tree.plan().family(Family::Settings).as_ref().ok()?;
        let section = self.memory_section()?;
        let limit = |hole, word| {
            let pages = self.known(section, hole, word)?;
            // `PAGE_COUNTER_MAX`, `include/linux/page_counter.h`.
            (pages < i64::MAX as u64 / self.tree.page_bytes()).then(|| self.bytes(pages))
        };
        let mut limits = MemoryLimits {
            max_bytes: limit(hole_index!(memory_max), memory::MAX),
            ..MemoryLimits::default()
        };
        let swap = self.tree.counts_swap();
        if self.tree.plan().unified {
            limits.high_bytes = limit(hole_index!(memory_high), memory::HIGH);
            limits.low_bytes = limit(hole_index!(memory_low), memory::LOW);
            limits.min_bytes = limit(hole_index!(memory_min), memory::MIN);
            if swap {
                limits.swap_max_bytes = limit(hole_index!(swap_max), memory::SWAP_MAX);
                limits.swap_high_bytes = limit(hole_index!(swap_high), memory::SWAP_HIGH);
                limits.swap_peak_bytes = limit(hole_index!(swap_peak), memory::SWAP_PEAK);
            }
        } else {
            limits.soft_bytes = limit(hole_index!(memory_soft), memory::SOFT);
            if swap {
                limits.memory_and_swap_max_bytes = limit(hole_index!(swap_max), memory::SWAP_MAX);
                limits.memory_and_swap_peak_bytes =
                    limit(hole_index!(swap_peak), memory::SWAP_PEAK);
                limits.memory_and_swap_limit_hits =
                    self.known(section, hole_index!(swap_failures), memory::SWAP_FAILURES);
            }
        }
        Some(limits)
    }

    /// What happened at the limits of memory. On v1 `max` is `memory.failcnt` and `oom_kill` leaves
    /// out descendants.
    pub fn memory_events(&self) -> Option<MemoryEvents> {
        self.tree.plan().family(Family::MemoryEvents).as_ref().ok()?;
        let section = self.memory_section()?;
        let event = |hole, word| self.known(section, hole, word);
        if !self.tree.plan().unified {
            return Some(MemoryEvents {
                max: event(hole_index!(memory_failures), memory::FAILURES),
                oom_kill: event(hole_index!(local_oom_kill), memory::LOCAL_OOM_KILL),
                under_oom: Some(section.word(memory::UNDER_OOM) != 0),
                ..MemoryEvents::default()
            });
        }
        Some(MemoryEvents {
            low: event(hole_index!(event_low), memory::EVENT_LOW),
            high: event(hole_index!(event_high), memory::EVENT_HIGH),
            max: event(hole_index!(event_max), memory::EVENT_MAX),
            oom: event(hole_index!(event_oom), memory::EVENT_OOM),
            oom_kill: event(hole_index!(event_oom_kill), memory::EVENT_OOM_KILL),
            oom_group_kill: event(hole_index!(event_oom_group_kill), memory::EVENT_OOM_GROUP_KILL),
            under_oom: None,
        })
    }

    /// The part of these events that was not in cgroups below. Only cgroup2 has it.
    pub fn memory_events_local(&self) -> Option<MemoryEvents> {
        self.tree.plan().family(Family::MemoryEvents).as_ref().ok()?;
        let section = self.memory_section().filter(|_| self.tree.plan().unified)?;
        let event = |hole, word| self.known(section, hole, word);
        Some(MemoryEvents {
            low: event(hole_index!(local_low), memory::LOCAL_LOW),
            high: event(hole_index!(local_high), memory::LOCAL_HIGH),
            max: event(hole_index!(local_max), memory::LOCAL_MAX),
            oom: event(hole_index!(local_oom), memory::LOCAL_OOM),
            oom_kill: event(hole_index!(local_oom_kill), memory::LOCAL_OOM_KILL),
            oom_group_kill: event(hole_index!(local_oom_group_kill), memory::LOCAL_OOM_GROUP_KILL),
            under_oom: None,
        })
    }

    /// The words that `memory.stat` is made from, for [`crate::kernel::walk::StatWords`].
    pub fn stat(&self) -> Option<&'a [AtomicU64]> {
        let section = self.section(self.holes().at_stat, base::HAS_STAT)?;
        section.0.get(..self.tree.plan().stat_words)
    }

    /// Tasks.
    pub fn tasks(&self) -> Option<Tasks> {
        /// `PIDS_MAX` is one more than the most there can be (`kernel/cgroup/pids.c`): on 64 bits
        /// 4 Mi.
        const NO_LIMIT: u64 = 4 << 20;
        let section = self.section(self.holes().at_pids, base::HAS_PIDS)?;
        let limit = section.word(pids::LIMIT);
        let limit_hits = if self.tree.pids_count_locally() {
            self.known(section, hole_index!(pids_fork_failures), pids::FORK_FAILURES)
        } else {
            self.known(section, hole_index!(pids_max_hits), pids::MAX_HITS)
        };
        Some(Tasks {
            current: section.word(pids::CURRENT),
            limit: (limit <= NO_LIMIT).then_some(limit),
            peak: self.known(section, hole_index!(pids_peak), pids::PEAK),
            limit_hits,
        })
    }

    /// Pressures, of cgroup2. `None` also where the kernel does not follow the cgroup's.
    pub fn pressures(&self) -> Option<Pressures> {
        let section = self.section(self.holes().at_pressure, base::HAS_PRESSURE)?;
        let clock = self.tree.clock();
        Some(Pressures {
            io: stalls(section, clock, 0),
            memory: stalls(section, clock, 2),
            cpu: stalls(section, clock, 4),
        })
    }

    /// Whether a word could not be read.
    pub(super) fn has_failed(&self) -> bool {
        self.flag(base::FAILED)
    }

    fn memory_section(&self) -> Option<Section<'a>> {
        self.section(self.holes().at_memory, base::HAS_MEMORY)
    }

    fn bytes(&self, pages: u64) -> u64 {
        pages.saturating_mul(self.tree.page_bytes())
    }

    fn holes(&self) -> &'a Holes {
        &self.tree.plan().holes
    }

    fn has(&self, hole: usize) -> bool {
        self.tree.plan().has(hole)
    }

    /// A word whose field this kernel may not have.
    fn known(&self, section: Section<'_>, hole: usize, word: usize) -> Option<u64> {
        self.has(hole).then(|| section.word(word))
    }

    fn flag(&self, bit: u64) -> bool {
        self.word(base::FLAGS) & bit != 0
    }

    fn word(&self, index: usize) -> u64 {
        Section(self.words).word(index)
    }

    /// A section that this cgroup has.
    pub(super) fn section(&self, at: u32, bit: u64) -> Option<Section<'a>> {
        let there = at != ABSENT && (bit == 0 || self.flag(bit));
        let words = there.then(|| self.words.get(at as usize / size_of::<u64>()..))?;
        words.map(Section)
    }
}

/// The words from a section's start on.
#[derive(Clone, Copy)]
pub(super) struct Section<'a>(&'a [AtomicU64]);

impl Section<'_> {
    pub(super) fn word(self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

/// The pressure of which this kind and the next one are.
fn stalls(section: Section<'_>, clock: Option<Clock>, kind: usize) -> Pressure {
    let stall = |kind: usize| {
        let average = pressure::AVERAGES + kind * 3;
        Stall {
            total_microseconds: section.word(pressure::TOTALS + kind) / 1000,
            averages: clock.map(|clock| {
                let kept = Averages(std::array::from_fn(|i| section.word(average + i)));
                kept.at(clock, section.word(pressure::NEXT_UPDATE)).hundredths()
            }),
        }
    };
    Pressure { some: stall(kind), full: stall(kind + 1) }
}
