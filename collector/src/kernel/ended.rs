//! What a cgroup had used when it was removed: the kernel's side takes it at that moment, so that
//! it does not matter how late user space is.

use anyhow::{Context as _, Result};
use aya::{Btf, Ebpf, maps::Array};
use tare_ebpf::{
    Layout,
    event::{CpuTicks, ENDED_CPU, ENDED_MEMORY, ENDED_PIDS, Ended, Event, NO_CPU, NO_HIERARCHY},
};

use crate::{
    kernel::{
        error::{TRACING, reason},
        facts::BtfFacts,
        load::Loaded,
        per_cpu::PerCpuFacts,
        plan::fields,
        tracepoints::{ENDED, TracepointSpec},
    },
    process::page_bytes,
    reason::Reason,
};

/// The hierarchies whose removed cgroups report what they had used: those that files are read of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndedHierarchies {
    /// That of CPU time: cgroup2, or the v1 one of `cpuacct`.
    pub cpu: Option<u32>,
    /// That of the memory controller.
    pub memory: Option<u32>,
    /// That of the pids controller.
    pub pids: Option<u32>,
}

/// What to load for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EndedPlan {
    /// The program.
    pub(super) program: TracepointSpec,
    /// Which hierarchies report what.
    hierarchies: EndedHierarchies,
    /// How the per-CPU memory of all CPUs is found.
    per_cpu: PerCpuFacts,
    /// Why some of it is not reported.
    pub(super) missing: Vec<Reason>,
}

/// What a cgroup had used, descendants included, as far as its hierarchy has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndedUsage {
    /// CPU time.
    pub cpu: Option<EndedCpu>,
    /// Memory.
    pub memory: Option<EndedMemory>,
    /// Tasks.
    pub tasks: Option<EndedTasks>,
}

/// CPU time of a removed cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedCpu {
    /// With descendants. In cgroup2 it may lack what some used that were removed a moment before.
    pub whole: CpuTicks,
    /// Without descendants; on v1 the same as `whole`.
    pub own: CpuTicks,
}

/// Memory of a removed cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedMemory {
    /// What was still charged.
    pub usage_bytes: u64,
    /// The most there was.
    pub peak_bytes: u64,
}

/// Tasks of a removed cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedTasks {
    /// Those that were still charged.
    pub current: u64,
    /// The most there were. Since Linux 6.6.
    pub peak: Option<u64>,
}

impl EndedPlan {
    /// Decides what is reported.
    ///
    /// # Errors
    ///
    /// Why nothing is.
    pub(super) fn new(btf: &BtfFacts, wanted: EndedHierarchies) -> Result<Self, Reason> {
        ENDED.check(btf.arguments(ENDED.tracepoint))?;
        let layout = &btf.layout;
        fields(&[
            ("cgroup.root", layout.cgroup_root),
            ("cgroup_root.hierarchy_id", layout.root_hierarchy_id),
            ("cgroup.kn", layout.cgroup_kn),
            ("kernfs_node.id", layout.kn_id),
        ])?;
        let mut missing = Vec::new();
        let mut reported = |wanted: Option<u32>, found: Result<(), Reason>| {
            let hierarchy = wanted?;
            match found {
                Ok(()) => Some(hierarchy),
                Err(reason) => {
                    missing.push(reason);
                    None
                }
            }
        };
        let hierarchies = EndedHierarchies {
            cpu: reported(wanted.cpu, cpu(btf, wanted.cpu == Some(0))),
            memory: reported(wanted.memory, memory(layout)),
            pids: reported(wanted.pids, pids(layout)),
        };
        if let (EndedHierarchies { cpu: None, memory: None, pids: None }, Some(reason)) =
            (hierarchies, missing.first())
        {
            return Err(reason.clone());
        }
        Ok(Self { program: ENDED, hierarchies, per_cpu: btf.per_cpu, missing })
    }

    /// Sets the hierarchies in the layout.
    pub(super) fn complete(&self, layout: &mut Layout) {
        let id = |hierarchy: Option<u32>| hierarchy.unwrap_or(NO_HIERARCHY);
        let EndedHierarchies { cpu, memory, pids } = self.hierarchies;
        (layout.ended_cpu, layout.ended_memory, layout.ended_pids) =
            (id(cpu), id(memory), id(pids));
    }

    /// Loads and attaches the program. To be called before the one that reports removals is
    /// attached: programs of a tracepoint run in the order in which they were attached, and what a
    /// cgroup had used must be known when its removal is.
    ///
    /// # Errors
    ///
    /// Why it could not be.
    pub(super) fn start(&self, loaded: &mut Loaded, btf: &Btf) -> Result<(), Reason> {
        if self.hierarchies.cpu.is_some() {
            let per_cpu = self.per_cpu.find()?;
            let set = set_offsets(&mut loaded.ebpf, per_cpu.bases());
            set.map_err(|error| reason(&error, TRACING))?;
        }
        loaded.attach(&[self.program], btf)
    }
}

/// Tells the program where each CPU has its copies.
fn set_offsets(ebpf: &mut Ebpf, bases: &[Option<u64>]) -> Result<()> {
    let map = ebpf.map_mut("CPU_OFFSETS").context("the object has no map CPU_OFFSETS")?;
    let mut offsets = Array::<_, u64>::try_from(map)?;
    for (cpu, base) in (0..).zip(bases) {
        offsets.set(cpu, base.unwrap_or(NO_CPU), 0)?;
    }
    Ok(())
}

fn cpu(btf: &BtfFacts, is_unified: bool) -> Result<(), Reason> {
    btf.per_cpu.pointers()?;
    let layout = &btf.layout;
    if is_unified {
        return fields(&[
            ("cgroup.bstat.cputime", layout.cgroup_cpu),
            ("cgroup.rstat_cpu", layout.cgroup_per_cpu),
            ("cgroup_rstat_cpu.bstat.cputime", layout.per_cpu_counted),
            ("cgroup_rstat_cpu.last_bstat.cputime", layout.per_cpu_added),
        ]);
    }
    fields(&[
        ("cgroup.subsys[cpuacct_cgrp_id]", layout.cgroup_cpuacct),
        ("cpuacct.cpuusage", layout.cpuacct_usage),
        ("cpuacct.cpustat", layout.cpuacct_times),
    ])
}

fn memory(layout: &Layout) -> Result<(), Reason> {
    fields(&[
        ("cgroup.subsys[memory_cgrp_id]", layout.cgroup_memory),
        ("mem_cgroup.memory.usage", layout.memory_usage),
        ("mem_cgroup.memory.watermark", layout.memory_peak),
    ])
}

/// The most tasks may be unknown: older kernels do not keep it in any file either.
fn pids(layout: &Layout) -> Result<(), Reason> {
    fields(&[
        ("cgroup.subsys[pids_cgrp_id]", layout.cgroup_pids),
        ("pids_cgroup.counter", layout.pids_tasks),
    ])
}

/// The usage and the path in a record of [`tare_ebpf::event::EVENT_ENDED`]. There is no path in
/// cgroup2.
pub(super) fn parse(record: &[u8]) -> Option<(EndedUsage, Option<String>)> {
    let ended = Ended::from_bytes(record)?;
    let Ended { event: Event { hierarchy, .. }, known, cpu, own_cpu, tasks, tasks_peak, .. } =
        ended;
    let page_bytes = page_bytes()?;
    let is_known = |what: u64| known & what != 0;
    let usage = EndedUsage {
        cpu: is_known(ENDED_CPU).then_some(EndedCpu { whole: cpu, own: own_cpu }),
        memory: is_known(ENDED_MEMORY).then(|| EndedMemory {
            usage_bytes: ended.memory_pages.saturating_mul(page_bytes),
            peak_bytes: ended.memory_peak_pages.saturating_mul(page_bytes),
        }),
        tasks: is_known(ENDED_PIDS).then(|| EndedTasks {
            current: tasks,
            peak: Some(tasks_peak).filter(|peak| *peak != u64::MAX),
        }),
    };
    if hierarchy == 0 {
        return Some((usage, None));
    }
    let path = ended.path().and_then(|path| String::from_utf8(path.to_vec()).ok())?;
    Some((usage, Some(path)))
}

#[cfg(test)]
mod tests {
    use tare_ebpf::{
        ABSENT,
        event::{ENDED_PATH_MAX, EVENT_ENDED},
    };

    use super::*;
    use crate::kernel::walk::WalkFacts;

    const HYBRID: EndedHierarchies =
        EndedHierarchies { cpu: Some(3), memory: Some(5), pids: Some(9) };
    const UNIFIED: EndedHierarchies =
        EndedHierarchies { cpu: Some(0), memory: Some(0), pids: Some(0) };

    /// A kernel with everything, of which `lose` takes something away.
    fn plan(
        wanted: EndedHierarchies,
        lose: impl Fn(&mut Layout),
    ) -> Result<(EndedHierarchies, Vec<Reason>), Reason> {
        let mut layout = Layout {
            cgroup_root: 8,
            root_hierarchy_id: 8,
            cgroup_kn: 8,
            kn_id: 8,
            cgroup_cpu: 8,
            cgroup_per_cpu: 8,
            per_cpu_counted: 8,
            per_cpu_added: 8,
            cgroup_cpuacct: 8,
            cpuacct_usage: 8,
            cpuacct_times: 8,
            cgroup_memory: 8,
            memory_usage: 8,
            memory_peak: 8,
            cgroup_pids: 8,
            pids_tasks: 8,
            pids_peak: 8,
            ..Layout::UNKNOWN
        };
        lose(&mut layout);
        let btf = BtfFacts {
            layout,
            tracepoints: [("cgroup_rmdir", Some(2))].into(),
            walk: WalkFacts::default(),
            per_cpu: PerCpuFacts { pointers: Some(280), looks_up_others: true },
        };
        EndedPlan::new(&btf, wanted).map(|plan| (plan.hierarchies, plan.missing))
    }

    #[test]
    fn each_number_is_reported_by_its_hierarchy_or_has_its_reason() {
        assert_eq!(plan(HYBRID, |_| ()), Ok((HYBRID, vec![])));
        assert_eq!(plan(UNIFIED, |_| ()), Ok((UNIFIED, vec![])));
        // What only the other version needs is not missed.
        assert_eq!(plan(UNIFIED, |layout| layout.cpuacct_usage = ABSENT), Ok((UNIFIED, vec![])));
        assert_eq!(plan(HYBRID, |layout| layout.per_cpu_added = ABSENT), Ok((HYBRID, vec![])));
        assert_eq!(plan(UNIFIED, |layout| layout.pids_peak = ABSENT), Ok((UNIFIED, vec![])));
        let missing = |field| Reason::MissingField { field };
        let without_cpu = EndedHierarchies { cpu: None, ..UNIFIED };
        assert_eq!(
            plan(UNIFIED, |layout| layout.cgroup_per_cpu = ABSENT),
            Ok((without_cpu, vec![missing("cgroup.rstat_cpu")]))
        );
        let without_memory = EndedHierarchies { memory: None, ..HYBRID };
        assert_eq!(
            plan(HYBRID, |layout| layout.memory_peak = ABSENT),
            Ok((without_memory, vec![missing("mem_cgroup.memory.watermark")]))
        );
        assert_eq!(plan(UNIFIED, |layout| layout.kn_id = ABSENT), Err(missing("kernfs_node.id")));
    }

    fn record(ended: &Ended) -> Vec<u8> {
        // SAFETY: integers without padding.
        let bytes = unsafe {
            std::slice::from_raw_parts(std::ptr::from_ref(ended).cast::<u8>(), size_of::<Ended>())
        };
        bytes.to_vec()
    }

    #[test]
    fn only_what_is_known_is_taken_from_a_record() {
        let mut path = [0; ENDED_PATH_MAX];
        path[..4].copy_from_slice(b"/a/b");
        let time = CpuTicks { system: 1, user: 2, usage: 3 };
        let mut ended = Ended {
            event: Event { kind: EVENT_ENDED, hierarchy: 5, ..Event::default() },
            known: ENDED_CPU | ENDED_PIDS,
            cpu: time,
            own_cpu: time,
            memory_pages: 7,
            memory_peak_pages: 8,
            tasks: 0,
            tasks_peak: u64::MAX,
            path,
        };
        let (usage, found) = parse(&record(&ended)).unwrap();
        let tasks = Some(EndedTasks { current: 0, peak: None });
        let cpu = Some(EndedCpu { whole: time, own: time });
        assert_eq!(usage, EndedUsage { cpu, memory: None, tasks });
        assert_eq!(found.as_deref(), Some("/a/b"));
        ended.path = [b'x'; ENDED_PATH_MAX];
        assert_eq!(parse(&record(&ended)), None, "whose it is, is unknown");
        ended.event.hierarchy = 0;
        ended.known = ENDED_MEMORY;
        let (usage, found) = parse(&record(&ended)).unwrap();
        let page = page_bytes().unwrap();
        let memory = Some(EndedMemory { usage_bytes: 7 * page, peak_bytes: 8 * page });
        assert_eq!((usage, found), (EndedUsage { cpu: None, memory, tasks: None }, None));
        assert_eq!(parse(&record(&ended)[1..]), None);
    }
}
