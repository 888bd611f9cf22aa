//! TCP and UDP sockets of network namespaces, whichever container has them.

mod metrics;
mod report;

pub(crate) use self::metrics::{METRICS, ORIGIN};
pub use self::report::report;
