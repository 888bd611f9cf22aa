//! CPU time.

mod files;
mod report;

pub use self::{files::CpuFiles, report::report};
