//! Lifecycle events from the kernel, and the receipts of containers that end.
//!
//! When a container's last process ends, its files are read at once: its directory may be gone
//! some milliseconds later. When the directory is removed, the kernel's counters are read a last
//! time.

use std::{
    collections::HashSet,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};

use crate::{
    cgroup::ReadError,
    families::{Place, ReadContext, Readers, lifecycle::OomKill},
    kernel::{Events, LifecycleEvent, LifecycleEventKind},
    registry::{CgroupKey, InstanceId},
    sample::{Finality, Receipt, Sampler, Usage, counters},
};

/// How often the trees are walked where the kernel reports what happens to cgroups: the walk only
/// repairs what went wrong unnoticed.
const REPAIR_INTERVAL: Duration = Duration::from_secs(30);

/// An instance whose last process has ended, until its cgroup is removed.
pub(super) struct Draining {
    at: Timestamp,
    /// Boxed, because most of the map of those is empty.
    receipt: Option<Box<Receipt>>,
}

impl Sampler {
    /// Waits for lifecycle events; for ever where the kernel reports none.
    ///
    /// # Errors
    ///
    /// If the ring of events cannot be waited for.
    pub async fn wait_for_events(&mut self) -> io::Result<()> {
        match &mut self.kernel.lifecycle {
            Ok(events) => events.wait().await,
            Err(_) => std::future::pending().await,
        }
    }

    /// Applies all events that are there.
    pub fn drain_events(&mut self) {
        let clock = Clock::read();
        let mut removed = HashSet::new();
        let mut ending = Vec::new();
        let mut emptied = Vec::new();
        while let Some(event) = self.kernel.lifecycle.as_mut().ok().and_then(Events::pop) {
            let key = CgroupKey { hierarchy: event.hierarchy, cgroup_id: event.cgroup_id };
            let at = clock.time_of(event.at_nanoseconds);
            if let LifecycleEventKind::Ended { usage, path } = event.kind {
                self.cgroup_ended(key, path.as_deref(), usage, &ending);
            } else if event.kind == LifecycleEventKind::Removed {
                removed.insert(key);
                if let Some(id) = self.registry.cgroup_removed(key) {
                    self.draining.entry(id).or_insert(Draining { at, receipt: None });
                    ending.push(id);
                }
            } else {
                emptied.extend(self.apply_event(event, key, at));
            }
        }
        self.read_rest(&emptied);
        self.end(&ending);
        self.end_reaped();
        counters::retire(&self.registry, &mut self.kernel, |registry, counters, cgroup_id| {
            let hierarchy = registry.hierarchy(counters);
            hierarchy.is_some_and(|hierarchy| removed.contains(&CgroupKey { hierarchy, cgroup_id }))
        });
        counters::release(&mut self.registry, &mut self.kernel, &mut self.reconcilers);
        self.check_lost_events();
    }

    /// Walks the trees, where that is due, and retires the counters of cgroups that are gone.
    pub(super) fn walk_if_due(&mut self) {
        let has_events = self.kernel.lifecycle.is_ok();
        let is_late = self.walked_at.is_none_or(|at| at.elapsed() >= REPAIR_INTERVAL);
        if has_events && !is_late && !self.registry.needs_walk() {
            return;
        }
        // Only a cgroup that was there before the walk can be proved gone by it.
        let before = counters::counted_cgroups(&self.kernel);
        self.registry.walk();
        self.walked_at = Some(Instant::now());
        self.end_reaped();
        counters::retire(&self.registry, &mut self.kernel, |registry, counters, cgroup_id| {
            before.contains(&(counters, cgroup_id)) && registry.is_gone(counters, cgroup_id)
        });
        self.registry.prune(|counters, cgroup_id| before.contains(&(counters, cgroup_id)));
        let registry = &self.registry;
        self.counters.retain(|id| registry.get(id).is_some());
        self.tasks.retain(|id| registry.get(id).is_some());
        self.open_files.retain(|id| registry.get(id).is_some());
        self.ended.retain(|id, _| registry.get(*id).is_some());
    }

    /// Applies one event; returns the instance whose last process ended with it, if any.
    fn apply_event(
        &mut self,
        event: LifecycleEvent,
        key: CgroupKey,
        at: Timestamp,
    ) -> Option<InstanceId> {
        use LifecycleEventKind as Kind;
        let registry = &mut self.registry;
        let owner = registry.owner_of(key);
        match (event.kind, owner) {
            (Kind::Created { parent_id, path }, _) => {
                registry.cgroup_created(key, parent_id, path, at);
            }
            (Kind::Emptied, Some(id)) if registry.top(key).is_some() => {
                let receipt = self.read_final(id, at);
                self.draining.insert(id, Draining { at, receipt: receipt.map(Box::new) });
                return Some(id);
            }
            (Kind::Populated, Some(id)) if registry.top(key).is_some() => {
                self.draining.remove(&id);
            }
            (Kind::Attached { pid }, Some(id)) => registry.process_seen(id, pid),
            (Kind::Executed { pid, .. }, Some(id)) => {
                registry.process_seen(id, pid);
                registry.record_startup(id, |startup| {
                    startup.executed_at.get_or_insert(at);
                });
            }
            (Kind::Listening, Some(id)) => registry.record_startup(id, |startup| {
                startup.listened_at.get_or_insert(at);
            }),
            (Kind::OomKill { pid, command }, Some(id)) => {
                registry.oom_killed(id, OomKill { at, pid, command });
            }
            _ => {}
        }
        None
    }

    /// Ends instances whose cgroups were removed: the kernel's counters are read a last time.
    fn end(&mut self, ending: &[InstanceId]) {
        let mut receipts: Vec<Receipt> = Vec::with_capacity(ending.len());
        for id in ending {
            let Some(Draining { at, receipt }) = self.draining.remove(id) else { continue };
            let receipt = receipt.map(|receipt| *receipt).or_else(|| self.read_final(*id, at));
            let Some(mut receipt) = receipt else { continue };
            if let (Some(ended), Some(tracked)) = (self.ended.remove(id), self.registry.get(*id)) {
                receipt.complete(&ended, &tracked.removed_cpu());
            }
            receipts.push(receipt);
        }
        receipts.sort_by_key(|receipt| receipt.usage.instance.id);
        let mut usages: Vec<Usage> = receipts.iter().map(|r| r.usage.clone()).collect();
        for usage in &mut usages {
            if let Some(tracked) = self.registry.get(usage.instance.id) {
                counters::start(usage, tracked, &self.kernel);
            }
        }
        self.counters.read_last(&self.registry, &self.kernel, &mut usages);
        self.counters.add_baseline(&mut self.devices, &mut usages);
        for (mut receipt, usage) in receipts.into_iter().zip(usages) {
            if usage.net.is_some() {
                receipt.finality.sockets = Finality::Final;
            }
            if usage.block.is_some() {
                receipt.finality.block = Finality::Final;
            }
            receipt.usage = usage;
            self.keep(receipt);
        }
        for id in ending {
            self.registry.remove(*id);
            self.counters.forget(*id);
        }
        if !ending.is_empty() {
            self.registry.close_namespaces();
        }
    }

    /// Makes receipts of instances whose end only a walk noticed: only the last sample is left.
    fn end_reaped(&mut self) {
        for tracked in self.registry.take_ended() {
            let draining = self.draining.remove(&tracked.instance.id);
            let receipt = draining.and_then(|draining| draining.receipt.map(|receipt| *receipt));
            let receipt = receipt.or_else(|| {
                Receipt::of_last_sample(&tracked, self.samples.last()?, Timestamp::now())
            });
            let ended = self.ended.remove(&tracked.instance.id);
            if let Some(mut receipt) = receipt {
                if let Some(ended) = ended {
                    receipt.complete(&ended, &tracked.removed_cpu());
                }
                self.keep(receipt);
            }
        }
    }

    fn keep(&mut self, mut receipt: Receipt) {
        // The kernel reported a kill; its file may have gone before it could be read again.
        if receipt.usage.oom_kill.is_some() {
            let kills = &mut receipt.usage.readings_mut().memory.events.oom_kill;
            *kills = (*kills).max(Some(1));
        }
        if receipt.usage.instance.is_container() {
            self.receipts.keep(receipt);
        }
    }

    /// Reads what cannot wait of an instance whose last process has ended.
    fn read_final(&mut self, id: InstanceId, at: Timestamp) -> Option<Receipt> {
        let Self { registry, kernel, buffer, samples, .. } = self;
        let (hierarchies, layout, tracked) = registry.part_mut(id);
        let tracked = tracked?;
        let mut receipt = samples
            .last()
            .and_then(|last| Receipt::of_last_sample(tracked, last, at))
            .unwrap_or_else(|| Receipt::unread(tracked, at));
        let Receipt { usage, finality, interfaces, .. } = &mut receipt;
        let namespace = tracked.namespace;
        let mut errors = Vec::new();
        let is_young = tracked.is_young();
        if let Some(readers) = &mut tracked.readers {
            readers.expire();
            let path = &tracked.instance.path;
            let mut context = ReadContext {
                reads_block: kernel.block.is_err(),
                place: Place::of(readers, hierarchies, path, layout, is_young),
                ..ReadContext::new(Instant::now(), buffer)
            };
            let out = usage.readings_mut();
            for (family, step) in &Readers::FINAL_STEPS[..Readers::URGENT_STEPS] {
                let read = known(step(readers, &mut context, out), &mut errors);
                if let (Some(true), Some(family)) = (read, family) {
                    finality.set(*family, Finality::Final);
                }
            }
        }
        if let Some(namespace) = namespace
            && let Some(devices) = known(registry.namespaces().read(namespace, buffer), &mut errors)
        {
            (*interfaces, finality.interfaces) = (Some(Arc::new(devices)), Finality::Final);
        }
        errors.iter().for_each(|error| registry.report(error));
        Some(receipt)
    }

    /// Reads the rest of instances whose last process has ended, once what cannot wait was read of
    /// all of them.
    fn read_rest(&mut self, emptied: &[InstanceId]) {
        let Self { registry, buffer, draining, perf_events, .. } = self;
        let mut context = ReadContext::new(Instant::now(), buffer);
        context.perf_events = perf_events.as_ref();
        let mut errors = Vec::new();
        for id in emptied {
            let receipt = draining.get_mut(id).and_then(|draining| draining.receipt.as_deref_mut());
            let (hierarchies, layout, tracked) = registry.part_mut(*id);
            let (Some(Receipt { usage, .. }), Some(tracked)) = (receipt, tracked) else { continue };
            let (path, is_young) = (&tracked.instance.path, tracked.is_young());
            let Some(readers) = &mut tracked.readers else { continue };
            let place = Place::of(readers, hierarchies, path, layout, is_young);
            let mut context = context.of_cgroup(place, None);
            let out = usage.readings_mut();
            for (_, step) in &Readers::FINAL_STEPS[Readers::URGENT_STEPS..] {
                known(step(readers, &mut context, out), &mut errors);
            }
        }
        errors.iter().for_each(|error| registry.report(error));
    }

    /// Lost events may have reported new and removed cgroups: only a walk finds these.
    fn check_lost_events(&mut self) {
        let lost = self.kernel.lifecycle.as_ref().map_or(0, Events::lost);
        if lost != self.lost_events {
            self.lost_events = lost;
            self.registry.events_lost();
        }
    }
}

/// What was read; `None` if the cgroup is gone. Other errors are collected.
fn known<T>(result: Result<T, ReadError>, errors: &mut Vec<ReadError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(ReadError::Vanished) => None,
        Err(error) => {
            errors.push(error);
            None
        }
    }
}

/// The monotonic clock, which stamps events, beside the time of day.
struct Clock {
    now: Timestamp,
    monotonic_nanoseconds: i64,
}

impl Clock {
    fn read() -> Self {
        // The clock is always there; without it every event would have the time of now.
        let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC);
        let nanoseconds = monotonic.map_or(0, |t| t.tv_sec() * 1_000_000_000 + t.tv_nsec());
        Self { now: Timestamp::now(), monotonic_nanoseconds: nanoseconds }
    }

    fn time_of(&self, monotonic_nanoseconds: u64) -> Timestamp {
        let ago = self.monotonic_nanoseconds.saturating_sub_unsigned(monotonic_nanoseconds);
        self.now.saturating_sub(SignedDuration::from_nanos(ago)).unwrap_or(self.now)
    }
}
