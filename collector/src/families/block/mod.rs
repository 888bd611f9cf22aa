//! Block I/O.

mod files;
mod report;
mod source;

pub use self::{
    files::{IoFiles, charged_to},
    report::{BlockContext, BlockInputs, bytes, report},
    source::source,
};
