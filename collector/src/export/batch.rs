//! What a sink sends at once.

use bytes::Bytes;
use jiff::Timestamp;

/// What is sent in one request.
#[derive(Clone)]
pub(super) struct Batch {
    pub(super) payload: Bytes,
    /// How many points it holds.
    pub(super) points: u64,
    /// When its sample was taken.
    pub(super) made_at: Timestamp,
}
