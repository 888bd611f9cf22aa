//! What a container has written to its root, as its runtime has counted it.

mod metrics;
mod report;

pub(crate) use self::metrics::{METRICS, ORIGIN};
pub use self::report::report;
