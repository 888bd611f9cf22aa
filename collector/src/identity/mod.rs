//! Who a cgroup is: from its path alone, then by asking the runtime for names.
//!
//! Knows nothing of counters. Paths are classified without any I/O; names arrive later, in the
//! background, and never hold up a sample.

pub mod docker;

mod details;
mod path;

pub use details::{AllowedLabels, Compose, Details, End, Health, PodDetails};
pub use path::{Identity, Kind, PodRef, Qos, Runtime, classify};
