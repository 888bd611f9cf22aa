//! The last totals of ended containers: bounded in number and in age.

use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tare_ebpf::event::CpuTicks;
use tare_model::Family;

use crate::{
    identity::{ExitStatus, MetadataResolver},
    kernel::EndedUsage,
    network::Interfaces,
    registry::TrackedCgroup,
    sample::{Sample, Usage},
};

/// For how long after an end its runtime is asked for the exit status.
const LATE_METADATA: Duration = Duration::from_secs(10);

/// For how long after an end a cgroup may still be in another v1 hierarchy.
const LATE_USAGE: Duration = Duration::from_secs(10);

/// The last known totals of an ended container.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Receipt {
    /// Its last totals.
    pub usage: Usage,
    /// Devices of its network namespace.
    pub interfaces: Option<Arc<Interfaces>>,
    /// When its last process ended, or when that was noticed.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::required")]
    pub ended_at: Timestamp,
    /// The same, for its age.
    #[serde(with = "crate::clock::instant")]
    pub ended: Instant,
    /// Its exit status, from its runtime.
    pub end: Option<ExitStatus>,
    /// Whether its runtime has reported that it removed the container.
    pub removed: bool,
    /// How certain each family is.
    pub finality: Families<Finality>,
}

/// One value for each family of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct Families<T> {
    pub cpu: T,
    pub memory: T,
    pub pids: T,
    pub interfaces: T,
    pub sockets: T,
    pub block: T,
}

/// How certain a receipt's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finality {
    /// Read after the last process had ended.
    Final,
    /// From the last sample, which was this much older than the end.
    LastSample(Duration),
    /// Never read.
    Unknown,
}

impl Receipt {
    /// A receipt of an instance of which nothing was ever read.
    pub fn unread(tracked: &TrackedCgroup, at: Timestamp) -> Self {
        Self {
            usage: Usage::unread(tracked),
            interfaces: None,
            ended_at: at,
            end: None,
            removed: false,
            ended: Instant::now(),
            finality: Families::all(Finality::Unknown),
        }
    }

    /// A receipt from the last sample; `None` if the instance is not in it.
    pub fn of_last_sample(tracked: &TrackedCgroup, last: &Sample, at: Timestamp) -> Option<Self> {
        let mut usage = last.usage(tracked.instance.id)?.clone();
        // Events since then are newer.
        (usage.startup, usage.oom_kill) = (tracked.startup.clone(), tracked.oom_kill.clone());
        usage.metadata.clone_from(&tracked.metadata);
        let memory = &usage.readings.memory;
        if memory.stat_read_at.is_none() && !memory.stat.is_empty() {
            usage.readings_mut().memory.stat_read_at = Some(last.moment());
        }
        let age = at.duration_since(last.time).try_into().unwrap_or_default();
        Some(Self {
            interfaces: usage.namespace.and_then(|id| last.namespaces.get(&id)).cloned(),
            usage,
            ended_at: at,
            end: None,
            removed: false,
            ended: Instant::now(),
            finality: Families::all(Finality::LastSample(age)),
        })
    }
}

impl Receipt {
    /// When it was certainly alive.
    fn alive_at(&self) -> Timestamp {
        let age = match self.finality.cpu {
            Finality::LastSample(age) => age,
            Finality::Final | Finality::Unknown => Duration::ZERO,
        };
        self.ended_at.saturating_sub(age).unwrap_or(self.ended_at)
    }
}

impl<T: Copy> Families<T> {
    /// Sets the value of a family, if receipts list it.
    pub fn set(&mut self, family: Family, value: T) {
        match family {
            Family::Cpu => self.cpu = value,
            Family::Memory => self.memory = value,
            Family::Pids => self.pids = value,
            Family::NetworkInterfaces => self.interfaces = value,
            Family::NetworkSockets => self.sockets = value,
            Family::Block => self.block = value,
            Family::Tasks
            | Family::NetworkTcp
            | Family::Lifecycle
            | Family::Identity
            | Family::PerfEvents => {}
        }
    }

    /// The same for all.
    pub fn all(value: T) -> Self {
        Self {
            cpu: value,
            memory: value,
            pids: value,
            interfaces: value,
            sockets: value,
            block: value,
        }
    }
}

/// The receipts that are kept. A clone shares them and costs little.
#[derive(Clone)]
pub struct Receipts {
    kept: VecDeque<Arc<Receipt>>,
    count_max: usize,
    age_max: Duration,
    generation: u64,
    /// The generation, and the number of removals, when removed containers were last looked for.
    removals_seen: (u64, u64),
    /// Receipts that were dropped before their time, because there were too many.
    pub dropped: u64,
}

impl Receipts {
    /// With limits of number and age.
    pub fn new(count_max: usize, age_max: Duration) -> Self {
        Self {
            kept: VecDeque::new(),
            count_max,
            age_max,
            generation: 0,
            removals_seen: (0, 0),
            dropped: 0,
        }
    }

    /// Keeps one more; drops the oldest when there are too many.
    pub fn keep(&mut self, receipt: Receipt) {
        if self.count_max == 0 {
            self.dropped += 1;
            return;
        }
        if self.kept.len() == self.count_max {
            self.kept.pop_front();
            self.dropped += 1;
        }
        self.kept.push_back(Arc::new(receipt));
        self.generation += 1;
    }

    /// Grows with each receipt that is added or changed.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Drops receipts that are too old.
    pub fn expire(&mut self, now: Instant) {
        let expired = |receipt: &Arc<Receipt>| now.duration_since(receipt.ended) > self.age_max;
        while self.kept.front().is_some_and(expired) {
            self.kept.pop_front();
        }
    }

    /// The receipts, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Receipt> + ExactSizeIterator {
        self.kept.iter().map(AsRef::as_ref)
    }

    /// The same, to keep some of them.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &Arc<Receipt>> {
        self.kept.iter()
    }

    /// A receipt by its place, from the oldest on.
    pub fn get(&self, at: usize) -> Option<&Receipt> {
        self.kept.get(at).map(AsRef::as_ref)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.kept.len()
    }

    /// Changes the limits of number and age.
    pub fn limit(&mut self, count_max: usize, age_max: Duration) {
        (self.count_max, self.age_max) = (count_max, age_max);
        let excess = self.kept.len().saturating_sub(count_max);
        self.kept.drain(..excess);
        self.dropped += excess as u64;
    }

    /// Completes the latest receipt of a cgroup at this path: on v1 it may go from one hierarchy
    /// some milliseconds after it went from another.
    pub(super) fn complete(&mut self, path: &str, ended: &EndedUsage) {
        let young = |receipt: &&mut Arc<Receipt>| receipt.ended.elapsed() <= LATE_USAGE;
        let mut latest = self.kept.iter_mut().rev().take_while(young);
        if let Some(receipt) = latest.find(|receipt| receipt.usage.instance.path == path) {
            // Sub-cgroups are part of the numbers of v1 hierarchies.
            Arc::make_mut(receipt).complete(ended, &CpuTicks::default());
            self.generation += 1;
        }
    }

    /// Marks those whose runtime has removed the container since.
    fn mark_removed(&mut self, resolver: &MetadataResolver) {
        let removals = resolver.removals();
        if self.removals_seen == (self.generation, removals) {
            return;
        }
        for receipt in self.kept.iter_mut().filter(|receipt| !receipt.removed) {
            let identity = receipt.usage.instance.identity.as_ref();
            if identity.is_some_and(|identity| resolver.is_removed(identity)) {
                Arc::make_mut(receipt).removed = true;
                self.generation += 1;
            }
        }
        self.removals_seen = (self.generation, removals);
    }

    /// Adds what became known only after the end: names, exit statuses and removals.
    pub fn add_late_metadata(&mut self, resolver: &mut MetadataResolver) {
        let young = |receipt: &&mut Arc<Receipt>| receipt.ended.elapsed() <= LATE_METADATA;
        for receipt in self.kept.iter_mut().rev().take_while(young) {
            let Some(identity) = &receipt.usage.instance.identity else { continue };
            let metadata =
                if receipt.usage.metadata.is_none() { resolver.get(identity) } else { None };
            let end = if receipt.end.is_none_or(|end| end.oom_killed.is_none()) {
                resolver.get_exit_status(identity, receipt.alive_at(), receipt.ended_at)
            } else {
                None
            };
            // Readers may hold it: it is copied then, and only if something is new.
            if metadata.is_some() || end.is_some_and(|end| receipt.end != Some(end)) {
                let receipt = Arc::make_mut(receipt);
                receipt.usage.metadata = metadata.or_else(|| receipt.usage.metadata.take());
                receipt.end = end.or(receipt.end);
                self.generation += 1;
            }
        }
        self.mark_removed(resolver);
    }
}
