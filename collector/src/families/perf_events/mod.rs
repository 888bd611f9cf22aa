//! Events that the kernel and the CPU count: instructions, cache misses, context switches.
//!
//! The kernel counts an event of a cgroup on one CPU with one descriptor, and takes counters in and
//! out whenever a CPU changes between cgroups. So nothing is counted unless it is asked for, and
//! the descriptors are limited.

mod counter;
mod event;
mod files;
mod metrics;
mod report;
mod source;
mod wanted;

use serde::{Deserialize, Serialize};

pub(crate) use self::metrics::{METRICS, ORIGIN};
pub use self::{
    event::PerfEvent, files::PerfEventFiles, report::report, source::source, wanted::PerfEvents,
};

/// One event of one cgroup, on all CPUs together, since Tare began to count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PerfCount {
    /// What is counted.
    pub event: PerfEvent,
    /// How often it happened; never falls. While a CPU had no counter free for it, it is taken to
    /// have happened as often as in the time counted.
    pub count: u64,
    /// Nanoseconds for which a process of the cgroup ran.
    pub enabled_nanoseconds: u64,
    /// Nanoseconds of these for which the event was counted.
    pub running_nanoseconds: u64,
}
