//! News from the kernel, and the receipts that come of them.
//!
//! When a container's last process ends, its files are read at once: its directory may be gone
//! some milliseconds later. When the directory goes, the kernel's counters are read a last time.

use std::{collections::HashSet, sync::Arc, time::Instant};

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};

use crate::{
    cgroup::ReadError,
    families::{ReadContext, Readers, lifecycle::OomKill},
    kernel::{Events, LifecycleEvent, LifecycleEventKind},
    registry::{InstanceId, Place},
    sample::{Finality, Receipt, Sampler, Usage},
};

/// A member whose last process has ended, until its directory goes.
pub(super) struct Draining {
    at: Timestamp,
    receipt: Option<Receipt>,
}

impl Sampler {
    /// Waits for news; for ever where the kernel tells none.
    pub async fn wait_for_events(&mut self) -> std::io::Result<()> {
        match &mut self.kernel.lifecycle {
            Ok(events) => events.wait().await,
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes over all news that are there.
    pub fn drain_events(&mut self) {
        let clock = Clock::read();
        let mut removed = HashSet::new();
        let mut ending = Vec::new();
        let mut emptied = Vec::new();
        while let Some(event) = self.kernel.lifecycle.as_mut().ok().and_then(Events::pop) {
            let place = Place { hierarchy: event.hierarchy, cgroup_id: event.cgroup_id };
            let at = clock.time_of(event.at_nanoseconds);
            if event.kind == LifecycleEventKind::Removed {
                removed.insert(place);
                if let Some(id) = self.registry.cgroup_removed(place) {
                    self.closing.entry(id).or_insert(Draining { at, receipt: None });
                    ending.push(id);
                }
            } else {
                emptied.extend(self.apply_event(event, place, at));
            }
        }
        self.read_rest(&emptied);
        self.close(&ending);
        self.close_ended();
        self.retire(|registry, counters, cgroup_id| {
            let hierarchy = registry.hierarchy(counters);
            hierarchy.is_some_and(|hierarchy| removed.contains(&Place { hierarchy, cgroup_id }))
        });
        self.release();
        self.notice_lost_events();
    }

    /// Takes over one event; the member whose last process has ended by it, if any.
    fn apply_event(
        &mut self,
        event: LifecycleEvent,
        place: Place,
        at: Timestamp,
    ) -> Option<InstanceId> {
        let registry = &mut self.registry;
        let owner = registry.owner_of(place);
        match (event.kind, owner) {
            (LifecycleEventKind::Created { parent_id, path }, _) => {
                registry.cgroup_created(place, parent_id, path, at)
            }
            (LifecycleEventKind::Emptied, Some(id)) if registry.top(place).is_some() => {
                let receipt = self.read_last(id, at);
                self.closing.insert(id, Draining { at, receipt });
                return Some(id);
            }
            (LifecycleEventKind::Populated, Some(id)) if registry.top(place).is_some() => {
                self.closing.remove(&id);
            }
            (LifecycleEventKind::Attached { pid }, Some(id)) => registry.process_seen(id, pid),
            (LifecycleEventKind::Executed { pid, .. }, Some(id)) => {
                registry.process_seen(id, pid);
                registry.record_startup(id, |startup| {
                    startup.executed_at.get_or_insert(at);
                });
            }
            (LifecycleEventKind::Listening, Some(id)) => registry.record_startup(id, |startup| {
                startup.listened_at.get_or_insert(at);
            }),
            (LifecycleEventKind::OomKill { pid, command }, Some(id)) => {
                registry.oom_killed(id, OomKill { at, pid, command });
            }
            _ => {}
        }
        None
    }

    /// Ends members whose directories are gone: the kernel's counters are read a last time.
    fn close(&mut self, ending: &[InstanceId]) {
        let mut receipts: Vec<Receipt> = Vec::with_capacity(ending.len());
        for id in ending {
            let Some(Draining { at, receipt }) = self.closing.remove(id) else { continue };
            receipts.extend(receipt.or_else(|| self.read_last(*id, at)));
        }
        receipts.sort_by_key(|receipt| receipt.usage.instance.id);
        let mut usages: Vec<Usage> = receipts.iter().map(|r| r.usage.clone()).collect();
        self.reset_tables(&mut usages);
        self.read_tables(&mut usages);
        self.add_io_baseline(&mut usages);
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
            self.baseline.remove(id);
            self.missed.forget(*id);
        }
        if !ending.is_empty() {
            self.registry.close_namespaces();
        }
    }

    /// Receipts of those whose end only a walk noticed: all that is left is the last sample.
    pub(super) fn close_ended(&mut self) {
        for tracked in self.registry.take_ended() {
            let closing = self.closing.remove(&tracked.instance.id);
            let receipt = closing.and_then(|closing| closing.receipt).or_else(|| {
                Receipt::of_last_sample(&tracked, self.last.as_deref()?, Timestamp::now())
            });
            if let Some(receipt) = receipt {
                self.keep(receipt);
            }
        }
    }

    fn keep(&mut self, mut receipt: Receipt) {
        // The kernel told of a kill; its file may have gone before it could be read again.
        if receipt.usage.oom_kill.is_some() {
            let kills = &mut receipt.usage.readings.memory.events.oom_kill;
            *kills = (*kills).max(Some(1));
        }
        if receipt.usage.instance.is_container() {
            self.receipts.keep(receipt);
        }
    }

    /// Reads what can be read of a member whose last process has ended.
    fn read_last(&mut self, id: InstanceId, at: Timestamp) -> Option<Receipt> {
        let Self { registry, kernel, buffer, last, .. } = self;
        let now = Instant::now();
        let tracked = registry.get_mut(id)?;
        let mut receipt = last
            .as_deref()
            .and_then(|last| Receipt::of_last_sample(tracked, last, at))
            .unwrap_or_else(|| Receipt::unread(tracked, at));
        let Receipt { usage, finality, interfaces, .. } = &mut receipt;
        let namespace = tracked.namespace;
        let mut faults = Vec::new();
        if let Some(readers) = &mut tracked.readers {
            readers.expire();
            let mut context =
                ReadContext { reads_block: kernel.block.is_err(), ..ReadContext::new(now, buffer) };
            for (family, step) in &Readers::FINAL_STEPS[..Readers::URGENT_STEPS] {
                let read = read(step(readers, &mut context, &mut usage.readings), &mut faults);
                if let (Some(true), Some(family)) = (read, family) {
                    finality.set(*family, Finality::Final);
                }
            }
        }
        if let Some(namespace) = namespace
            && let Some(devices) = read(registry.namespaces().read(namespace, buffer), &mut faults)
        {
            (*interfaces, finality.interfaces) = (Some(Arc::new(devices)), Finality::Final);
        }
        for fault in faults {
            registry.tell(&fault);
        }
        Some(receipt)
    }

    /// Reads what is left of members whose last process has ended, once what cannot wait was read
    /// of all of them: settings take ten times as long.
    fn read_rest(&mut self, emptied: &[InstanceId]) {
        let Self { registry, buffer, closing, .. } = self;
        let mut context = ReadContext::new(Instant::now(), buffer);
        let mut faults = Vec::new();
        for id in emptied {
            let receipt = closing.get_mut(id).and_then(|closing| closing.receipt.as_mut());
            let readers = registry.get_mut(*id).and_then(|tracked| tracked.readers.as_mut());
            let (Some(Receipt { usage, .. }), Some(readers)) = (receipt, readers) else { continue };
            for (_, step) in &Readers::FINAL_STEPS[Readers::URGENT_STEPS..] {
                read(step(readers, &mut context, &mut usage.readings), &mut faults);
            }
        }
        for fault in faults {
            registry.tell(&fault);
        }
    }

    /// Lost events may have been births and deaths: only a walk tells.
    fn notice_lost_events(&mut self) {
        let lost = self.kernel.lifecycle.as_ref().map_or(0, Events::lost);
        if lost != self.lost_events {
            self.lost_events = lost;
            self.registry.events_lost();
        }
    }
}

/// LifecycleEventKind was read, if anything; faults are collected.
fn read<T>(result: Result<T, ReadError>, faults: &mut Vec<ReadError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(ReadError::Vanished) => None,
        Err(fault) => {
            faults.push(fault);
            None
        }
    }
}

/// The monotonic clock, by which the kernel stamps events, beside the one that people use.
struct Clock {
    now: Timestamp,
    monotonic_nanoseconds: i64,
}

impl Clock {
    fn read() -> Self {
        // The clock is always there: without it every event would be said to happen now.
        let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC);
        let nanoseconds = monotonic.map_or(0, |t| t.tv_sec() * 1_000_000_000 + t.tv_nsec());
        Self { now: Timestamp::now(), monotonic_nanoseconds: nanoseconds }
    }

    fn time_of(&self, monotonic_nanoseconds: u64) -> Timestamp {
        let ago = self.monotonic_nanoseconds.saturating_sub_unsigned(monotonic_nanoseconds);
        self.now.saturating_sub(SignedDuration::from_nanos(ago)).unwrap_or(self.now)
    }
}
