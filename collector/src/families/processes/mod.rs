//! Processes, as opposed to tasks, which are their threads.

mod files;
mod metrics;

pub use self::files::ProcessesFiles;
pub(crate) use self::metrics::{METRICS, ORIGIN};
