//! Tasks by state, and who waits.

use crate::families::source::{Gap, Inputs, SourceStatus};

/// Decides the source: a program, or nothing. Files have no such number for less than several reads
/// for each task.
pub fn source(inputs: &Inputs<'_>) -> SourceStatus {
    match &inputs.kernel.tasks {
        Ok(overflow) => SourceStatus::new(
            "iter/task, tp_btf/sched_process_free",
            overflow.clone().map(Gap::from).into_iter().collect(),
        ),
        Err(reason) => SourceStatus::off(*reason),
    }
}
