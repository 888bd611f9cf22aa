//! Bytes and packets of a container's network devices: what `docker stats` calls NET I/O.

mod metrics;
mod report;
mod source;

pub(crate) use self::metrics::{METRICS, ORIGIN};
pub use self::{report::report, source::source};
