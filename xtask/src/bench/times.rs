//! Quantiles of durations.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Quantiles of durations.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Times {
    pub(crate) count: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) max_ns: u64,
}

impl Times {
    /// From the output of `tare-bench`.
    pub(crate) fn of(found: &Value) -> Result<Self> {
        Self::deserialize(found).with_context(|| format!("no times: {found}"))
    }

    /// From durations in ascending order; `None` without any.
    pub(crate) fn of_sorted(times: &[u64]) -> Option<Self> {
        let last = times.len().checked_sub(1)?;
        let count = times.len() as u64;
        let (p50_ns, p99_ns) = (times[last / 2], times[last * 99 / 100]);
        Some(Self { count, p50_ns, p99_ns, max_ns: times[last] })
    }
}
