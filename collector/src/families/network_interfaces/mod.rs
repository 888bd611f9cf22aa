//! Bytes and packets of a container's network devices: what `docker stats` calls NET I/O.

mod report;
mod source;

pub use self::{report::report, source::source};
