//! Whether a cgroup is populated and whether it is frozen.

mod files;
mod report;

pub use self::{files::StateFiles, report::report};
