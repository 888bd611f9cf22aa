//! When containers start and end.

use crate::{
    families::source::{Gap, Inputs, SourceStatus},
    reason::Reason,
};

/// Decides the source: events of the kernel, or else walks.
pub fn source(inputs: &Inputs<'_>) -> SourceStatus {
    match &inputs.kernel.lifecycle {
        Ok(events) => {
            let lost = events.lost;
            let lost = (lost > 0).then_some(Reason::EventsLost { lost });
            let gaps = lost.into_iter().chain(events.missing.iter().cloned()).map(Gap::from);
            let ended = events.ended.err().map(|reason| {
                Gap::new("the last totals of short-lived containers may be missed", reason)
            });
            let gaps = gaps.chain(ended);
            SourceStatus::new(
                "tp_btf/cgroup_*, sched_process_exec, inet_sock_set_state, mark_victim",
                gaps.collect(),
            )
        }
        Err(reason) => SourceStatus::new(
            "walks of the cgroup trees",
            vec![Gap::new("short-lived containers may be missed", *reason)],
        ),
    }
}
