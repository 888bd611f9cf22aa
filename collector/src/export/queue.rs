//! The queue of a sink: batches that are not delivered yet, oldest first, bounded in bytes.
//!
//! With a spool every batch is on disk too, before it is delivered. Batches that find no room in
//! memory are then read back when it is their turn.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::{
    export::{
        batch::Batch,
        spool::{SinkSpool, SpoolFile},
    },
    published::SinkCounters,
};

/// A batch that waits.
struct Waiting {
    /// `None` if it is on disk only.
    payload: Option<Bytes>,
    points: u64,
    made_at: Timestamp,
    file: Option<SpoolFile>,
}

/// The batches of a sink.
pub(super) struct Queue {
    name: String,
    bytes_max: Cell<usize>,
    state: RefCell<State>,
    changed: Notify,
    counters: Arc<SinkCounters>,
}

struct State {
    /// The first one may be under way.
    waiting: VecDeque<Waiting>,
    /// Bytes of the payloads in memory.
    bytes: usize,
    spool: Option<SinkSpool>,
}

impl Queue {
    /// With what an earlier process left in the spool.
    pub(super) fn new(
        name: String,
        bytes_max: usize,
        spool: Option<SinkSpool>,
        counters: Arc<SinkCounters>,
    ) -> Self {
        let mut state = State { waiting: VecDeque::new(), bytes: 0, spool };
        let left = state.spool.as_mut().map(SinkSpool::take_found).unwrap_or_default();
        state.waiting.extend(left.into_iter().map(|file| Waiting {
            payload: None,
            points: file.points,
            made_at: file.made_at,
            file: Some(file),
        }));
        let (bytes_max, state) = (Cell::new(bytes_max), RefCell::new(state));
        let queue = Self { name, bytes_max, state, changed: Notify::new(), counters };
        queue.publish();
        queue
    }

    /// Adds a batch. Where there is no room, the oldest ones go first: to disk only, or, without a
    /// spool, altogether.
    pub(super) fn push(&self, batch: Batch) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let file = state.spool.as_mut().and_then(|spool| spool.write(&batch));
        let Batch { payload, points, made_at } = batch;
        state.bytes += payload.len();
        state.waiting.push_back(Waiting { payload: Some(payload), points, made_at, file });
        self.make_room(state);
        self.bound_spool(state);
        self.changed.notify_one();
        self.publish_of(state);
    }

    /// Waits for the oldest batch. A batch on disk that cannot be read is skipped.
    pub(super) async fn front(&self) -> Batch {
        loop {
            if let Some(batch) = self.try_front() {
                return batch;
            }
            self.changed.notified().await;
        }
    }

    /// Changes how many bytes may be in memory, from the next batch on.
    pub(super) fn limit(&self, bytes_max: usize) {
        self.bytes_max.set(bytes_max);
    }

    /// The points of all batches: of those in memory only, and of those on disk.
    pub(super) fn points(&self) -> (u64, u64) {
        let mut points = (0, 0);
        for waiting in &self.state.borrow().waiting {
            let place = if waiting.file.is_some() { &mut points.1 } else { &mut points.0 };
            *place += waiting.points;
        }
        points
    }

    /// Whether all batches are delivered.
    pub(super) fn is_empty(&self) -> bool {
        self.state.borrow().waiting.is_empty()
    }

    /// Removes the oldest batch, which [`Queue::front`] gave.
    pub(super) fn pop(&self) {
        let mut state = self.state.borrow_mut();
        state.drop_at(0);
        self.publish_of(&state);
    }

    fn try_front(&self) -> Option<Batch> {
        let mut state = self.state.borrow_mut();
        self.bound_spool(&mut state);
        let batch = loop {
            let Some(Waiting { payload, points, made_at, file }) = state.waiting.front() else {
                break None;
            };
            let (points, made_at) = (*points, *made_at);
            if let Some(payload) = payload {
                break Some(Batch { payload: payload.clone(), points, made_at });
            }
            match file.as_ref().map(SpoolFile::read) {
                Some(Ok(payload)) => break Some(Batch { payload, points, made_at }),
                Some(Err(error)) => {
                    tracing::error!(sink = self.name, "a batch in the spool is skipped: {error:#}");
                    self.counters.corrupt_batches.fetch_add(1, Relaxed);
                }
                None => {}
            }
            state.drop_at(0);
        };
        self.publish_of(&state);
        batch
    }

    fn make_room(&self, state: &mut State) {
        // The first one may be under way, and the last one is the newest.
        let mut at = 1;
        while state.bytes > self.bytes_max.get() && at + 1 < state.waiting.len() {
            let Some(waiting) = state.waiting.get_mut(at) else { break };
            if waiting.file.is_some() {
                let payload = waiting.payload.take();
                state.bytes -= payload.map_or(0, |payload| payload.len());
                at += 1;
            } else {
                self.counters.overflowed_points.fetch_add(waiting.points, Relaxed);
                state.drop_at(at);
            }
        }
    }

    /// Drops what is too old or too much for the spool.
    fn bound_spool(&self, state: &mut State) {
        while let Some(spool) = &state.spool
            && let Some(oldest) = state.waiting.get(1)
            && oldest.file.is_some()
        {
            let too_old = spool.is_too_old(oldest.made_at);
            if !too_old && !spool.is_full() {
                break;
            }
            let counter = if too_old {
                &self.counters.expired_points
            } else {
                &self.counters.overflowed_points
            };
            counter.fetch_add(oldest.points, Relaxed);
            state.drop_at(1);
        }
    }

    fn publish(&self) {
        self.publish_of(&self.state.borrow());
    }

    fn publish_of(&self, state: &State) {
        let oldest = state.waiting.front().map(|first| first.made_at.as_millisecond());
        let oldest = oldest.and_then(|oldest| u64::try_from(oldest).ok()).unwrap_or(0);
        let spool = state.spool.as_ref().map_or(0, SinkSpool::bytes);
        self.counters.oldest.store(oldest, Relaxed);
        self.counters.queue_bytes.store(state.bytes as u64, Relaxed);
        self.counters.spool_bytes.store(spool, Relaxed);
    }
}

impl State {
    fn drop_at(&mut self, at: usize) {
        let Some(Waiting { payload, file, .. }) = self.waiting.remove(at) else { return };
        self.bytes -= payload.map_or(0, |payload| payload.len());
        if let (Some(file), Some(spool)) = (file, self.spool.as_mut()) {
            spool.remove(file);
        }
    }
}
