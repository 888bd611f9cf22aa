//! Delivers the batches of a queue, one after the other, with pauses after failures.

use std::{
    cell::RefCell,
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tokio::{sync::Notify, time};

use crate::{
    export::{TIMEOUT, batch::Batch, queue::Queue},
    published::SinkCounters,
};

/// The pause after the first failure. Each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause that Tare chooses.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The longest pause that a receiver can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// How a protocol delivers.
pub(super) trait Transport {
    /// Delivers a batch. The future ends within a bounded time; it may be dropped.
    fn deliver(&self, payload: Bytes) -> LocalBoxFuture<'_, Result<(), Failure>>;

    /// Connects, without delivering anything.
    fn check(&self) -> LocalBoxFuture<'_, Result<(), Failure>>;
}

/// Why a delivery failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It may succeed later.
    Retry {
        /// How long the receiver wants to be left alone.
        after: Option<Duration>,
        message: String,
    },
    /// The receiver will never accept it.
    Rejected { message: String },
    /// The receiver has accepted the rest.
    PartlyRejected { points: u64, message: String },
}

impl Failure {
    /// A failure that may be over later.
    pub(super) fn retry(message: impl ToString) -> Self {
        Self::Retry { after: None, message: message.to_string() }
    }

    /// What happened.
    pub(super) fn message(&self) -> &str {
        match self {
            Self::Retry { message, .. }
            | Self::Rejected { message }
            | Self::PartlyRejected { message, .. } => message,
        }
    }
}

/// Sends to a receiver that does not answer, for [`TIMEOUT`] at most.
pub(super) async fn in_time(
    sending: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let sent = time::timeout(TIMEOUT, sending).await;
    sent.unwrap_or_else(|_| Err(Failure::retry("the receiver takes no data")))
}

/// What delivers the next batches, after the configuration has changed.
#[derive(Default)]
pub(super) struct Replacement {
    transport: RefCell<Option<Box<dyn Transport + Send>>>,
    changed: Notify,
}

impl Replacement {
    /// A delivery under way is completed; a pause after a failure ends at once.
    pub(super) fn set(&self, transport: Box<dyn Transport + Send>) {
        *self.transport.borrow_mut() = Some(transport);
        self.changed.notify_one();
    }

    fn take(&self) -> Option<Box<dyn Transport + Send>> {
        self.transport.borrow_mut().take()
    }
}

/// Delivers batches for ever.
pub(super) async fn deliver_all(
    name: String,
    queue: Rc<Queue>,
    mut transport: Box<dyn Transport + Send>,
    counters: Arc<SinkCounters>,
    replacement: Rc<Replacement>,
) {
    let mut backoff = Backoff::default();
    // The last failure that the log has.
    let mut logged = String::new();
    loop {
        let batch = queue.front().await;
        if let Some(other) = replacement.take() {
            transport = other;
            backoff = Backoff::default();
        }
        let Batch { payload, points, .. } = batch;
        let bytes = payload.len() as u64;
        let failure = match transport.deliver(payload).await {
            Ok(()) => {
                counters.delivered_points.fetch_add(points, Relaxed);
                counters.sent_bytes.fetch_add(bytes, Relaxed);
                if !logged.is_empty() {
                    tracing::info!(sink = name, "deliveries succeed again");
                    logged.clear();
                }
                backoff = Backoff::default();
                queue.pop();
                continue;
            }
            Err(failure) => failure,
        };
        if logged != failure.message() {
            let message = failure.message();
            match failure {
                Failure::Retry { .. } => {
                    tracing::warn!(sink = name, "cannot deliver, and tries again: {message}");
                }
                Failure::Rejected { .. } | Failure::PartlyRejected { .. } => tracing::error!(
                    sink = name,
                    "the receiver refuses points, which are dropped: {message}"
                ),
            }
            failure.message().clone_into(&mut logged);
        }
        match failure {
            Failure::Retry { after, .. } => {
                counters.retries.fetch_add(1, Relaxed);
                let _ = time::timeout(backoff.next(after), replacement.changed.notified()).await;
            }
            Failure::Rejected { .. } => {
                counters.rejected_points.fetch_add(points, Relaxed);
                backoff = Backoff::default();
                queue.pop();
            }
            Failure::PartlyRejected { points: rejected, .. } => {
                let rejected = rejected.min(points);
                counters.rejected_points.fetch_add(rejected, Relaxed);
                counters.delivered_points.fetch_add(points - rejected, Relaxed);
                counters.sent_bytes.fetch_add(bytes, Relaxed);
                backoff = Backoff::default();
                queue.pop();
            }
        }
    }
}

/// Pauses between failures.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next pause: twice as long as the last one, and half of it by chance, so that many
    /// senders do not come back at once. What the receiver asked for is the least.
    fn next(&mut self, after: Option<Duration>) -> Duration {
        let whole = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures += 1;
        let chance = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
        let pause = whole / 2 + (whole / 2).mul_f64(chance);
        after.map_or(pause, |after| after.min(LONGEST_RETRY_AFTER).saturating_add(pause / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit_and_differ() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..40).map(|_| backoff.next(None)).collect();
        assert!(pauses[0] >= FIRST_PAUSE / 2 && pauses[0] <= FIRST_PAUSE);
        assert!(pauses[3] >= FIRST_PAUSE * 4 && pauses[3] <= FIRST_PAUSE * 8);
        let last = &pauses[10..];
        assert!(last.iter().all(|pause| (LONGEST_PAUSE / 2..=LONGEST_PAUSE).contains(pause)));
        assert!(last.iter().any(|pause| *pause != last[0]));
    }

    #[test]
    fn a_receiver_says_how_long_to_wait() {
        let asked = Duration::from_secs(90);
        let pause = Backoff::default().next(Some(asked));
        assert!(pause >= asked && pause <= asked + FIRST_PAUSE);
        let pause = Backoff::default().next(Some(Duration::MAX));
        assert!(pause <= LONGEST_RETRY_AFTER + FIRST_PAUSE);
    }
}
