//! Events at the memory limits of a cgroup: `memory.events`, `memory.oom_control`.

use crate::text::named_numbers;
use serde::{Deserialize, Serialize};

/// What happened at the limits of a cgroup, and on v2 of its descendants. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct MemoryEvents {
    /// Memory was taken back although it was below `memory.low` (v2).
    pub low: Option<u64>,
    /// Tasks were slowed down because usage was above `memory.high` (v2).
    pub high: Option<u64>,
    /// Usage was about to go above the limit (v1: `memory.failcnt`).
    pub max: Option<u64>,
    /// The limit was reached and nothing could be taken back (v2).
    pub oom: Option<u64>,
    /// Processes that the kernel killed because memory ran out. v1: since Linux 4.13, and those of
    /// descendants are not counted.
    pub oom_kill: Option<u64>,
    /// Times that all processes of a cgroup were killed at once (v2, since Linux 5.17).
    pub oom_group_kill: Option<u64>,
    /// Whether tasks wait now because the limit is reached (v1).
    pub under_oom: Option<bool>,
}

/// Reads a `memory.events` of v2 (`mm/memcontrol.c`, `memory_events_show`) or a
/// `memory.oom_control` of v1 (`mm/memcontrol-v1.c`, `mem_cgroup_oom_control_read`).
pub fn parse_memory_events(text: &[u8]) -> MemoryEvents {
    let mut events = MemoryEvents::default();
    for (name, value) in named_numbers(text) {
        match name {
            b"low" => events.low = Some(value),
            b"high" => events.high = Some(value),
            b"max" => events.max = Some(value),
            b"oom" => events.oom = Some(value),
            b"oom_kill" => events.oom_kill = Some(value),
            b"oom_group_kill" => events.oom_group_kill = Some(value),
            b"under_oom" => events.under_oom = Some(value != 0),
            _ => {}
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_taken(text: Vec<u8>) {
            parse_memory_events(&text);
        }
    }
}
