//! Tasks: threads, not processes.

mod files;
mod metrics;
mod report;
mod source;

pub(crate) use self::metrics::{METRICS, ORIGIN};
pub use self::{files::PidsFiles, report::report, source::source};
