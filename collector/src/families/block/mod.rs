//! Block I/O.

mod by_device;
mod files;
mod metrics;
mod report;
mod source;

pub(crate) use self::metrics::{METRICS, ORIGIN};
pub use self::{
    by_device::ByDevice,
    files::{IoFiles, charged_to},
    report::{
        BlockContext, BlockInputs, BlockOperations, bytes, latency_bounds, operations, report,
    },
    source::source,
};
