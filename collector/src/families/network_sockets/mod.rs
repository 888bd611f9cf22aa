//! Bytes that a cgroup's own sockets carried, right on the host's network and in shared
//! namespaces too.

mod metrics;
mod report;
mod source;

pub(crate) use self::metrics::{METRICS, ORIGIN};
pub use self::{
    report::{bytes, report},
    source::source,
};
