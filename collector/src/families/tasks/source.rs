//! Tasks by state, and who waits.

use crate::families::source::{Gap, Inputs, SourceStatus};

/// Decides the source: a program, or nothing. Files have no such number for less than several reads
/// for each task.
pub fn source(inputs: &Inputs<'_>) -> SourceStatus {
    match &inputs.kernel.tasks {
        Ok(missing) => SourceStatus::new(
            "iter/task, iter/task_file, tp_btf/sched_process_free",
            missing.iter().cloned().map(Gap::from).collect(),
        ),
        Err(reason) => SourceStatus::off(*reason),
    }
}
