//! What the recorder does, counted for `/metrics`.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use crate::telemetry::RecordingStats;

/// Shared by the thread that records and those that say how it does.
#[derive(Debug, Default)]
pub struct RecordingCounts {
    pub(super) instants: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) disk_bytes: AtomicU64,
    pub(super) numbers: AtomicU64,
    pub(super) cpu_nanoseconds: AtomicU64,
    pub(super) stopped: AtomicBool,
    fault: Mutex<Option<String>>,
}

impl RecordingCounts {
    /// What was counted so far.
    pub fn now(&self) -> RecordingStats {
        RecordingStats {
            instants: self.instants.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            failed: self.failed.load(Relaxed),
            written_bytes: self.written_bytes.load(Relaxed),
            disk_bytes: self.disk_bytes.load(Relaxed),
            numbers: self.numbers.load(Relaxed),
            cpu_seconds: self.cpu_nanoseconds.load(Relaxed) as f64 / 1e9,
            is_recording: !self.stopped.load(Relaxed),
            fault: self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    pub(super) fn set_fault(&self, fault: Option<String>) {
        self.stopped.store(fault.is_some(), Relaxed);
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}
