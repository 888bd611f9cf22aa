//! From counters to the contract.

use std::{borrow::Cow, collections::BTreeMap};

use tare_model::PerfEventCount;

use crate::families::perf_events::PerfCount;

/// The events by name; `None` if none is counted.
pub fn report(counts: &[PerfCount]) -> Option<BTreeMap<Cow<'static, str>, PerfEventCount>> {
    let event = |found: &PerfCount| {
        let PerfCount { event, count, enabled_nanoseconds, running_nanoseconds } = *found;
        // Shares need no more digits.
        let ratio = running_nanoseconds as f64 / enabled_nanoseconds as f64;
        let counted_ratio = (enabled_nanoseconds > 0).then_some(ratio);
        (event.as_str().into(), PerfEventCount { count, counted_ratio })
    };
    (!counts.is_empty()).then(|| counts.iter().map(event).collect())
}
