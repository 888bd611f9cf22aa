//! Time lost to waiting for CPU, memory or I/O (PSI, `Documentation/accounting/psi.rst`).

mod files;
mod metrics;
mod report;

pub(crate) use self::metrics::{METRICS, ORIGIN};
pub use self::{files::PressureFiles, report::report};
