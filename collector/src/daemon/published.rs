//! What the sampling loop hands over, and what both sides look at.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    collector::SamplePair,
    config::Run,
    daemon::{events::Events, history::History},
    telemetry::{SamplingStats, ServerStats},
};

/// The latest sample and how it came about.
pub(super) struct Published {
    /// What reports are made of.
    pub(super) pair: SamplePair,
    /// How the sampling loop fares.
    pub(super) sampling: SamplingStats,
    /// When the next one is due.
    interval: Duration,
    taken: Instant,
}

impl Published {
    /// How many intervals ago a new one was due.
    pub(super) fn overdue(&self) -> f64 {
        self.taken.elapsed().as_secs_f64() / self.interval.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// What the sampling loop and the server share.
pub(super) struct State {
    latest: watch::Sender<Option<Arc<Published>>>,
    history: Mutex<History>,
    pub(super) counts: Counts,
    /// Everyone who listens to events.
    pub(super) events: Events,
}

impl State {
    pub(super) fn new(run: &Run) -> Self {
        Self {
            latest: watch::Sender::new(None),
            history: Mutex::new(History::new(run.history, run.history_memory, run.interval)),
            counts: Counts { connections_max: run.max_connections.into(), ..Counts::default() },
            events: Events::default(),
        }
    }

    /// Hands over the latest sample.
    pub(super) fn publish(&self, pair: SamplePair, sampling: SamplingStats, interval: Duration) {
        let shot = Published { pair, sampling, interval, taken: Instant::now() };
        self.latest.send_replace(Some(Arc::new(shot)));
    }

    /// The latest sample; `None` before the first one.
    pub(super) fn latest(&self) -> Option<Arc<Published>> {
        self.latest.borrow().clone()
    }

    /// Tells when there is a new sample.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.latest.subscribe()
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the server counts of itself.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) connections: AtomicU64,
    pub(super) connections_max: u64,
    pub(super) refused: AtomicU64,
    pub(super) timeouts: AtomicU64,
    answers: [AtomicU64; 5],
}

impl Counts {
    /// Counts an answer by the class of its status.
    pub(super) fn answered(&self, status: u16) {
        if let Some(class) = self.answers.get(usize::from(status / 100).wrapping_sub(1)) {
            class.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn now(&self) -> ServerStats {
        ServerStats {
            connections: self.connections.load(Relaxed),
            connections_max: self.connections_max,
            refused: self.refused.load(Relaxed),
            answers: std::array::from_fn(|class| self.answers[class].load(Relaxed)),
            timeouts: self.timeouts.load(Relaxed),
        }
    }
}
