//! What the resolver and its workers share: the cache and the queues.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::{
    cache::{MAX_CONTAINERS, MetadataCache},
    client::{Inspection, RuntimeEvent},
    metadata::{ExitStatus, Metadata, WritableLayer},
    queue::{ConnectionStatus, RuntimeQueue},
};
use crate::reason::Reason;

/// The state behind its lock.
#[derive(Debug, Default)]
pub(super) struct SharedState {
    state: Mutex<State>,
    /// Notified after a change.
    changed: Notify,
    /// How many changes there were.
    changes: AtomicU64,
}

/// What containers have written, by id.
pub type WritableLayers = Arc<HashMap<String, WritableLayer>>;

/// The cache, and a queue for each runtime. A queue is named by its index.
#[derive(Debug, Default)]
pub(super) struct State {
    cache: MetadataCache,
    queues: Vec<RuntimeQueue>,
    /// Of each queue what its runtime has last told of writable layers.
    layers: Vec<WritableLayers>,
}

impl SharedState {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is complete in itself, so a panic elsewhere leaves the state valid.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and notifies the callers that wait in [`Self::wait_settled`].
    pub(super) fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changes.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// How many changes [`Self::update`] has made.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Waits until no runtime has a request without a result.
    pub(super) async fn wait_settled(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.lock().is_settled() {
                return;
            }
            changed.await;
        }
    }
}

impl State {
    /// Adds a queue for one more runtime.
    pub(super) fn add_queue(&mut self) -> usize {
        self.queues.push(RuntimeQueue::new());
        self.layers.push(Arc::default());
        self.queues.len() - 1
    }

    pub(super) fn metadata(&self, id: &str) -> Option<Arc<Metadata>> {
        self.cache.get(id)
    }

    /// See [`MetadataCache::exit_status`].
    pub(super) fn exit_status(
        &self,
        id: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Option<ExitStatus> {
        self.cache.exit_status(id, from, to)
    }

    /// See [`MetadataCache::is_removed`].
    pub(super) fn is_removed(&self, id: &str) -> bool {
        self.cache.is_removed(id)
    }

    /// See [`MetadataCache::removals`].
    pub(super) fn removals(&self) -> u64 {
        self.cache.removals()
    }

    /// See [`MetadataCache::take_changed_settings`].
    pub(super) fn take_changed_settings(&mut self) -> HashSet<String> {
        self.cache.take_changed_settings()
    }

    /// Requests a container's metadata, unless they are complete. Returns whether a request was
    /// queued.
    pub(super) fn request(&mut self, queue: usize, id: &str, now: Instant) -> bool {
        !self.cache.is_complete(id) && self.queues[queue].push(id, now)
    }

    /// Requests the exit status of a container that ended. Returns whether a request was queued.
    pub(super) fn request_exit_status(&mut self, queue: usize, id: &str, now: Instant) -> bool {
        self.queues[queue].push(id, now)
    }

    /// When the next request is due; `None` if there is none.
    pub(super) fn next_due(&self, queue: usize, now: Instant) -> Option<Instant> {
        self.queues[queue].next_due(now)
    }

    /// Takes the next id to inspect. Every id ends in [`Self::finish`] or [`Self::put_back`].
    pub(super) fn next(&mut self, queue: usize, now: Instant) -> Option<String> {
        for id in self.queues[queue].take_retries(now) {
            self.request(queue, &id, now);
        }
        self.queues[queue].pop()
    }

    /// Takes all ids to inspect. Every id ends in [`Self::finish`].
    pub(super) fn take_all(&mut self, queue: usize, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| self.next(queue, now)).collect()
    }

    /// Puts back an id whose request failed.
    pub(super) fn put_back(&mut self, queue: usize, id: String) {
        self.queues[queue].push_front(id);
    }

    /// Stores the result of a request; `None` if the runtime does not know the container.
    pub(super) fn finish(
        &mut self,
        queue: usize,
        id: String,
        inspection: Option<Inspection>,
        now: Instant,
    ) {
        let complete = inspection.as_ref().is_some_and(|inspection| inspection.complete);
        self.queues[queue].finish(&id, complete, now);
        if let Some(inspection) = inspection {
            self.cache.store(id, inspection);
        }
    }

    /// Stores the containers that a runtime lists after connecting.
    pub(super) fn connected(&mut self, queue: usize, listed: Vec<(String, Metadata)>) {
        for (id, metadata) in listed {
            self.cache.store_listed(id, metadata);
        }
        self.queues[queue].set_status(ConnectionStatus::Connected);
    }

    /// Applies an event of a runtime.
    pub(super) fn apply(&mut self, queue: usize, event: RuntimeEvent) {
        if event.inspect {
            self.queues[queue].push_changed(&event.id, Instant::now());
        }
        self.cache.apply(event);
    }

    /// Stores what a runtime told of writable layers.
    pub(super) fn set_layers(&mut self, queue: usize, layers: Vec<(String, WritableLayer)>) {
        self.layers[queue] = Arc::new(layers.into_iter().take(MAX_CONTAINERS).collect());
    }

    /// What all runtimes have last told of writable layers.
    pub(super) fn layers(&self) -> impl Iterator<Item = &WritableLayers> {
        self.layers.iter().filter(|layers| !layers.is_empty())
    }

    pub(super) fn failed(&mut self, queue: usize, reason: Reason) {
        self.queues[queue].set_status(ConnectionStatus::Failed(vec![reason]));
    }

    pub(super) fn status(&self, queue: usize) -> &ConnectionStatus {
        self.queues[queue].status()
    }

    fn is_settled(&self) -> bool {
        self.queues.iter().all(RuntimeQueue::is_settled)
    }
}

#[cfg(test)]
mod tests;
