//! CPU time.

mod files;
mod report;
mod source;

pub use self::{files::CpuFiles, report::report, source::source};
