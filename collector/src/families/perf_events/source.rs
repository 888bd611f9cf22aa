//! Which events are counted.

use crate::{
    families::source::{Gap, Inputs, SourceStatus},
    reason::Reason,
};

/// Decides the source; `None` if no event is wanted.
pub fn source(inputs: &Inputs<'_>) -> Option<SourceStatus> {
    let wanted = inputs.perf_events?;
    let refused = wanted.refused.iter();
    let mut gaps: Vec<_> =
        refused.map(|(event, reason)| Gap::new(event.as_str(), reason)).collect();
    if inputs.perf_refused > 0 {
        let cgroups = inputs.perf_refused;
        gaps.push(Reason::PerfDescriptors { cgroups, limit: wanted.limit() }.into());
    }
    Some(if wanted.events.is_empty() {
        SourceStatus { source: None, ..SourceStatus::new("", gaps) }
    } else {
        SourceStatus::new("perf_event_open", gaps)
    })
}
