//! CPU time.

use crate::sources::{Inputs, SourceStatus};

/// Decides the source. On cgroup2 every cgroup has `cpu.stat`, with the controller or without.
pub(super) fn source(inputs: &Inputs<'_>) -> SourceStatus {
    inputs.files("cpuacct", "cpuacct.usage, cpuacct.stat", "cpu.stat")
}
