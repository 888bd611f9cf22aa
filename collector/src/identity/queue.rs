//! The containers that one runtime is yet to be asked about: bounded, and without any I/O.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use crate::reason::Reason;

/// Ids that may wait for one runtime. Others are requested again by a later sample.
pub(super) const MAX_PENDING: usize = 4_096;

/// Ids whose backoff is remembered.
pub(super) const MAX_BACKOFFS: usize = 16_384;

/// How long an id is not requested again after an incomplete result. The kernel may know a
/// container a little earlier than its runtime; each backoff is twice the one before.
pub(super) const FIRST_BACKOFF: Duration = Duration::from_millis(10);
pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// After a backoff up to this long, an id is requested again without waiting for a sample, so that
/// a new container has its name within a tenth of a second.
const MAX_RETRY_BACKOFF: Duration = Duration::from_millis(640);

/// The state of the connection to a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionStatus {
    /// No call has finished yet.
    Connecting,
    /// The last call was answered.
    Connected,
    /// The last call failed, for one reason or one for each socket.
    Failed(Vec<Reason>),
}

/// The requests to one runtime.
#[derive(Debug)]
pub(super) struct RuntimeQueue {
    status: ConnectionStatus,
    queue: VecDeque<String>,
    /// The ids in `queue` and those taken from it without a result yet.
    pending: HashSet<String>,
    backoffs: HashMap<String, Backoff>,
    /// When to request an id again.
    retries: Vec<(Instant, String)>,
}

#[derive(Clone, Copy, Debug)]
struct Backoff {
    until: Instant,
    length: Duration,
}

impl RuntimeQueue {
    pub(super) fn new() -> Self {
        Self {
            status: ConnectionStatus::Connecting,
            queue: VecDeque::new(),
            pending: HashSet::new(),
            backoffs: HashMap::new(),
            retries: Vec::new(),
        }
    }

    pub(super) fn status(&self) -> &ConnectionStatus {
        &self.status
    }

    /// Sets the status; a new connection ends all backoffs.
    pub(super) fn set_status(&mut self, status: ConnectionStatus) {
        if status == ConnectionStatus::Connected {
            self.backoffs.clear();
        }
        self.status = status;
    }

    /// Whether waiting is of no use: there is no request without a result, or no first connection
    /// attempt to wait for.
    pub(super) fn is_settled(&self) -> bool {
        self.status != ConnectionStatus::Connecting && self.pending.is_empty()
    }

    /// Queues an id, unless it is pending or backs off. Returns whether it was queued.
    pub(super) fn push(&mut self, id: &str, now: Instant) -> bool {
        let backs_off = self.backoffs.get(id).is_some_and(|backoff| now < backoff.until);
        if backs_off || self.pending.len() >= MAX_PENDING || self.pending.contains(id) {
            return false;
        }
        self.pending.insert(id.to_owned());
        self.queue.push_back(id.to_owned());
        true
    }

    /// Queues an id that changed, whatever its backoff.
    pub(super) fn push_changed(&mut self, id: &str, now: Instant) {
        self.backoffs.remove(id);
        self.push(id, now);
    }

    /// Takes the next id. It stays pending until [`Self::finish`] or [`Self::push_front`].
    pub(super) fn pop(&mut self) -> Option<String> {
        self.queue.pop_front()
    }

    /// Puts back an id whose request failed.
    pub(super) fn push_front(&mut self, id: String) {
        self.queue.push_front(id);
    }

    /// When the next request is due; `None` if there is none.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let retry = || self.retries.iter().map(|(at, _)| *at).min();
        if self.queue.is_empty() { retry() } else { Some(now) }
    }

    /// Takes the ids whose retry is due.
    pub(super) fn take_retries(&mut self, now: Instant) -> Vec<String> {
        let due = self.retries.extract_if(.., |(at, _)| *at <= now);
        due.map(|(_, id)| id).collect()
    }

    /// Ends a request. After an incomplete result there may be a better one later.
    pub(super) fn finish(&mut self, id: &str, complete: bool, now: Instant) {
        self.pending.remove(id);
        if self.backoffs.len() >= MAX_BACKOFFS {
            self.backoffs.retain(|_, backoff| now < backoff.until);
        }
        let length = match self.backoffs.get(id) {
            Some(backoff) => (backoff.length * 2).min(MAX_BACKOFF),
            None if self.backoffs.len() < MAX_BACKOFFS => FIRST_BACKOFF,
            None => return,
        };
        let until = now + length;
        self.backoffs.insert(id.to_owned(), Backoff { until, length });
        if !complete && length <= MAX_RETRY_BACKOFF && self.retries.len() < MAX_PENDING {
            self.retries.push((until, id.to_owned()));
        }
    }

    /// The numbers of pending ids and of remembered backoffs.
    #[cfg(test)]
    pub(super) fn lengths(&self) -> (usize, usize) {
        (self.pending.len(), self.backoffs.len())
    }

    /// Forgets that an id is pending.
    #[cfg(test)]
    pub(super) fn forget(&mut self, id: &str) {
        self.pending.remove(id);
    }
}
