//! Tasks: threads, not processes.

mod files;
mod report;
mod source;

pub use self::{files::PidsFiles, report::report, source::source};
