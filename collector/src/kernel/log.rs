//! The log lines of the programs, passed on to `tracing`: a few each second, the rest is counted.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Level, Metadata, Record};

/// How many lines are passed on in one [`WINDOW`].
const LINES_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// The ring buffer of log records.
pub(super) struct Log(EbpfLogger<Limited>);

impl Log {
    /// Takes the log's ring buffer out of a loaded object.
    pub(super) fn open(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self(EbpfLogger::init_with_logger(ebpf, Limited::default())?))
    }

    /// Passes on all records in the ring. No system call if there are none.
    pub(super) fn drain(&mut self) {
        self.0.flush();
    }
}

#[derive(Default)]
struct Limited(Mutex<Window>);

#[derive(Default)]
struct Window {
    opened: Option<Instant>,
    passed: u32,
    dropped: u64,
}

impl Limited {
    /// How many lines were dropped before, if this one may pass.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.opened.is_none_or(|opened| now.duration_since(opened) >= WINDOW) {
            (window.opened, window.passed) = (Some(now), 0);
        }
        if window.passed == LINES_MAX {
            window.dropped += 1;
            return None;
        }
        window.passed += 1;
        Some(std::mem::take(&mut window.dropped))
    }
}

impl log::Log for Limited {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let Some(dropped) = self.admit(Instant::now()) else { return };
        if dropped > 0 {
            tracing::warn!(target: "tare::bpf", dropped, "lines of the kernel side were dropped");
        }
        match record.level() {
            Level::Error => tracing::error!(target: "tare::bpf", "{}", record.args()),
            Level::Warn => tracing::warn!(target: "tare::bpf", "{}", record.args()),
            Level::Info => tracing::info!(target: "tare::bpf", "{}", record.args()),
            Level::Debug => tracing::debug!(target: "tare::bpf", "{}", record.args()),
            Level::Trace => tracing::trace!(target: "tare::bpf", "{}", record.args()),
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let limited = Limited::default();
        let start = Instant::now();
        let passed = (0..1000).filter(|_| limited.admit(start).is_some()).count();
        assert_eq!(passed, LINES_MAX as usize);
        assert_eq!(limited.admit(start + WINDOW), Some(1000 - u64::from(LINES_MAX)));
        assert_eq!(limited.admit(start + WINDOW), Some(0));
    }
}
