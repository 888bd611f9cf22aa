//! Block I/O.

mod files;
mod metrics;
mod report;
mod source;

pub(crate) use self::metrics::METRICS;
pub use self::{
    files::{IoFiles, charged_to},
    report::{BlockContext, BlockInputs, bytes, report},
    source::source,
};
