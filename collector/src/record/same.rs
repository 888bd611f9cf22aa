//! Whether a container is what it was, but for the times of its readings.
//!
//! Most are idle on most hosts, and comparing one takes a third of taking it apart.

use std::sync::Arc;

use crate::{
    clock::Moment,
    families::{
        Readings,
        memory::MemoryUsage,
        tasks::{OpenFilesReading, TasksReading},
    },
    sample::Usage,
};

/// Readings with a time.
const TIMES: usize = 3;

/// What is known of the times of the readings of one container.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    /// Whether each was the time of its sample, in the sample before the last.
    were_now: [bool; TIMES],
}

impl Times {
    /// How many numbers are the time of this sample, as they were in the two before, if the others
    /// are neither new nor such a time: then all of them are what is expected, and only then.
    pub(super) fn following(
        self,
        (before, clock_before): (&Usage, Moment),
        (now, clock): (&Usage, Moment),
    ) -> Option<usize> {
        let mut following = 0;
        for ((before, now), were_now) in
            times(before).into_iter().zip(times(now)).zip(self.were_now)
        {
            if were_now && before == Some(clock_before) && now == Some(clock) {
                // The time of day and the monotonic one.
                following += 2;
            } else if now != before || before.is_some_and(|before| touches(before, clock_before)) {
                return None;
            }
        }
        Some(following)
    }

    /// What has to be known for the next sample.
    pub(super) fn of(before: &Usage, clock_before: Moment) -> Self {
        Self { were_now: times(before).map(|time| time == Some(clock_before)) }
    }
}

fn touches(time: Moment, clock: Moment) -> bool {
    time.instant == clock.instant || time.time == clock.time
}

fn times(usage: &Usage) -> [Option<Moment>; TIMES] {
    [
        usage.readings.memory.stat_read_at,
        usage.tasks.as_ref().map(|tasks| tasks.read_at),
        usage.open_files.as_ref().map(|open_files| open_files.read_at),
    ]
}

/// Whether all else is the same. Those that change most come first.
pub(super) fn is_same(before: &Usage, now: &Usage) -> bool {
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
    (Arc::ptr_eq(&before.readings, readings) || are_readings_same(&before.readings, readings))
        && before.net == *net
        && before.block == *block
        && are_tasks_same(before.tasks.as_deref(), tasks.as_deref())
        && are_open_files_same(before.open_files.as_deref(), open_files.as_deref())
        && before.latency == *latency
        && before.metadata == *metadata
        && before.instance == *instance
        && before.namespace == *namespace
        && before.writable_layer == *writable_layer
        && before.startup == *startup
        && before.oom_kill == *oom_kill
        && before.block_has_baseline == *block_has_baseline
        && before.block_reason == *block_reason
}

fn are_readings_same(before: &Readings, now: &Readings) -> bool {
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
    before.cpu == *cpu
        && is_memory_same(&before.memory, memory)
        && before.pids == *pids
        && before.block == *block
        && before.state == *state
        && before.pressure == *pressure
        && before.settings == *settings
        && before.processes == *processes
        && before.first_process == *first_process
        && before.per_cpu == *per_cpu
        && before.perf_events == *perf_events
}

fn is_memory_same(before: &MemoryUsage, now: &MemoryUsage) -> bool {
    let MemoryUsage {
        usage_bytes,
        swap_bytes,
        peak_bytes,
        events,
        events_local,
        stat_read_at: _,
        stat_usage_bytes,
        stat,
        numa,
    } = now;
    before.usage_bytes == *usage_bytes
        && before.swap_bytes == *swap_bytes
        && before.peak_bytes == *peak_bytes
        && before.events == *events
        && before.events_local == *events_local
        && before.stat_usage_bytes == *stat_usage_bytes
        && before.stat == *stat
        && before.numa == *numa
}

fn are_tasks_same(before: Option<&TasksReading>, now: Option<&TasksReading>) -> bool {
    let (Some(before), Some(now)) = (before, now) else { return before.is_none() && now.is_none() };
    let TasksReading { read_at: _, live, times, load, waiting_for_cpu, waiting } = now;
    before.live == *live
        && before.times == *times
        && before.load == *load
        && before.waiting_for_cpu == *waiting_for_cpu
        && before.waiting == *waiting
}

fn are_open_files_same(before: Option<&OpenFilesReading>, now: Option<&OpenFilesReading>) -> bool {
    let parts = |reading: &OpenFilesReading| {
        let OpenFilesReading { read_at: _, descriptors, sockets } = *reading;
        (descriptors, sockets)
    };
    before.map(parts) == now.map(parts)
}
