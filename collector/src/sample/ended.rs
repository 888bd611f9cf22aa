//! What the kernel's side says that a cgroup had used when it was removed, and its receipt.

use std::{collections::HashMap, sync::Arc};

use tare_ebpf::event::CpuTicks;
use tare_parsers::cpu::CpuUsage;

use crate::{
    families::Readings,
    kernel::{EndedCpu, EndedUsage, walk},
    registry::{CgroupKey, InstanceId},
    sample::{Finality, Receipt, Sampler},
};

/// The last usage of instances that are about to end, hierarchy by hierarchy.
pub(super) type EndedUsages = HashMap<InstanceId, EndedUsage>;

impl Sampler {
    /// Notes what a cgroup had used when it was removed. On v1 an instance ends in one hierarchy
    /// after the other, so its receipt may be there already. `ending` are those that end now.
    pub(super) fn cgroup_ended(
        &mut self,
        key: CgroupKey,
        path: Option<&str>,
        usage: EndedUsage,
        ending: &[InstanceId],
    ) {
        let Self { registry, receipts, ended, .. } = self;
        let Some(path) = path else {
            match (registry.top(key), registry.owner_of(key), usage.cpu) {
                (Some(id), ..) => ended.entry(id).or_default().add(usage),
                // Its memory and tasks are a part of its parents'.
                (None, Some(owner), Some(cpu)) => {
                    if let Some(owner) = registry.get_mut(owner) {
                        owner.removed_mut().cpu.add(&cpu.own);
                    }
                }
                _ => {}
            }
            return;
        };
        let is_here = |id: &&InstanceId| {
            registry.get(**id).is_some_and(|tracked| tracked.instance.path == path)
        };
        // One that ends has no name any more, because the next one may have it.
        match registry.at_path(path).or_else(|| ending.iter().find(is_here).copied()) {
            Some(id) => ended.entry(id).or_default().add(usage),
            None => receipts.complete(path, &usage),
        }
    }
}

impl EndedUsage {
    /// Adds what another hierarchy has.
    fn add(&mut self, other: Self) {
        let Self { cpu, memory, tasks } = other;
        self.cpu = cpu.or(self.cpu);
        self.memory = memory.or(self.memory);
        self.tasks = tasks.or(self.tasks);
    }
}

impl EndedCpu {
    /// All CPU time, with what sub-cgroups had used that were removed before. Those of which that
    /// is not known are in `whole`, unless they were removed a moment ago.
    pub(super) fn with(&self, removed: &CpuTicks) -> CpuTicks {
        let mut sum = self.own;
        sum.add(removed);
        if sum.usage > self.whole.usage { sum } else { self.whole }
    }
}

impl Receipt {
    /// Takes the last usage over. What files said after the last process had ended stays, unless
    /// it was less.
    pub(super) fn complete(&mut self, ended: &EndedUsage, removed: &CpuTicks) {
        let Readings { cpu, memory, pids, settings, .. } = self.usage.readings_mut();
        if let Some(time) = ended.cpu {
            complete_cpu(cpu, &time.with(removed));
            self.finality.cpu = Finality::Final;
        }
        if let Some(found) = ended.memory {
            memory.peak_bytes = memory.peak_bytes.max(Some(found.peak_bytes));
            if self.finality.memory != Finality::Final {
                memory.usage_bytes = Some(found.usage_bytes);
                memory.swap_bytes = None;
                self.finality.memory = Finality::Final;
            }
        }
        if let Some(tasks) = ended.tasks {
            if settings.pids_peak < tasks.peak {
                Arc::make_mut(settings).pids_peak = tasks.peak;
            }
            if self.finality.pids != Finality::Final {
                *pids = Some(tasks.current);
                self.finality.pids = Finality::Final;
            }
        }
    }
}

/// Raises CPU time to what it was at the end; user mode and kernel are told apart by the ticks, as
/// the kernel does. Files of v1 have these parts in steps of 10 ms only.
fn complete_cpu(cpu: &mut CpuUsage, time: &CpuTicks) {
    if cpu.usage_nanoseconds.is_some_and(|before| before > time.usage) {
        return;
    }
    let before = (cpu.user_nanoseconds.unwrap_or(0), cpu.system_nanoseconds.unwrap_or(0));
    let (user, system) = walk::split(time.usage, (time.user, time.system), before);
    cpu.usage_nanoseconds = Some(time.usage);
    cpu.user_nanoseconds = Some(user);
    cpu.system_nanoseconds = Some(system);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use jiff::Timestamp;

    use super::*;
    use crate::{
        kernel::{EndedMemory, EndedTasks},
        sample::{Families, Usage},
    };

    fn receipt(finality: Finality) -> Receipt {
        Receipt {
            usage: Usage::of_path(1, "/docker/abc"),
            interfaces: None,
            ended_at: Timestamp::UNIX_EPOCH,
            ended: Instant::now(),
            end: None,
            removed: false,
            finality: Families::all(finality),
        }
    }

    fn ticks(usage: u64, user: u64, system: u64) -> CpuTicks {
        CpuTicks { system, user, usage }
    }

    #[test]
    fn a_receipt_without_a_reading_takes_everything_from_the_kernel() {
        let mut receipt = receipt(Finality::Unknown);
        let ended = EndedUsage {
            cpu: Some(EndedCpu { whole: ticks(1000, 3, 1), own: ticks(900, 3, 1) }),
            memory: Some(EndedMemory { usage_bytes: 4096, peak_bytes: 8192 }),
            tasks: Some(EndedTasks { current: 0, peak: Some(7) }),
        };
        receipt.complete(&ended, &CpuTicks::default());
        let Readings { cpu, memory, pids, settings, .. } = &*receipt.usage.readings;
        assert_eq!(
            (cpu.usage_nanoseconds, cpu.user_nanoseconds, cpu.system_nanoseconds),
            (Some(1000), Some(750), Some(250))
        );
        assert_eq!((memory.usage_bytes, memory.peak_bytes), (Some(4096), Some(8192)));
        assert_eq!((*pids, settings.pids_peak), (Some(0), Some(7)));
        let Families { cpu, memory, pids, block, .. } = receipt.finality;
        assert_eq!([cpu, memory, pids], [Finality::Final; 3]);
        assert_eq!(block, Finality::Unknown);
    }

    #[test]
    fn what_files_said_at_the_end_is_raised_and_never_lowered() {
        let mut receipt = receipt(Finality::Final);
        let readings = receipt.usage.readings_mut();
        readings.cpu.usage_nanoseconds = Some(2000);
        readings.cpu.user_nanoseconds = Some(1500);
        readings.memory.usage_bytes = Some(5);
        readings.memory.peak_bytes = Some(10_000);
        readings.pids = Some(2);
        let ended = EndedUsage {
            cpu: Some(EndedCpu { whole: ticks(1999, 1, 1), own: ticks(1999, 1, 1) }),
            memory: Some(EndedMemory { usage_bytes: 4096, peak_bytes: 8192 }),
            tasks: Some(EndedTasks { current: 0, peak: None }),
        };
        receipt.complete(&ended, &CpuTicks::default());
        let Readings { cpu, memory, pids, .. } = &*receipt.usage.readings;
        assert_eq!((cpu.usage_nanoseconds, cpu.user_nanoseconds), (Some(2000), Some(1500)));
        assert_eq!((memory.usage_bytes, memory.peak_bytes), (Some(5), Some(10_000)));
        assert_eq!(*pids, Some(2));
    }

    #[test]
    fn a_last_sample_becomes_final() {
        let mut receipt = receipt(Finality::LastSample(Duration::from_secs(1)));
        receipt.usage.readings_mut().cpu.usage_nanoseconds = Some(500);
        let cpu = Some(EndedCpu { whole: ticks(700, 0, 0), own: ticks(700, 0, 0) });
        receipt.complete(&EndedUsage { cpu, ..EndedUsage::default() }, &CpuTicks::default());
        assert_eq!(receipt.usage.readings.cpu.usage_nanoseconds, Some(700));
        assert_eq!(receipt.finality.cpu, Finality::Final);
        assert_eq!(receipt.finality.memory, Finality::LastSample(Duration::from_secs(1)));
    }

    #[test]
    fn removed_sub_cgroups_count_once() {
        let cpu = EndedCpu { whole: ticks(1000, 0, 0), own: ticks(400, 0, 0) };
        // The kernel has added up 600 of theirs; we saw one of them end, both, or more than it
        // has added up.
        for (removed, expected) in [(0, 1000), (300, 1000), (600, 1000), (700, 1100)] {
            assert_eq!(cpu.with(&ticks(removed, 0, 0)).usage, expected, "{removed}");
        }
    }
}
