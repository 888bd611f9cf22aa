//! Whether our counters add up to the kernel's own totals.

use jiff::Timestamp;

use crate::sample::{BlockReconciler, RetransmitReconciler};

/// The comparisons that every sample makes.
#[derive(Debug)]
pub struct Reconcilers {
    /// Of block requests.
    pub block: BlockReconciler,
    /// Of TCP segments that are sent again.
    pub retransmits: RetransmitReconciler,
}

/// The result of comparing our counters with the kernel's totals.
#[derive(Clone, Debug)]
pub struct Reconciliation {
    /// When the comparison began.
    pub since: Timestamp,
    /// All devices or namespaces together.
    pub total: ReconciledCounts,
    /// Devices or namespaces that are compared. Only devices that did something, and are not
    /// stacked on others.
    pub covered: u64,
    /// Devices whose totals cannot be compared.
    pub uncovered: u64,
    /// Names of the devices of which requests were missed.
    pub losers: Vec<String>,
}

/// The result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconciledCounts {
    /// Operations that the kernel counted as completed.
    pub expected: u64,
    /// Operations that our programs saw.
    pub counted: u64,
    /// Operations that our programs provably missed. Never falls.
    pub lost: u64,
    /// Bytes of these; `None` once there was a request whose bytes the two count differently.
    pub lost_bytes: Option<u64>,
}

impl Default for ReconciledCounts {
    fn default() -> Self {
        Self { expected: 0, counted: 0, lost: 0, lost_bytes: Some(0) }
    }
}

impl ReconciledCounts {
    /// Adds another device's.
    pub fn add(&mut self, other: &Self) {
        self.expected = self.expected.saturating_add(other.expected);
        self.counted = self.counted.saturating_add(other.counted);
        self.lost = self.lost.saturating_add(other.lost);
        self.lost_bytes = self.lost_bytes.zip(other.lost_bytes).map(|(a, b)| a.saturating_add(b));
    }
}
