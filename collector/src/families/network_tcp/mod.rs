//! TCP connections and retransmits of a cgroup.

mod report;
mod source;

pub use self::{report::report, source::source};
