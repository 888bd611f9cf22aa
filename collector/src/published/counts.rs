//! What the server and the sinks count of themselves.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use jiff::Timestamp;

use crate::telemetry::{ServerStats, SinkStats};

/// What the server counts of itself, for all faces together.
#[derive(Default)]
pub(crate) struct ServerCounts {
    pub(crate) connections: AtomicU64,
    pub(crate) connections_max: u64,
    pub(crate) refused: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    answers: [AtomicU64; 5],
}

impl ServerCounts {
    pub(crate) fn new(connections_max: u64) -> Self {
        Self { connections_max, ..Self::default() }
    }

    /// Counts an answer by the class of its status.
    pub(crate) fn answered(&self, status: u16) {
        if let Some(class) = self.answers.get(usize::from(status / 100).wrapping_sub(1)) {
            class.fetch_add(1, Relaxed);
        }
    }

    /// The present numbers.
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

/// What a sink counts of itself.
#[derive(Default)]
pub(crate) struct SinkCounters {
    name: String,
    pub(crate) queue_bytes_max: AtomicU64,
    pub(crate) delivered_points: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) rejected_points: AtomicU64,
    pub(crate) overflowed_points: AtomicU64,
    pub(crate) expired_points: AtomicU64,
    pub(crate) corrupt_batches: AtomicU64,
    pub(crate) missed_samples: AtomicU64,
    pub(crate) queue_bytes: AtomicU64,
    pub(crate) spool_bytes: AtomicU64,
    /// When the oldest batch that is not delivered was made, in milliseconds since 1970; 0 if all
    /// are.
    pub(crate) oldest: AtomicU64,
}

impl SinkCounters {
    /// Nothing has happened yet.
    pub(crate) fn new(name: String, queue_bytes_max: u64) -> Self {
        Self { name, queue_bytes_max: queue_bytes_max.into(), ..Self::default() }
    }

    /// The present numbers.
    pub(crate) fn now(&self) -> SinkStats {
        let oldest = self.oldest.load(Relaxed);
        let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        let lag = if oldest == 0 { 0 } else { now.saturating_sub(oldest) };
        SinkStats {
            name: self.name.clone(),
            delivered_points: self.delivered_points.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
            retries: self.retries.load(Relaxed),
            rejected_points: self.rejected_points.load(Relaxed),
            overflowed_points: self.overflowed_points.load(Relaxed),
            expired_points: self.expired_points.load(Relaxed),
            corrupt_batches: self.corrupt_batches.load(Relaxed),
            missed_samples: self.missed_samples.load(Relaxed),
            lag_seconds: lag as f64 / 1e3,
            queue_bytes: self.queue_bytes.load(Relaxed),
            queue_bytes_max: self.queue_bytes_max.load(Relaxed),
            spool_bytes: self.spool_bytes.load(Relaxed),
        }
    }
}
