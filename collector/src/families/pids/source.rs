//! Processes and threads.

use crate::{
    cgroup::Version,
    families::source::{Inputs, SourceStatus},
    reason::Reason,
};

const CONTROLLER: &str = "pids";

/// Decides the source. On cgroup2 there are no files without the controller.
pub fn source(inputs: &Inputs<'_>) -> SourceStatus {
    let on_v2 = inputs.version(CONTROLLER) == Some(Version::V2);
    if on_v2 && inputs.hierarchies.lacks_unified(CONTROLLER) {
        return SourceStatus::off(Reason::ControllerOff { controller: CONTROLLER });
    }
    let files = inputs.files(CONTROLLER, "pids.* (v1)", "pids.* (v2)");
    inputs.walk_or_files(|layout| &layout.pids, files)
}
