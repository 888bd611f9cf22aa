//! TCP connections and retransmits of a cgroup.

mod report;

pub use self::report::report;
