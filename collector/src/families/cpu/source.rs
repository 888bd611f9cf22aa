//! CPU time.

use crate::families::source::{Inputs, SourceStatus};

/// Decides the source. On cgroup2 every cgroup has `cpu.stat`, with the controller or without.
pub fn source(inputs: &Inputs<'_>) -> SourceStatus {
    let files = inputs.files("cpuacct", "cpuacct.usage, cpuacct.stat", "cpu.stat");
    inputs.walk_or_files(|layout| &layout.cpu, files)
}
