//! What the kernel has that a walk can use, by its type information.

use tare_ebpf::{
    ABSENT, hole_index,
    walk_record::{Holes, KFUNC_COUNT, KFUNCS, pressure},
};

use crate::{
    kernel::btf::{Btf, Field},
    reason::Reason,
};

/// What a walk is planned from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkFacts {
    /// Offsets and values; [`ABSENT`] where the kernel has no such field of the known size.
    pub(super) holes: Holes,
    /// BTF ids of [`KFUNCS`].
    pub(super) kfuncs: [Option<u32>; KFUNC_COUNT],
    /// BTF id of `bpf_iter_task`, which iterator programs for one task attach to.
    pub(super) iter_task: Option<u32>,
    /// Whether the kernel has `bpf_iter_task_file`.
    iter_file: bool,
    /// BTF id of `bpf_iter_cgroup`, which those for all cgroups attach to.
    pub(super) iter_cgroup: Option<u32>,
    /// Words of `memcg_vmstats`.
    pub(super) stat: StatShape,
    /// The flag of `cgroup_root.flags` with which `pids.events` counts as on v1.
    pub(super) local_pids_events: Option<u32>,
    /// Whether the kernel counts swap.
    pub(super) swap: bool,
}

/// How many words the parts of `memcg_vmstats` have, in their order in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StatShape {
    /// Of the cgroup with its descendants: gauges, then events.
    pub(super) hierarchical: u32,
    /// The same of the cgroup alone; 0 where the kernel does not keep them.
    pub(super) local: u32,
}

/// Fields: the place in [`Holes`], the name with the struct's, the size. Of several for one place
/// the first that exists counts.
const FIELDS: &[(usize, &str, u32)] = &[
    (hole_index!(seq_num), "bpf_iter_meta.seq_num", 8),
    (hole_index!(task_queue), "task_struct.se.cfs_rq", 8),
    (hole_index!(queue_rq), "cfs_rq.rq", 8),
    (hole_index!(rq_clock), "rq.clock", 8),
    (hole_index!(task_cgroups), "task_struct.cgroups", 8),
    (hole_index!(set_unified), "css_set.dfl_cgrp", 8),
    (hole_index!(css_cgroup), "cgroup_subsys_state.cgroup", 8),
    (hole_index!(cgroup_parent_css), "cgroup.self.parent", 8),
    (hole_index!(cgroup_serial), "cgroup.self.serial_nr", 8),
    (hole_index!(cgroup_self_flags), "cgroup.self.flags", 4),
    (hole_index!(cgroup_kn), "cgroup.kn", 8),
    (hole_index!(kn_id), "kernfs_node.id", 8),
    (hole_index!(cgroup_level), "cgroup.level", 4),
    (hole_index!(cgroup_flags), "cgroup.flags", 8),
    (hole_index!(populated_csets), "cgroup.nr_populated_csets", 4),
    // Where the count is kept for each controller (there in Linux 7.2).
    (hole_index!(populated_csets), "cgroup.self.nr_populated_csets", 4),
    (hole_index!(populated_domains), "cgroup.nr_populated_domain_children", 4),
    (hole_index!(populated_threaded), "cgroup.nr_populated_threaded_children", 4),
    (hole_index!(descendants), "cgroup.nr_descendants", 4),
    (hole_index!(dying_descendants), "cgroup.nr_dying_descendants", 4),
    (hole_index!(cgroup_root), "cgroup.root", 8),
    (hole_index!(root_flags), "cgroup_root.flags", 4),
    (hole_index!(cpu_usage), "cgroup.bstat.cputime.sum_exec_runtime", 8),
    (hole_index!(cpu_user), "cgroup.bstat.cputime.utime", 8),
    (hole_index!(cpu_system), "cgroup.bstat.cputime.stime", 8),
    (hole_index!(cpu_shown_user), "cgroup.prev_cputime.utime", 8),
    (hole_index!(cpu_shown_system), "cgroup.prev_cputime.stime", 8),
    (hole_index!(cpuacct_usage), "cpuacct.cpuusage", 8),
    (hole_index!(cpuacct_stat), "cpuacct.cpustat", 8),
    (hole_index!(periods), "task_group.cfs_bandwidth.nr_periods", 4),
    (hole_index!(throttled), "task_group.cfs_bandwidth.nr_throttled", 4),
    (hole_index!(throttled_time), "task_group.cfs_bandwidth.throttled_time", 8),
    (hole_index!(bursts), "task_group.cfs_bandwidth.nr_burst", 4),
    (hole_index!(burst_time), "task_group.cfs_bandwidth.burst_time", 8),
    (hole_index!(quota), "task_group.cfs_bandwidth.quota", 8),
    (hole_index!(period), "task_group.cfs_bandwidth.period", 8),
    (hole_index!(burst), "task_group.cfs_bandwidth.burst", 8),
    (hole_index!(shares), "task_group.shares", 8),
    (hole_index!(memory_usage), "mem_cgroup.memory.usage", 8),
    (hole_index!(memory_peak), "mem_cgroup.memory.watermark", 8),
    (hole_index!(memory_failures), "mem_cgroup.memory.failcnt", 8),
    (hole_index!(memory_max), "mem_cgroup.memory.max", 8),
    (hole_index!(memory_high), "mem_cgroup.memory.high", 8),
    (hole_index!(memory_low), "mem_cgroup.memory.low", 8),
    (hole_index!(memory_min), "mem_cgroup.memory.min", 8),
    (hole_index!(memory_soft), "mem_cgroup.soft_limit", 8),
    (hole_index!(swap_usage), "mem_cgroup.swap.usage", 8),
    (hole_index!(swap_peak), "mem_cgroup.swap.watermark", 8),
    (hole_index!(swap_failures), "mem_cgroup.swap.failcnt", 8),
    (hole_index!(swap_max), "mem_cgroup.swap.max", 8),
    (hole_index!(swap_high), "mem_cgroup.swap.high", 8),
    (hole_index!(under_oom), "mem_cgroup.under_oom", 4),
    (hole_index!(vmstats), "mem_cgroup.vmstats", 8),
    (hole_index!(pids_current), "pids_cgroup.counter", 8),
    (hole_index!(pids_limit), "pids_cgroup.limit", 8),
    (hole_index!(pids_peak), "pids_cgroup.watermark", 8),
    // Where the forks of descendants are not counted (before Linux 6.11).
    (hole_index!(pids_max_hits), "pids_cgroup.events_limit", 8),
    (hole_index!(freezer_state), "freezer.state", 4),
    // A pointer since Linux 6.1.
    (hole_index!(cgroup_psi), "cgroup.psi", 8),
    (hole_index!(psi_enabled), "psi_group.enabled", 1),
    (hole_index!(psi_next_update), "psi_group.avg_next_update", 8),
];

/// Elements of arrays: the place, the array with its struct's name, the enum of its indices, the
/// enumerator.
const ELEMENTS: &[(usize, &str, &str, &str)] = &[
    (hole_index!(subsys_cpu), "cgroup.subsys", "cgroup_subsys_id", "cpu_cgrp_id"),
    (hole_index!(subsys_cpuacct), "cgroup.subsys", "cgroup_subsys_id", "cpuacct_cgrp_id"),
    (hole_index!(subsys_memory), "cgroup.subsys", "cgroup_subsys_id", "memory_cgrp_id"),
    (hole_index!(subsys_pids), "cgroup.subsys", "cgroup_subsys_id", "pids_cgrp_id"),
    (hole_index!(subsys_freezer), "cgroup.subsys", "cgroup_subsys_id", "freezer_cgrp_id"),
    (hole_index!(event_low), "mem_cgroup.memory_events", "memcg_memory_event", "MEMCG_LOW"),
    (hole_index!(event_high), "mem_cgroup.memory_events", "memcg_memory_event", "MEMCG_HIGH"),
    (hole_index!(event_max), "mem_cgroup.memory_events", "memcg_memory_event", "MEMCG_MAX"),
    (hole_index!(event_oom), "mem_cgroup.memory_events", "memcg_memory_event", "MEMCG_OOM"),
    (
        hole_index!(event_oom_kill),
        "mem_cgroup.memory_events",
        "memcg_memory_event",
        "MEMCG_OOM_KILL",
    ),
    (
        hole_index!(event_oom_group_kill),
        "mem_cgroup.memory_events",
        "memcg_memory_event",
        "MEMCG_OOM_GROUP_KILL",
    ),
    (hole_index!(local_low), "mem_cgroup.memory_events_local", "memcg_memory_event", "MEMCG_LOW"),
    (hole_index!(local_high), "mem_cgroup.memory_events_local", "memcg_memory_event", "MEMCG_HIGH"),
    (hole_index!(local_max), "mem_cgroup.memory_events_local", "memcg_memory_event", "MEMCG_MAX"),
    (hole_index!(local_oom), "mem_cgroup.memory_events_local", "memcg_memory_event", "MEMCG_OOM"),
    (
        hole_index!(local_oom_kill),
        "mem_cgroup.memory_events_local",
        "memcg_memory_event",
        "MEMCG_OOM_KILL",
    ),
    (
        hole_index!(local_oom_group_kill),
        "mem_cgroup.memory_events_local",
        "memcg_memory_event",
        "MEMCG_OOM_GROUP_KILL",
    ),
    // Since Linux 6.11.
    (hole_index!(pids_max_hits), "pids_cgroup.events", "pidcg_event", "PIDCG_MAX"),
    (hole_index!(pids_fork_failures), "pids_cgroup.events_local", "pidcg_event", "PIDCG_FORKFAIL"),
];

/// All elements have this size.
const ELEMENT: u32 = 8;

/// Structs that pointers are cast to, by their ids.
const TYPES: &[(usize, &str)] = &[
    (hole_index!(type_task_group), "task_group"),
    (hole_index!(type_cpuacct), "cpuacct"),
    (hole_index!(type_mem_cgroup), "mem_cgroup"),
    (hole_index!(type_pids_cgroup), "pids_cgroup"),
    (hole_index!(type_freezer), "freezer"),
];

/// The times of a CPU that the program adds up, in this order.
const CPU_TIMES: [&str; 5] =
    ["CPUTIME_USER", "CPUTIME_NICE", "CPUTIME_SYSTEM", "CPUTIME_SOFTIRQ", "CPUTIME_IRQ"];

/// The kinds of pressure in the order of the records.
const PRESSURES: [&str; pressure::KINDS] =
    ["PSI_IO_SOME", "PSI_IO_FULL", "PSI_MEM_SOME", "PSI_MEM_FULL", "PSI_CPU_SOME", "PSI_CPU_FULL"];

impl Default for WalkFacts {
    /// A kernel that has nothing.
    fn default() -> Self {
        Self {
            holes: Holes::UNKNOWN,
            kfuncs: [None; KFUNC_COUNT],
            iter_task: None,
            iter_file: false,
            iter_cgroup: None,
            stat: StatShape::default(),
            local_pids_events: None,
            swap: false,
        }
    }
}

impl WalkFacts {
    /// A kernel that has the iterator over tasks.
    #[cfg(test)]
    pub(in crate::kernel) fn with_task_iterator() -> Self {
        Self { iter_task: Some(1), iter_file: true, ..Self::default() }
    }

    /// Whether programs can go over all tasks.
    ///
    /// # Errors
    ///
    /// Before Linux 5.8.
    pub fn iterates_tasks(&self) -> Result<(), Reason> {
        self.iter_task.map(drop).ok_or(Reason::MissingFunction { function: "bpf_iter_task" })
    }

    /// Whether programs can go over the open files of all tasks.
    ///
    /// # Errors
    ///
    /// Before Linux 5.8.
    pub fn iterates_files(&self) -> Result<(), Reason> {
        let missing = Reason::MissingFunction { function: "bpf_iter_task_file" };
        if self.iter_file { Ok(()) } else { Err(missing) }
    }

    /// Looks everything up.
    pub(in crate::kernel) fn read(btf: &Btf) -> Self {
        let mut holes = Holes::UNKNOWN;
        let words = holes.words_mut();
        let mut structs = Structs { btf, ids: Vec::new() };
        for (hole, name, size) in FIELDS {
            if words[*hole] == ABSENT {
                words[*hole] = structs.offset(name, *size).unwrap_or(ABSENT);
            }
        }
        for (hole, array, list, element) in ELEMENTS {
            if words[*hole] == ABSENT {
                words[*hole] = structs.element(array, list, element).unwrap_or(ABSENT);
            }
        }
        for (hole, name) in TYPES {
            words[*hole] = btf.structure(name).unwrap_or(ABSENT);
        }
        if !structs.has_cpu_times() {
            words[hole_index!(cpuacct_stat)] = ABSENT;
        }
        let pressures = structs.pressures();
        let stat = structs.stat();
        (holes.psi_totals, holes.psi_averages) = pressures.unwrap_or((ABSENT, ABSENT));
        (holes.stat_from, _) = stat.unwrap_or_else(|| (ABSENT, StatShape::default()));
        holes.css_online = btf.any_enumerator("CSS_ONLINE").unwrap_or(ABSENT);
        holes.frozen_bit =
            btf.any_enumerator("CGRP_FROZEN").filter(|bit| *bit < u64::BITS).unwrap_or(ABSENT);
        Self {
            holes,
            kfuncs: KFUNCS.map(|name| btf.function(name)),
            iter_task: btf.function("bpf_iter_task"),
            iter_file: btf.function("bpf_iter_task_file").is_some(),
            iter_cgroup: btf.function("bpf_iter_cgroup"),
            stat: stat.map(|(_, shape)| shape).unwrap_or_default(),
            local_pids_events: btf.any_enumerator("CGRP_ROOT_PIDS_LOCAL_EVENTS"),
            swap: btf.function("swap_current_read").is_some(),
        }
    }
}

/// The name of a field or a struct, for people.
pub(super) fn name(hole: usize) -> &'static str {
    let fields = FIELDS.iter().map(|(found, name, _)| (*found, *name));
    let elements = ELEMENTS.iter().map(|(found, name, ..)| (*found, *name));
    let others = [
        (hole_index!(stat_from), "memcg_vmstats.state"),
        (hole_index!(psi_totals), "psi_group.total"),
        (hole_index!(psi_averages), "psi_group.avg"),
    ];
    let all = fields.chain(elements).chain(TYPES.iter().copied()).chain(others);
    let found = all.into_iter().find(|(found, _)| *found == hole);
    found.map_or_else(|| Holes::NAMES.get(hole).copied().unwrap_or_default(), |(_, name)| name)
}

/// Structs that were asked for, each found once.
struct Structs<'a> {
    btf: &'a Btf,
    ids: Vec<(&'static str, Option<u32>)>,
}

impl Structs<'_> {
    fn id(&mut self, name: &'static str) -> Option<u32> {
        if let Some((_, id)) = self.ids.iter().find(|(found, _)| *found == name) {
            return *id;
        }
        let id = self.btf.structure(name);
        self.ids.push((name, id));
        id
    }

    /// A field by its name with the struct's.
    fn field(&mut self, name: &'static str) -> Option<Field> {
        let (structure, path) = name.split_once('.')?;
        let path: Vec<&str> = path.split('.').collect();
        self.btf.field_of(self.id(structure)?, &path)
    }

    /// Where a field is that has this size.
    fn offset(&mut self, name: &'static str, size: u32) -> Option<u32> {
        self.field(name).filter(|field| field.size == size).map(|field| field.offset)
    }

    fn element(&mut self, array: &'static str, list: &str, element: &str) -> Option<u32> {
        let array = self.field(array)?;
        let at = self.btf.enumerator(&[list], element)?.checked_mul(ELEMENT)?;
        let fits = at.checked_add(ELEMENT)? <= array.size;
        fits.then(|| array.offset.checked_add(at))?
    }

    /// Whether v1 keeps the times of a CPU as the program adds them up: nanoseconds, of which the
    /// first are those of [`CPU_TIMES`].
    fn has_cpu_times(&mut self) -> bool {
        let known = CPU_TIMES.iter().enumerate().all(|(index, name)| {
            self.btf.enumerator(&["cpu_usage_stat"], name) == Some(index as u32)
        });
        let words = self.field("kernel_cpustat.cpustat");
        known && words.is_some_and(|words| words.size >= CPU_TIMES.len() as u32 * ELEMENT)
    }

    /// Where totals and averages of pressure are, if they are in the order that is known.
    fn pressures(&mut self) -> Option<(u32, u32)> {
        let (totals, averages) = (self.field("psi_group.total")?, self.field("psi_group.avg")?);
        let known = PRESSURES
            .iter()
            .enumerate()
            .all(|(index, name)| self.btf.enumerator(&["psi_states"], name) == Some(index as u32));
        let kinds = pressure::KINDS as u32;
        let fit = totals.size >= kinds * ELEMENT && averages.size >= 3 * kinds * ELEMENT;
        (known && fit).then_some((totals.offset, averages.offset))
    }

    /// Where the words of `memcg_vmstats` begin and how many there are, if they are one block.
    fn stat(&mut self) -> Option<(u32, StatShape)> {
        let (state, events) =
            (self.field("memcg_vmstats.state")?, self.field("memcg_vmstats.events")?);
        let after = |field: Field| field.offset + field.size;
        if after(state) != events.offset || (state.size + events.size) % ELEMENT != 0 {
            return None;
        }
        let hierarchical = (state.size + events.size) / ELEMENT;
        let own =
            (self.field("memcg_vmstats.state_local"), self.field("memcg_vmstats.events_local"));
        let local = match own {
            (Some(state), Some(own))
                if after(events) == state.offset
                    && after(state) == own.offset
                    && (state.size + own.size) / ELEMENT == hierarchical =>
            {
                hierarchical
            }
            _ => 0,
        };
        Some((state.offset, StatShape { hierarchical, local }))
    }
}
