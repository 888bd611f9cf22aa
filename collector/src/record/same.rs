//! Which parts of a container are as they were at the instant before.
//!
//! Most are, also of a busy one, and to compare two parts takes a fraction of taking one apart.

use std::sync::Arc;

use tare_record::Same;

use crate::{
    families::{Readings, memory::MemoryUsage, tasks::TasksReading},
    sample::Usage,
};

/// Compares containers. It is kept for its memory.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// What is the same, in the order of the fields.
    same: Vec<Same>,
}

impl Comparison {
    /// The parts that are the same; `None` if the whole container is.
    pub(super) fn parts(&mut self, before: &Usage, now: &Usage) -> Option<&[Same]> {
        self.same.clear();
        let Usage {
            instance,
            metadata,
            namespace,
            readings,
            tasks,
            open_files,
            writable_layer,
            net,
            block,
            startup,
            oom_kill,
            latency,
            block_has_baseline,
            block_reason,
        } = now;
        let are_same = [
            self.part(instance, before.instance == *instance),
            self.part(metadata, before.metadata == *metadata),
            before.namespace == *namespace,
            self.part(readings, Arc::ptr_eq(&before.readings, readings))
                || self.whole(readings, |it| it.are_readings_same(&before.readings, readings)),
            self.are_tasks_same(&before.tasks, tasks),
            self.part(open_files, before.open_files == *open_files),
            self.part(writable_layer, before.writable_layer == *writable_layer),
            self.part(net, before.net == *net),
            self.part(block, before.block == *block),
            self.part(startup, before.startup == *startup),
            self.part(oom_kill, before.oom_kill == *oom_kill),
            self.part(latency, before.latency == *latency),
            before.block_has_baseline == *block_has_baseline,
            before.block_reason == *block_reason,
        ];
        are_same.contains(&false).then_some(&self.same)
    }

    fn are_readings_same(&mut self, before: &Readings, now: &Readings) -> bool {
        let Readings {
            cpu,
            memory,
            pids,
            block,
            state,
            pressure,
            settings,
            processes,
            first_process,
            per_cpu,
            perf_events,
        } = now;
        let are_same = [
            self.part(cpu, before.cpu == *cpu),
            self.whole(memory, |it| it.is_memory_same(&before.memory, memory)),
            self.part(pids, before.pids == *pids),
            self.part(block, before.block == *block),
            self.part(state, before.state == *state),
            self.part(pressure, before.pressure == *pressure),
            self.part(settings, before.settings == *settings),
            self.part(processes, before.processes == *processes),
            self.part(first_process, before.first_process == *first_process),
            self.part(per_cpu, before.per_cpu == *per_cpu),
            self.part(perf_events, before.perf_events == *perf_events),
        ];
        !are_same.contains(&false)
    }

    fn is_memory_same(&mut self, before: &MemoryUsage, now: &MemoryUsage) -> bool {
        let MemoryUsage {
            usage_bytes,
            swap_bytes,
            peak_bytes,
            events,
            events_local,
            stat_read_at,
            stat_usage_bytes,
            stat,
            numa,
        } = now;
        let are_same = [
            before.usage_bytes == *usage_bytes,
            before.swap_bytes == *swap_bytes,
            before.peak_bytes == *peak_bytes,
            self.part(events, before.events == *events),
            self.part(events_local, before.events_local == *events_local),
            before.stat_read_at == *stat_read_at,
            before.stat_usage_bytes == *stat_usage_bytes,
            self.part(stat, before.stat == *stat),
            self.part(numa, before.numa == *numa),
        ];
        !are_same.contains(&false)
    }

    fn are_tasks_same(
        &mut self,
        before: &Option<Arc<TasksReading>>,
        now: &Option<Arc<TasksReading>>,
    ) -> bool {
        match (before, now) {
            (Some(before), Some(now_tasks)) if !Arc::ptr_eq(before, now_tasks) => {
                let TasksReading { read_at, live, times, load, waiting_for_cpu, waiting } =
                    &**now_tasks;
                let are_same = [
                    before.read_at == *read_at,
                    self.part(live, before.live == *live),
                    self.part(times, before.times == *times),
                    self.part(load, before.load == *load),
                    before.waiting_for_cpu == *waiting_for_cpu,
                    self.part(waiting, before.waiting == *waiting),
                ];
                !are_same.contains(&false)
            }
            _ => self.part(now, before.is_some() == now.is_some()),
        }
    }

    /// A part that is compared; whether it is the same.
    #[inline(always)]
    fn part<T>(&mut self, now: &T, is_same: bool) -> bool {
        if is_same {
            self.same.push(Same::of(now));
        }
        is_same
    }

    /// A part that has parts; whether it is the same.
    #[inline(always)]
    fn whole<T>(&mut self, now: &T, is_same: impl FnOnce(&mut Self) -> bool) -> bool {
        let before = self.same.len();
        let is_same = is_same(self);
        if is_same {
            self.same.truncate(before);
            self.same.push(Same::of(now));
        }
        is_same
    }
}
