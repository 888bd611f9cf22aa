//! A cgroup → the words of its record.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tare_ebpf::walk_record::{bandwidth, base, cpu, freezer, memory, per_cpu, pids, pressure};

use super::rdonly_cast;
use crate::patched::{ABSENT, Pointer, at, far, first_entry, follow, get, hole, load, map, put};

/// The half of the flags that is the level.
const LEVEL: u64 = !0 << 32;

/// Writes the fields of a kernel's struct that it has into words of a record.
macro_rules! copy {
    ($record:expr, $failed:ident, $from:expr; $($word:expr => $hole:ident: $type:ty,)*) => {$(
        if hole!($hole) != ABSENT {
            let value = far::<CAST, $type>($from, hole!($hole), &mut $failed);
            put($record, $word, value as u64);
        }
    )*};
}

#[inline(always)]
pub(super) fn collect<const CAST: bool>(cgroup: Pointer, record: *mut u64) {
    identify(cgroup, record);
    let mut failed = 0;
    if hole!(descendants) != ABSENT {
        let alive = u64::from(load::<u32>(cgroup, hole!(descendants)));
        let dying = u64::from(load::<u32>(cgroup, hole!(dying_descendants)));
        put(record, base::DESCENDANTS, dying << 32 | alive);
    }
    if hole!(populated_csets) != ABSENT {
        let tasks = load::<u32>(cgroup, hole!(populated_csets))
            | load::<u32>(cgroup, hole!(populated_domains))
            | load::<u32>(cgroup, hole!(populated_threaded));
        if tasks != 0 {
            flag(record, base::POPULATED);
        }
    }
    if hole!(frozen_bit) != ABSENT
        && load::<u64>(cgroup, hole!(cgroup_flags)) >> hole!(frozen_bit) & 1 != 0
    {
        flag(record, base::FROZEN);
    }
    if hole!(at_cpu) != ABSENT && hole!(cpus) != ABSENT {
        let css = follow(cgroup, hole!(subsys_cpuacct));
        if !css.is_null() {
            let section = at(record, hole!(at_cpu));
            add_cpus::<CAST>(cast::<CAST>(css, hole!(type_cpuacct)), section, &mut failed);
            put(section, cpu::SHOWN_USER, load(cgroup, hole!(cpu_shown_user)));
            put(section, cpu::SHOWN_SYSTEM, load(cgroup, hole!(cpu_shown_system)));
            flag(record, base::HAS_CPUACCT);
        }
    }
    if hole!(at_cpu) != ABSENT && hole!(cpus) == ABSENT {
        let section = at(record, hole!(at_cpu));
        put(section, cpu::USAGE, load(cgroup, hole!(cpu_usage)));
        put(section, cpu::USER, load(cgroup, hole!(cpu_user)));
        put(section, cpu::SYSTEM, load(cgroup, hole!(cpu_system)));
        put(section, cpu::SHOWN_USER, load(cgroup, hole!(cpu_shown_user)));
        put(section, cpu::SHOWN_SYSTEM, load(cgroup, hole!(cpu_shown_system)));
    }
    if hole!(at_bandwidth) != ABSENT {
        let css = follow(cgroup, hole!(subsys_cpu));
        if !css.is_null() {
            flag(record, base::HAS_BANDWIDTH);
            let group = cast::<CAST>(css, hole!(type_task_group));
            copy! { at(record, hole!(at_bandwidth)), failed, group;
                bandwidth::PERIODS => periods: u32,
                bandwidth::THROTTLED => throttled: u32,
                bandwidth::THROTTLED_TIME => throttled_time: u64,
                bandwidth::BURSTS => bursts: u32,
                bandwidth::BURST_TIME => burst_time: u64,
                bandwidth::QUOTA => quota: u64,
                bandwidth::PERIOD => period: u64,
                bandwidth::BURST => burst: u64,
                bandwidth::SHARES => shares: u64,
            }
        }
    }
    if hole!(at_memory) != ABSENT {
        let css = follow(cgroup, hole!(subsys_memory));
        if !css.is_null() {
            flag(record, base::HAS_MEMORY);
            let group = cast::<CAST>(css, hole!(type_mem_cgroup));
            let section = at(record, hole!(at_memory));
            copy! { section, failed, group;
                memory::USAGE => memory_usage: u64,
                memory::PEAK => memory_peak: u64,
                memory::FAILURES => memory_failures: u64,
                memory::MAX => memory_max: u64,
                memory::HIGH => memory_high: u64,
                memory::LOW => memory_low: u64,
                memory::MIN => memory_min: u64,
                memory::SOFT => memory_soft: u64,
                memory::SWAP_USAGE => swap_usage: u64,
                memory::SWAP_PEAK => swap_peak: u64,
                memory::SWAP_FAILURES => swap_failures: u64,
                memory::SWAP_MAX => swap_max: u64,
                memory::SWAP_HIGH => swap_high: u64,
                memory::UNDER_OOM => under_oom: u32,
                memory::EVENT_LOW => event_low: u64,
                memory::EVENT_HIGH => event_high: u64,
                memory::EVENT_MAX => event_max: u64,
                memory::EVENT_OOM => event_oom: u64,
                memory::EVENT_OOM_KILL => event_oom_kill: u64,
                memory::EVENT_OOM_GROUP_KILL => event_oom_group_kill: u64,
                memory::LOCAL_LOW => local_low: u64,
                memory::LOCAL_HIGH => local_high: u64,
                memory::LOCAL_MAX => local_max: u64,
                memory::LOCAL_OOM => local_oom: u64,
                memory::LOCAL_OOM_KILL => local_oom_kill: u64,
                memory::LOCAL_OOM_GROUP_KILL => local_oom_group_kill: u64,
            }
            if hole!(at_stat) != ABSENT {
                let stats: Pointer = far::<CAST, Pointer>(group, hole!(vmstats), &mut failed);
                // SAFETY: the record has room for so many bytes, which the verifier checks.
                let error = unsafe {
                    bpf_probe_read_kernel(
                        at(record, hole!(at_stat)).cast(),
                        hole!(stat_bytes) as u32,
                        stats.wrapping_add(hole!(stat_from) as usize).cast(),
                    )
                };
                if error == 0 {
                    flag(record, base::HAS_STAT);
                }
            }
        }
    }
    if hole!(at_pids) != ABSENT {
        let css = follow(cgroup, hole!(subsys_pids));
        if !css.is_null() {
            flag(record, base::HAS_PIDS);
            let group = cast::<CAST>(css, hole!(type_pids_cgroup));
            copy! { at(record, hole!(at_pids)), failed, group;
                pids::CURRENT => pids_current: u64,
                pids::LIMIT => pids_limit: u64,
                pids::PEAK => pids_peak: u64,
                pids::MAX_HITS => pids_max_hits: u64,
                pids::FORK_FAILURES => pids_fork_failures: u64,
            }
        }
    }
    if hole!(at_freezer) != ABSENT {
        let css = follow(cgroup, hole!(subsys_freezer));
        if !css.is_null() {
            flag(record, base::HAS_FREEZER);
            let group = cast::<CAST>(css, hole!(type_freezer));
            copy! { at(record, hole!(at_freezer)), failed, group;
                freezer::STATE => freezer_state: u32,
            }
        }
    }
    if hole!(at_pressure) != ABSENT {
        let group = follow(cgroup, hole!(cgroup_psi));
        if !group.is_null()
            && (hole!(psi_enabled) == ABSENT || load::<u8>(group, hole!(psi_enabled)) != 0)
        {
            flag(record, base::HAS_PRESSURE);
            let section = at(record, hole!(at_pressure));
            macro_rules! words {
                ($($kind:literal)*) => {$(
                    let total = load(group, hole!(psi_totals) + $kind * 8);
                    put(section, pressure::TOTALS + $kind, total);
                    let average = pressure::AVERAGES + $kind * 3;
                    put(section, average, load(group, hole!(psi_averages) + $kind * 24));
                    put(section, average + 1, load(group, hole!(psi_averages) + $kind * 24 + 8));
                    put(section, average + 2, load(group, hole!(psi_averages) + $kind * 24 + 16));
                )*};
            }
            words!(0 1 2 3 4 5);
            put(section, pressure::NEXT_UPDATE, load(group, hole!(psi_next_update)));
        }
    }
    if failed != 0 {
        flag(record, base::FAILED);
    }
}

/// Writes what never changes of a cgroup, and clears the flags.
///
/// A record is most often of the same cgroup as in the walk before, which its serial number tells:
/// the kernel never gives one again (`kernel/cgroup/cgroup.c`, `css_serial_nr_next`). Then four
/// cache lines need not be loaded: with six hierarchies a walk takes 3.1 µs for each cgroup instead
/// of 3.4. The root has no serial number, hence the look at the id.
#[inline(always)]
fn identify(cgroup: Pointer, record: *mut u64) {
    let serial: u64 = load(cgroup, hole!(cgroup_serial));
    if get(record, base::SERIAL) == serial && get(record, base::ID) != 0 {
        put(record, base::FLAGS, get(record, base::FLAGS) & LEVEL);
        return;
    }
    put(record, base::FLAGS, u64::from(load::<u32>(cgroup, hole!(cgroup_level))) << 32);
    put(record, base::ID, id(cgroup));
    put(record, base::SERIAL, serial);
    let parent = follow(cgroup, hole!(cgroup_parent_css));
    let parent = if parent.is_null() { 0 } else { id(follow(parent, hole!(css_cgroup))) };
    put(record, base::PARENT_ID, parent);
}

/// Adds up what each CPU has counted of a v1 cgroup (`kernel/sched/cpuacct.c`,
/// `cpuacct_stats_show`).
#[inline(always)]
fn add_cpus<const CAST: bool>(accounting: Pointer, section: *mut u64, failed: &mut i64) {
    /// `CPUTIME_USER`, `_NICE`, `_SYSTEM`, `_SOFTIRQ`, `_IRQ` (`enum cpu_usage_stat`).
    type Times = [u64; 5];
    let bases = first_entry(map!(HOLE_PER_CPU));
    if bases.is_null() {
        *failed = -1;
        return;
    }
    let usages: Pointer = far::<CAST, Pointer>(accounting, hole!(cpuacct_usage), failed);
    let stats: Pointer = far::<CAST, Pointer>(accounting, hole!(cpuacct_stat), failed);
    // Through the map's memory, a pointer that the verifier knows becomes a plain number.
    put(section, cpu::SYSTEM, stats as u64);
    let stats = get(section, cpu::SYSTEM) as Pointer;
    let (mut usage, mut user, mut system) = (0u64, 0u64, 0u64);
    let mut index = 0;
    while index < hole!(cpus) {
        let copy = get(bases, per_cpu::BASES + index as usize);
        let times: Times = far::<false, Times>(stats, copy, failed);
        user += times[0] + times[1];
        system += times[2] + times[3] + times[4];
        usage += far::<false, u64>(usages, copy, failed);
        index += 1;
    }
    put(section, cpu::USAGE, usage);
    put(section, cpu::USER, user);
    put(section, cpu::SYSTEM, system);
}

/// Sets a flag of a record. In the map and not in a register, whose every value the verifier would
/// follow on its own.
#[inline(always)]
fn flag(record: *mut u64, bit: u64) {
    put(record, base::FLAGS, get(record, base::FLAGS) | bit);
}

#[inline(always)]
fn id(cgroup: Pointer) -> u64 {
    load(follow(cgroup, hole!(cgroup_kn)), hole!(kn_id))
}

/// A css as the struct that it is the first member of; itself where the verifier knows no casts.
#[inline(always)]
fn cast<const CAST: bool>(css: Pointer, type_id: u64) -> Pointer {
    if CAST {
        // SAFETY: a load through it yields 0 if it faults.
        unsafe { rdonly_cast(css, type_id as u32) }
    } else {
        css
    }
}
