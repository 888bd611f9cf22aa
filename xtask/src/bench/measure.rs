//! What a program uses, as the kernel counts it for the program's own cgroup.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
