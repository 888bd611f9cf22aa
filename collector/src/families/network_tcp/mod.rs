//! TCP connections and retransmits of a cgroup.

mod metrics;
mod report;
mod source;

pub(crate) use self::metrics::{METRICS, ORIGIN};
pub use self::{report::report, source::source};
