//! Block I/O.

mod files;
mod report;

pub use self::{
    files::{IoFiles, charged_to},
    report::{BlockContext, BlockInputs, bytes, report},
};
