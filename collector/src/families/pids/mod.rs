//! Tasks: threads, not processes.

mod files;
mod report;

pub use self::{files::PidsFiles, report::report};
