//! Facts → what a walk over one hierarchy reads, and why the rest is left to files.

use tare_ebpf::{
    ABSENT, hole_index,
    walk_record::{Holes, bandwidth, base, cpu, freezer, header, memory, pids, pressure},
};

use crate::{
    kernel::walk::{Hierarchy, facts, facts::WalkFacts},
    reason::Reason,
};

/// Numbers that are read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// CPU time.
    Cpu,
    /// Throttling by the CPU limit.
    Throttling,
    /// Memory and swap in use.
    Memory,
    /// What happened at limits of memory.
    MemoryEvents,
    /// The words of `memory.stat`.
    MemoryStat,
    /// Tasks.
    Pids,
    /// Totals of pressure.
    Pressure,
    /// Averages of pressure.
    PressureAverages,
    /// Limits and shares.
    Settings,
    /// Whether tasks are in it, and whether they are stopped.
    State,
    /// How many cgroups are below.
    Tree,
}

impl Family {
    /// All families, in the order of their declaration.
    pub const ALL: [Self; 11] = [
        Self::Cpu,
        Self::Throttling,
        Self::Memory,
        Self::MemoryEvents,
        Self::MemoryStat,
        Self::Pids,
        Self::Pressure,
        Self::PressureAverages,
        Self::Settings,
        Self::State,
        Self::Tree,
    ];
}

/// How the cgroups of a hierarchy are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `bpf_iter_css`, under RCU: it blocks nothing. In Linux 6.12; not in 6.1.
    Css,
    /// `iter/cgroup`, under `cgroup_mutex`: no cgroup is made or removed during it. Since
    /// Linux 6.1.
    Cgroups,
}

impl Way {
    /// The iterator of the kernel's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Css => "bpf_iter_css",
            Self::Cgroups => "iter/cgroup",
        }
    }

    /// The program in the object.
    pub fn program(self) -> &'static str {
        match self {
            Self::Css => "walk_css",
            Self::Cgroups => "walk_cgroups",
        }
    }
}

/// What the records of one hierarchy have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The constants of its program.
    pub(super) holes: Holes,
    /// Words of a record.
    pub(super) stride: usize,
    /// Words of `memory.stat` in a record.
    pub(super) stat_words: usize,
    /// Whether it is cgroup2.
    pub(super) unified: bool,
    families: [Result<(), Reason>; Family::ALL.len()],
}

impl Plan {
    /// Whether the records have a family, or why not.
    pub(super) fn family(&self, family: Family) -> &Result<(), Reason> {
        &self.families[family as usize]
    }

    /// Of records of cgroup2 that have all families.
    #[cfg(test)]
    pub(super) fn whole(holes: Holes, stride: usize) -> Self {
        let families = [const { Ok(()) }; Family::ALL.len()];
        Self { holes, stride, stat_words: 0, unified: true, families }
    }

    fn set(&mut self, family: Family, found: Result<(), Reason>) {
        self.families[family as usize] = found;
    }

    /// Whether the kernel has the field of this place.
    pub(super) fn has(&self, hole: usize) -> bool {
        self.holes.words().get(hole).is_some_and(|offset| *offset != ABSENT)
    }
}

/// Functions that a walk by css calls in any case.
const CSS_FUNCTIONS: [&str; 8] = [
    "bpf_iter_css_new",
    "bpf_iter_css_next",
    "bpf_iter_css_destroy",
    "bpf_rcu_read_lock",
    "bpf_rcu_read_unlock",
    "bpf_cgroup_ancestor",
    "bpf_cgroup_release",
    "bpf_rdonly_cast",
];

/// What every record has.
const BASE: [usize; 9] = [
    hole_index!(css_cgroup),
    hole_index!(cgroup_parent_css),
    hole_index!(cgroup_serial),
    hole_index!(cgroup_self_flags),
    hole_index!(css_online),
    hole_index!(cgroup_kn),
    hole_index!(kn_id),
    hole_index!(cgroup_level),
    hole_index!(root_flags),
];

/// How this kernel can be walked, or why not.
pub(super) fn way(facts: &WalkFacts) -> Result<Way, Reason> {
    fields(&facts.holes, &BASE)?;
    let missing = CSS_FUNCTIONS.into_iter().find(|name| facts.kfunc(name).is_none());
    match (missing, facts.iter_task, facts.iter_cgroup) {
        (None, Some(_), _) => Ok(Way::Css),
        (missing, _, Some(_)) => {
            fields(&facts.holes, &[hole_index!(seq_num)])?;
            tracing::debug!(missing, "cgroups are walked under their mutex");
            Ok(Way::Cgroups)
        }
        (missing, ..) => {
            Err(Reason::MissingFunction { function: missing.unwrap_or("bpf_iter_task") })
        }
    }
}

/// What is read of the cgroups of a hierarchy. `cpus` is how many CPUs v1 counts CPU time for, if
/// programs can get at that.
pub(super) fn plan(
    facts: &WalkFacts,
    way: Way,
    hierarchy: &Hierarchy,
    cpus: Result<u32, Reason>,
) -> Result<Plan, Reason> {
    let unified = hierarchy.id == 0;
    if way == Way::Css {
        let own: &[usize] = if unified {
            &[hole_index!(task_cgroups), hole_index!(set_unified)]
        } else {
            function(facts, "bpf_task_get_cgroup1")?;
            &[]
        };
        fields(&facts.holes, own)?;
    }
    let mut plan = Plan {
        holes: Holes { hierarchy: hierarchy.id, flush: 0, ..facts.holes },
        stride: base::WORDS,
        stat_words: 0,
        unified,
        families: [const { Ok(()) }; Family::ALL.len()],
    };
    plan.state(hierarchy);
    plan.cpu(facts, hierarchy, cpus);
    plan.bandwidth(hierarchy);
    plan.memory(facts, hierarchy);
    plan.pids(hierarchy);
    plan.pressure();
    plan.settings();
    plan.stride = plan.stride.max(header::WORDS);
    Ok(plan)
}

impl Plan {
    /// Room for a section, and where it begins in bytes.
    fn section(&mut self, words: usize) -> u32 {
        let at = self.stride;
        self.stride += words;
        (at * size_of::<u64>()) as u32
    }

    fn state(&mut self, hierarchy: &Hierarchy) {
        let tree = fields(&self.holes, &[hole_index!(descendants), hole_index!(dying_descendants)]);
        if tree.is_err() {
            self.holes.descendants = ABSENT;
        }
        self.set(Family::Tree, tree);
        let populated = fields(
            &self.holes,
            &[
                hole_index!(populated_csets),
                hole_index!(populated_domains),
                hole_index!(populated_threaded),
            ],
        );
        if populated.is_err() {
            self.holes.populated_csets = ABSENT;
        }
        if self.unified {
            let frozen = fields(&self.holes, &[hole_index!(cgroup_flags), hole_index!(frozen_bit)]);
            self.set(Family::State, populated.and(frozen));
            return;
        }
        // Only those of cgroup2 are asked for, and each cache line of a cgroup costs.
        self.holes.descendants = ABSENT;
        self.holes.populated_csets = ABSENT;
        self.holes.frozen_bit = ABSENT;
        let freezer = controller(hierarchy, "freezer").and_then(|()| {
            fields(
                &self.holes,
                &[
                    hole_index!(subsys_freezer),
                    hole_index!(type_freezer),
                    hole_index!(freezer_state),
                ],
            )
        });
        if freezer.is_ok() {
            self.holes.at_freezer = self.section(freezer::WORDS);
        }
        self.set(Family::State, freezer);
    }

    fn cpu(&mut self, facts: &WalkFacts, hierarchy: &Hierarchy, cpus: Result<u32, Reason>) {
        let found = if self.unified {
            self.flush(facts).and_then(|()| {
                fields(
                    &self.holes,
                    &[
                        hole_index!(cpu_usage),
                        hole_index!(cpu_user),
                        hole_index!(cpu_system),
                        hole_index!(cpu_shown_user),
                        hole_index!(cpu_shown_system),
                    ],
                )
            })
        } else {
            self.legacy_cpu(hierarchy, cpus)
        };
        if found.is_ok() {
            self.holes.at_cpu = self.section(cpu::WORDS);
        }
        self.set(Family::Cpu, found);
    }

    fn legacy_cpu(
        &mut self,
        hierarchy: &Hierarchy,
        cpus: Result<u32, Reason>,
    ) -> Result<(), Reason> {
        controller(hierarchy, "cpuacct")?;
        let cpus = cpus?;
        fields(
            &self.holes,
            &[
                hole_index!(subsys_cpuacct),
                hole_index!(type_cpuacct),
                hole_index!(cpuacct_usage),
                hole_index!(cpuacct_stat),
                hole_index!(cpu_shown_user),
                hole_index!(cpu_shown_system),
            ],
        )?;
        self.holes.cpus = cpus;
        Ok(())
    }

    /// Has the program add up what the CPUs have counted each for itself.
    fn flush(&mut self, facts: &WalkFacts) -> Result<(), Reason> {
        let by_css = function(facts, "css_rstat_flush");
        self.holes.flush = match (&by_css, function(facts, "cgroup_rstat_flush")) {
            (Ok(()), _) => 1,
            (_, Ok(())) => 2,
            _ => return by_css,
        };
        Ok(())
    }

    fn bandwidth(&mut self, hierarchy: &Hierarchy) {
        let found = controller(hierarchy, "cpu").and_then(|()| {
            fields(
                &self.holes,
                &[
                    hole_index!(subsys_cpu),
                    hole_index!(type_task_group),
                    hole_index!(periods),
                    hole_index!(throttled),
                    hole_index!(throttled_time),
                ],
            )
        });
        if found.is_ok() {
            self.holes.at_bandwidth = self.section(bandwidth::WORDS);
        }
        self.set(Family::Throttling, found);
    }

    fn memory(&mut self, facts: &WalkFacts, hierarchy: &Hierarchy) {
        let found = controller(hierarchy, "memory").and_then(|()| {
            fields(
                &self.holes,
                &[
                    hole_index!(subsys_memory),
                    hole_index!(type_mem_cgroup),
                    hole_index!(memory_usage),
                    hole_index!(memory_peak),
                    hole_index!(memory_max),
                ],
            )
        });
        if found.is_ok() {
            self.holes.at_memory = self.section(memory::WORDS);
        }
        let events = found.clone().and_then(|()| {
            let needed: &[usize] = if self.unified {
                &[
                    hole_index!(event_low),
                    hole_index!(event_high),
                    hole_index!(event_max),
                    hole_index!(event_oom),
                    hole_index!(event_oom_kill),
                    hole_index!(local_oom_kill),
                ]
            } else {
                &[hole_index!(memory_failures), hole_index!(local_oom_kill), hole_index!(under_oom)]
            };
            fields(&self.holes, needed)
        });
        let stat = found.clone().and_then(|()| {
            fields(&self.holes, &[hole_index!(vmstats), hole_index!(stat_from)])?;
            if !self.unified && facts.stat.local == 0 {
                return Err(Reason::MissingField { field: "memcg_vmstats.state_local" });
            }
            Ok(())
        });
        if stat.is_ok() {
            let local = if self.unified { 0 } else { facts.stat.local };
            self.stat_words = (facts.stat.hierarchical + local) as usize;
            self.holes.at_stat = self.section(self.stat_words);
            self.holes.stat_bytes = (self.stat_words * size_of::<u64>()) as u32;
        }
        self.set(Family::Memory, found);
        self.set(Family::MemoryEvents, events);
        self.set(Family::MemoryStat, stat);
    }

    fn pids(&mut self, hierarchy: &Hierarchy) {
        let found = controller(hierarchy, "pids").and_then(|()| {
            fields(
                &self.holes,
                &[
                    hole_index!(subsys_pids),
                    hole_index!(type_pids_cgroup),
                    hole_index!(pids_current),
                    hole_index!(pids_limit),
                ],
            )
        });
        if found.is_ok() {
            self.holes.at_pids = self.section(pids::WORDS);
        }
        self.set(Family::Pids, found);
    }

    fn pressure(&mut self) {
        let found = if self.unified {
            fields(
                &self.holes,
                &[
                    hole_index!(cgroup_psi),
                    hole_index!(psi_totals),
                    hole_index!(psi_averages),
                    hole_index!(psi_next_update),
                ],
            )
        } else {
            Err(Reason::OnlyUnified)
        };
        if found.is_ok() {
            self.holes.at_pressure = self.section(pressure::WORDS);
        }
        let clock = [hole_index!(task_queue), hole_index!(queue_rq), hole_index!(rq_clock)];
        let clock = fields(&self.holes, &clock);
        if clock.is_err() {
            self.holes.rq_clock = ABSENT;
        }
        self.set(Family::PressureAverages, found.clone().and(clock));
        self.set(Family::Pressure, found);
    }

    /// Settings of each controller that the records have. One that has a field too few is left to
    /// files as a whole.
    fn settings(&mut self) {
        let has = |at: u32| at != ABSENT;
        let mut needed = Vec::new();
        if has(self.holes.at_bandwidth) {
            needed.extend([hole_index!(quota), hole_index!(period), hole_index!(shares)]);
        }
        if has(self.holes.at_memory) {
            needed.push(hole_index!(memory_max));
            needed.extend(if self.unified {
                vec![hole_index!(memory_high), hole_index!(memory_low), hole_index!(memory_min)]
            } else {
                vec![hole_index!(memory_soft)]
            });
        }
        if has(self.holes.at_pids) {
            needed.push(hole_index!(pids_limit));
        }
        let found = if needed.is_empty() {
            Err(Reason::NoController { controller: "cpu" })
        } else {
            fields(&self.holes, &needed)
        };
        self.set(Family::Settings, found);
    }
}

impl WalkFacts {
    /// BTF id of one of the functions that programs call.
    fn kfunc(&self, name: &str) -> Option<u32> {
        let all = tare_ebpf::walk_record::KFUNCS.iter().zip(self.kfuncs);
        all.into_iter().find_map(|(found, id)| (*found == name).then_some(id)?)
    }
}

fn function(facts: &WalkFacts, name: &'static str) -> Result<(), Reason> {
    facts.kfunc(name).map(|_| ()).ok_or(Reason::MissingFunction { function: name })
}

fn controller(hierarchy: &Hierarchy, name: &'static str) -> Result<(), Reason> {
    let has = hierarchy.controllers.iter().any(|found| found == name);
    has.then_some(()).ok_or(Reason::NoController { controller: name })
}

fn fields(holes: &Holes, wanted: &[usize]) -> Result<(), Reason> {
    match wanted.iter().find(|hole| holes.words()[**hole] == ABSENT) {
        Some(hole) => Err(Reason::MissingField { field: facts::name(*hole) }),
        None => Ok(()),
    }
}
