//! State of a cgroup: `cgroup.events` (v2), `freezer.state` (v1).

use crate::text::named_numbers;
use serde::{Deserialize, Serialize};

/// What a cgroup is about. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct CgroupState {
    /// Whether a process is in it or below it. Known in the unified hierarchy only.
    pub populated: Option<bool>,
    /// Whether all its processes are stopped, as by `docker pause`.
    pub frozen: Option<bool>,
}

/// Reads a `cgroup.events` of v2 (`kernel/cgroup/cgroup.c`, `cgroup_events_show`).
pub fn parse_cgroup_events(text: &[u8]) -> CgroupState {
    let mut state = CgroupState::default();
    for (name, value) in named_numbers(text) {
        match name {
            b"populated" => state.populated = Some(value != 0),
            b"frozen" => state.frozen = Some(value != 0),
            _ => {}
        }
    }
    state
}

/// Reads a `freezer.state` of v1 (`kernel/cgroup/legacy_freezer.c`, `freezer_state_strs`). A cgroup
/// that is `FREEZING` still has tasks that run.
pub fn parse_freezer_state(text: &[u8]) -> Option<bool> {
    match text.trim_ascii() {
        b"FROZEN" => Some(true),
        b"THAWED" | b"FREEZING" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_taken(text: Vec<u8>) {
            parse_cgroup_events(&text);
            parse_freezer_state(&text);
        }
    }
}
