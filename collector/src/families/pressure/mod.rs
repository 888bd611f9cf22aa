//! Time lost to waiting for CPU, memory or I/O (PSI, `Documentation/accounting/psi.rst`).

mod files;
mod report;

pub use self::{files::PressureFiles, report::report};
