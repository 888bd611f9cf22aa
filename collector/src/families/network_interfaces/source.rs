//! Bytes and packets of network devices.

use crate::families::source::{Gap, Inputs, SourceStatus};

/// Decides the source: the devices of each network namespace, through one of its processes.
pub fn source(inputs: &Inputs<'_>) -> SourceStatus {
    match inputs.namespace_fault {
        Some(reason) if !inputs.any_namespace => SourceStatus::off(reason),
        reason => {
            let gaps = reason.cloned().map(Gap::from);
            SourceStatus::new("/proc/PID/net/dev", gaps.into_iter().collect())
        }
    }
}
