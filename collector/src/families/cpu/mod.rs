//! CPU time.

mod files;
mod metrics;
mod per_cpu;
mod report;
mod source;

pub(crate) use self::metrics::{METRICS, ORIGIN, shares as shares_of_weight};
pub use self::{files::CpuFiles, per_cpu::PerCpuFiles, report::report, source::source};
