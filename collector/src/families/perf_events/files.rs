//! The counters of one cgroup.

use std::{
    fs::File,
    io, iter,
    time::{Duration, Instant},
};

use crate::{
    cgroup::{Directory, Hierarchies, KeptFile, ReadError},
    families::{
        perf_events::{
            PerfCount, PerfEvents,
            counter::Counter,
            wanted::{CONTROLLER, Reserved},
        },
        readers::{CgroupReader, ReadContext},
        walked::WalkLayout,
    },
};

/// The least time between two readings: each descriptor is read by itself, and the CPU that counts
/// is interrupted for it. A little less than 10 s, so that a tick that comes early is not lost.
const INTERVAL: Duration = Duration::from_millis(9900);

/// Where the counters of one cgroup are opened, and those that are.
#[derive(Debug)]
pub struct PerfEventFiles {
    directory: Directory,
    counters: Option<Counters>,
    read_at: Option<Instant>,
    has_run_since: bool,
    /// Whether there was no descriptor left at the last try.
    is_refused: bool,
}

#[derive(Debug)]
struct Counters {
    /// By event, in the order of the readings; one for each CPU.
    events: Vec<Vec<Counter>>,
    _room: Reserved,
}

impl PerfEventFiles {
    /// Whether the cgroup is not counted because there was no descriptor left.
    pub(in crate::families) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Opens a counter for each event and CPU. `None` if there are too many, or if the cgroup is
    /// not there yet or any more.
    fn open_all(&mut self, wanted: &PerfEvents) -> Option<Counters> {
        let directory = self.directory.with("", |directory| File::open(directory)).ok()?;
        let room = wanted.budget.reserve(wanted.events.len() * wanted.cpus.len());
        let opened = room.map(|room| {
            let on_cpus = |event| {
                let open = |cpu: &u32| Counter::open(event, &directory, *cpu);
                wanted.cpus.iter().map(open).collect::<io::Result<Vec<_>>>()
            };
            let events = wanted.events.iter().map(|event| on_cpus(*event));
            Ok::<_, io::Error>(Counters { events: events.collect::<io::Result<_>>()?, _room: room })
        });
        let opened = opened.and_then(Result::ok);
        self.is_refused = opened.is_none();
        opened
    }
}

impl CgroupReader for PerfEventFiles {
    type Reading = Vec<PerfCount>;

    fn is_known(reading: &Self::Reading) -> bool {
        !reading.is_empty()
    }

    fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
        let found = hierarchies.controller(CONTROLLER);
        Ok(found.map(|controller| Self {
            directory: Directory::new(controller.root, path),
            counters: None,
            read_at: None,
            has_run_since: false,
            is_refused: false,
        }))
    }

    fn is_due(context: &ReadContext<'_>) -> bool {
        context.perf_events.is_some()
    }

    /// Begins to count at the first call. What has not run since the last reading has counted
    /// nothing.
    fn read(
        &mut self,
        context: &mut ReadContext<'_>,
        latest: &mut Vec<PerfCount>,
    ) -> Result<(), ReadError> {
        let Some(wanted) = context.perf_events else { return Ok(()) };
        self.has_run_since |= context.due.memory;
        let is_old = |at| context.now.saturating_duration_since(at) >= INTERVAL;
        let may_read = context.due.details || self.read_at.is_none_or(is_old);
        if !self.has_run_since || !may_read {
            return Ok(());
        }
        (self.read_at, self.has_run_since) = (Some(context.now), false);
        if self.counters.is_none() {
            self.counters = self.open_all(wanted);
            let zero = |event: &_| PerfCount {
                event: *event,
                count: 0,
                enabled_nanoseconds: 0,
                running_nanoseconds: 0,
            };
            let opened = self.counters.iter().flat_map(|_| wanted.events.iter().map(zero));
            latest.clear();
            latest.extend(opened);
        }
        let counters = self.counters.iter_mut().flat_map(|counters| &mut counters.events);
        for (total, counters) in latest.iter_mut().zip(counters) {
            // A counter whose CPU has gone says nothing more.
            for counted in counters.iter_mut().filter_map(|counter| counter.advance().ok()) {
                total.count = total.count.saturating_add(counted.count);
                total.enabled_nanoseconds += counted.enabled;
                total.running_nanoseconds += counted.running;
            }
        }
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = &KeptFile> {
        iter::empty()
    }

    /// Counters are none of a walk's files.
    fn opens_on_demand(_: &WalkLayout) -> bool {
        false
    }

    fn from_record(
        _: Option<&mut Self>,
        _: &mut ReadContext<'_>,
        _: &mut Vec<PerfCount>,
    ) -> Result<bool, ReadError> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests;
