//! CPU time.

mod files;
mod metrics;
mod report;
mod source;

pub(crate) use self::metrics::METRICS;
pub use self::{files::CpuFiles, report::report, source::source};
