//! What a walk over cgroups writes, and the constants that its program is loaded with.
//!
//! A record is a row of `u64` words in sections. Which sections a hierarchy's records have, and
//! where they start, is decided at load: see [`Holes`]. A word whose field this kernel lacks is not
//! written, so user space does not read it either.

/// One function that the program calls: `call KFUNC_BASE + index` in the object. User space makes
/// it the call of the kernel's function of that name, by its BTF id.
pub const KFUNC_BASE: u32 = 0x7f00_0000;

/// The kernel's functions that the programs call, in the order of their index.
pub const KFUNCS: [&str; KFUNC_COUNT] = [
    "bpf_iter_css_new",
    "bpf_iter_css_next",
    "bpf_iter_css_destroy",
    "bpf_rcu_read_lock",
    "bpf_rcu_read_unlock",
    "bpf_cgroup_ancestor",
    "bpf_cgroup_release",
    "bpf_task_get_cgroup1",
    "bpf_rdonly_cast",
    "css_rstat_flush",
    "cgroup_rstat_flush",
];

/// How many functions there are.
pub const KFUNC_COUNT: usize = 11;

/// High half of every 64-bit immediate that user space replaces.
pub const HOLE_MARK: u32 = 0x5441_5245;

/// Low half of the immediate that stands for the map of records.
pub const HOLE_RECORDS: u32 = 0x7f11_0000;

/// Low half of the immediate that stands for the map of [`per_cpu`].
pub const HOLE_PER_CPU: u32 = 0x7f11_0001;

/// Low half of the immediate that stands for an array of which each CPU has a copy.
pub const HOLE_COPIES: u32 = 0x7f11_0002;

/// Low half of the immediate that stands for the first constant of [`Holes`].
pub const HOLE_FIRST: u32 = 0x7f12_0000;

macro_rules! holes {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Constants of a program, each a 64-bit immediate of its instructions.
        ///
        /// Offsets in bytes where nothing else is said; [`crate::ABSENT`] where the kernel has no
        /// such field or the record has no such section. The verifier removes what that rules out.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Holes { $($(#[$doc])* pub $name: u32,)* }

        impl Holes {
            /// Nothing known.
            pub const UNKNOWN: Self = Self { $($name: crate::ABSENT,)* };
            /// The names of the constants, in memory order.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)*];

            /// The constants in memory order.
            pub const fn words(&self) -> &[u32] {
                // SAFETY: `repr(C)` and `u32` fields alone; the slice borrows `self`.
                unsafe {
                    core::slice::from_raw_parts(
                        core::ptr::from_ref(self).cast::<u32>(),
                        Self::NAMES.len(),
                    )
                }
            }

            /// The constants in memory order.
            pub const fn words_mut(&mut self) -> &mut [u32] {
                // SAFETY: as above.
                unsafe {
                    core::slice::from_raw_parts_mut(
                        core::ptr::from_mut(self).cast::<u32>(),
                        Self::NAMES.len(),
                    )
                }
            }
        }
    };
}

/// Index of a constant of [`Holes`].
#[macro_export]
macro_rules! hole_index {
    ($name:ident) => {
        core::mem::offset_of!($crate::walk_record::Holes, $name) / 4
    };
}

holes! {
    /// Value: number of the hierarchy, 0 is cgroup2.
    hierarchy,
    /// Value: 1 if the kernel's per-CPU counts of the hierarchy are added up first by
    /// `css_rstat_flush`, 2 by `cgroup_rstat_flush`.
    flush,
    /// `bpf_iter_meta.seq_num`.
    seq_num,
    /// `task_struct.se.cfs_rq`.
    task_queue,
    /// `cfs_rq.rq`.
    queue_rq,
    /// `rq.clock`.
    rq_clock,
    /// `task_struct.cgroups`.
    task_cgroups,
    /// `css_set.dfl_cgrp`.
    set_unified,
    /// Value of `CSS_ONLINE`.
    css_online,
    /// `cgroup_subsys_state.cgroup`.
    css_cgroup,
    /// `cgroup.self.parent`.
    cgroup_parent_css,
    /// `cgroup.self.serial_nr`.
    cgroup_serial,
    /// `cgroup.self.flags`.
    cgroup_self_flags,
    /// `cgroup.kn`.
    cgroup_kn,
    /// `kernfs_node.id`.
    kn_id,
    /// `cgroup.level`.
    cgroup_level,
    /// `cgroup.flags`.
    cgroup_flags,
    /// Value: the number of the bit `CGRP_FROZEN`.
    frozen_bit,
    /// `cgroup.nr_populated_csets`.
    populated_csets,
    /// `cgroup.nr_populated_domain_children`.
    populated_domains,
    /// `cgroup.nr_populated_threaded_children`.
    populated_threaded,
    /// `cgroup.nr_descendants`.
    descendants,
    /// `cgroup.nr_dying_descendants`.
    dying_descendants,
    /// `cgroup.root`.
    cgroup_root,
    /// `cgroup_root.flags`.
    root_flags,

    /// Where a record has [`cpu`].
    at_cpu,
    /// `cgroup.bstat.cputime.sum_exec_runtime`.
    cpu_usage,
    /// `cgroup.bstat.cputime.utime`.
    cpu_user,
    /// `cgroup.bstat.cputime.stime`.
    cpu_system,
    /// `cgroup.prev_cputime.utime`.
    cpu_shown_user,
    /// `cgroup.prev_cputime.stime`.
    cpu_shown_system,
    /// Value: CPUs whose counts of v1 are added up; absent on cgroup2.
    cpus,
    /// `cgroup.subsys[cpuacct_cgrp_id]`.
    subsys_cpuacct,
    /// Value: BTF id of `struct cpuacct`.
    type_cpuacct,
    /// `cpuacct.cpuusage`.
    cpuacct_usage,
    /// `cpuacct.cpustat`.
    cpuacct_stat,
    /// `bpf_array.pptrs`.
    array_copies,

    /// Where a record has [`bandwidth`].
    at_bandwidth,
    /// `cgroup.subsys[cpu_cgrp_id]`.
    subsys_cpu,
    /// Value: BTF id of `struct task_group`.
    type_task_group,
    /// `task_group.cfs_bandwidth.nr_periods`.
    periods,
    /// `task_group.cfs_bandwidth.nr_throttled`.
    throttled,
    /// `task_group.cfs_bandwidth.throttled_time`.
    throttled_time,
    /// `task_group.cfs_bandwidth.nr_burst`.
    bursts,
    /// `task_group.cfs_bandwidth.burst_time`.
    burst_time,
    /// `task_group.cfs_bandwidth.quota`.
    quota,
    /// `task_group.cfs_bandwidth.period`.
    period,
    /// `task_group.cfs_bandwidth.burst`.
    burst,
    /// `task_group.shares`.
    shares,

    /// Where a record has [`memory`].
    at_memory,
    /// `cgroup.subsys[memory_cgrp_id]`.
    subsys_memory,
    /// Value: BTF id of `struct mem_cgroup`.
    type_mem_cgroup,
    /// `mem_cgroup.memory.usage`.
    memory_usage,
    /// `mem_cgroup.memory.watermark`.
    memory_peak,
    /// `mem_cgroup.memory.failcnt`.
    memory_failures,
    /// `mem_cgroup.memory.max`.
    memory_max,
    /// `mem_cgroup.memory.high`.
    memory_high,
    /// `mem_cgroup.memory.low`.
    memory_low,
    /// `mem_cgroup.memory.min`.
    memory_min,
    /// `mem_cgroup.soft_limit`.
    memory_soft,
    /// `mem_cgroup.swap.usage`, on v1 `memsw`.
    swap_usage,
    /// `mem_cgroup.swap.watermark`.
    swap_peak,
    /// `mem_cgroup.swap.failcnt`.
    swap_failures,
    /// `mem_cgroup.swap.max`.
    swap_max,
    /// `mem_cgroup.swap.high`.
    swap_high,
    /// `mem_cgroup.under_oom`.
    under_oom,
    /// `mem_cgroup.memory_events[MEMCG_LOW]`.
    event_low,
    /// `mem_cgroup.memory_events[MEMCG_HIGH]`.
    event_high,
    /// `mem_cgroup.memory_events[MEMCG_MAX]`.
    event_max,
    /// `mem_cgroup.memory_events[MEMCG_OOM]`.
    event_oom,
    /// `mem_cgroup.memory_events[MEMCG_OOM_KILL]`.
    event_oom_kill,
    /// `mem_cgroup.memory_events[MEMCG_OOM_GROUP_KILL]`.
    event_oom_group_kill,
    /// `mem_cgroup.memory_events_local[MEMCG_LOW]`.
    local_low,
    /// `mem_cgroup.memory_events_local[MEMCG_HIGH]`.
    local_high,
    /// `mem_cgroup.memory_events_local[MEMCG_MAX]`.
    local_max,
    /// `mem_cgroup.memory_events_local[MEMCG_OOM]`.
    local_oom,
    /// `mem_cgroup.memory_events_local[MEMCG_OOM_KILL]`.
    local_oom_kill,
    /// `mem_cgroup.memory_events_local[MEMCG_OOM_GROUP_KILL]`.
    local_oom_group_kill,

    /// Where a record has the words of `memory.stat`.
    at_stat,
    /// `mem_cgroup.vmstats`.
    vmstats,
    /// `memcg_vmstats.state`, where the words begin.
    stat_from,
    /// Value: bytes of the words.
    stat_bytes,

    /// Where a record has [`pids`].
    at_pids,
    /// `cgroup.subsys[pids_cgrp_id]`.
    subsys_pids,
    /// Value: BTF id of `struct pids_cgroup`.
    type_pids_cgroup,
    /// `pids_cgroup.counter`.
    pids_current,
    /// `pids_cgroup.limit`.
    pids_limit,
    /// `pids_cgroup.watermark`.
    pids_peak,
    /// `pids_cgroup.events[PIDCG_MAX]`, or `events_limit`.
    pids_max_hits,
    /// `pids_cgroup.events_local[PIDCG_FORKFAIL]`.
    pids_fork_failures,

    /// Where a record has [`freezer`].
    at_freezer,
    /// `cgroup.subsys[freezer_cgrp_id]`.
    subsys_freezer,
    /// Value: BTF id of `struct freezer`.
    type_freezer,
    /// `freezer.state`.
    freezer_state,

    /// Where a record has [`pressure`].
    at_pressure,
    /// `cgroup.psi`.
    cgroup_psi,
    /// `psi_group.enabled`.
    psi_enabled,
    /// `psi_group.total`, its averages' part.
    psi_totals,
    /// `psi_group.avg`.
    psi_averages,
    /// `psi_group.avg_next_update`.
    psi_next_update,
}

/// Words that every record begins with.
pub mod base {
    /// Inode of the cgroup's directory.
    pub const ID: usize = 0;
    /// Number that no other cgroup has had since boot, in the order of their making.
    pub const SERIAL: usize = 1;
    /// Inode of the parent's directory; 0 for the root.
    pub const PARENT_ID: usize = 2;
    /// The bits below; the level below the root is in the upper half.
    pub const FLAGS: usize = 3;
    /// `nr_descendants`, and `nr_dying_descendants` in the upper half.
    pub const DESCENDANTS: usize = 4;
    /// How many words.
    pub const WORDS: usize = 5;

    /// A task is in the cgroup or below it.
    pub const POPULATED: u64 = 1;
    /// All its tasks are stopped (cgroup2).
    pub const FROZEN: u64 = 1 << 1;
    /// It has a CPU controller of its own.
    pub const HAS_BANDWIDTH: u64 = 1 << 2;
    /// It has a memory controller of its own.
    pub const HAS_MEMORY: u64 = 1 << 3;
    /// The words of `memory.stat` were read.
    pub const HAS_STAT: u64 = 1 << 4;
    /// It has a pids controller of its own.
    pub const HAS_PIDS: u64 = 1 << 5;
    /// It has a v1 freezer.
    pub const HAS_FREEZER: u64 = 1 << 6;
    /// Its pressure is followed.
    pub const HAS_PRESSURE: u64 = 1 << 7;
    /// A word could not be read: the record is worth nothing.
    pub const FAILED: u64 = 1 << 8;
    /// It has a v1 CPU accounting of its own.
    pub const HAS_CPUACCT: u64 = 1 << 9;
}

/// CPU time in nanoseconds.
pub mod cpu {
    /// All of it, exact.
    pub const USAGE: usize = 0;
    /// By ticks, in user mode.
    pub const USER: usize = 1;
    /// By ticks, in the kernel.
    pub const SYSTEM: usize = 2;
    /// What `cpu.stat` said last of the time in user mode.
    pub const SHOWN_USER: usize = 3;
    /// What `cpu.stat` said last of the time in the kernel.
    pub const SHOWN_SYSTEM: usize = 4;
    /// How many words.
    pub const WORDS: usize = 5;
}

/// The only entry of the map that says where each CPU has its copies of per-CPU values.
pub mod per_cpu {
    /// CPUs that a walk adds up at most: the verifier follows it CPU by CPU.
    pub const CPUS_MAX: u32 = 256;
    /// Memory of the program that finds them.
    pub const SCRATCH: usize = 0;
    /// What is added to a per-CPU pointer for the first CPU; the others follow. 0 where there is no
    /// such CPU, or only one.
    pub const BASES: usize = 1;
}

/// Limit and share of CPU time; times in nanoseconds.
#[allow(missing_docs)]
pub mod bandwidth {
    pub const PERIODS: usize = 0;
    pub const THROTTLED: usize = 1;
    pub const THROTTLED_TIME: usize = 2;
    pub const BURSTS: usize = 3;
    pub const BURST_TIME: usize = 4;
    /// All ones: no limit.
    pub const QUOTA: usize = 5;
    pub const PERIOD: usize = 6;
    pub const BURST: usize = 7;
    /// Scaled by 1024.
    pub const SHARES: usize = 8;
    pub const WORDS: usize = 9;
}

/// Memory: sizes in pages, events.
#[allow(missing_docs)]
pub mod memory {
    pub const USAGE: usize = 0;
    pub const PEAK: usize = 1;
    pub const FAILURES: usize = 2;
    pub const MAX: usize = 3;
    pub const HIGH: usize = 4;
    pub const LOW: usize = 5;
    pub const MIN: usize = 6;
    pub const SOFT: usize = 7;
    pub const SWAP_USAGE: usize = 8;
    pub const SWAP_PEAK: usize = 9;
    pub const SWAP_FAILURES: usize = 10;
    pub const SWAP_MAX: usize = 11;
    pub const SWAP_HIGH: usize = 12;
    pub const UNDER_OOM: usize = 13;
    pub const EVENT_LOW: usize = 14;
    pub const EVENT_HIGH: usize = 15;
    pub const EVENT_MAX: usize = 16;
    pub const EVENT_OOM: usize = 17;
    pub const EVENT_OOM_KILL: usize = 18;
    pub const EVENT_OOM_GROUP_KILL: usize = 19;
    pub const LOCAL_LOW: usize = 20;
    pub const LOCAL_HIGH: usize = 21;
    pub const LOCAL_MAX: usize = 22;
    pub const LOCAL_OOM: usize = 23;
    pub const LOCAL_OOM_KILL: usize = 24;
    pub const LOCAL_OOM_GROUP_KILL: usize = 25;
    pub const WORDS: usize = 26;
}

/// Tasks.
#[allow(missing_docs)]
pub mod pids {
    pub const CURRENT: usize = 0;
    pub const LIMIT: usize = 1;
    pub const PEAK: usize = 2;
    pub const MAX_HITS: usize = 3;
    pub const FORK_FAILURES: usize = 4;
    pub const WORDS: usize = 5;
}

/// The v1 freezer.
#[allow(missing_docs)]
pub mod freezer {
    pub const STATE: usize = 0;
    pub const WORDS: usize = 1;
}

/// Pressure stall information.
pub mod pressure {
    /// Kinds of pressure: I/O some and full, memory some and full, CPU some and full
    /// (`enum psi_states`).
    pub const KINDS: usize = 6;
    /// Nanoseconds of each kind.
    pub const TOTALS: usize = 0;
    /// Averages of each kind over 10, 60 and 300 s, in 2048ths of a percent.
    pub const AVERAGES: usize = KINDS;
    /// `sched_clock` from which on the averages are out of date.
    pub const NEXT_UPDATE: usize = AVERAGES + 3 * KINDS;
    /// How many words.
    pub const WORDS: usize = NEXT_UPDATE + 1;
}

/// Words of the first entry of the map, which is no record.
pub mod header {
    /// Records that were written.
    pub const WRITTEN: usize = 0;
    /// Cgroups that were found.
    pub const FOUND: usize = 1;
    /// Cgroups that were found after they had been removed.
    pub const DYING: usize = 2;
    /// `cgroup_root.flags`.
    pub const ROOT_FLAGS: usize = 3;
    /// One of the constants below.
    pub const OUTCOME: usize = 4;
    /// `CLOCK_MONOTONIC` at the start of the walk, after the flush.
    pub const STARTED: usize = 5;
    /// `CLOCK_MONOTONIC` at its end.
    pub const ENDED: usize = 6;
    /// The clock of pressure, `sched_clock`, at the start: up to a tick behind; 0 if unknown.
    pub const CLOCK: usize = 7;
    /// How many words.
    pub const WORDS: usize = 8;

    /// [`OUTCOME`]: the walk reached its end.
    pub const DONE: u64 = 1;
    /// [`OUTCOME`]: the root of the hierarchy was not found.
    pub const NO_ROOT: u64 = 2;
    /// [`OUTCOME`]: it began and did not reach its end.
    pub const BEGUN: u64 = 3;
}
