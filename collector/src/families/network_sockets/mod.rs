//! Bytes that a cgroup's own sockets carried, right on the host's network and in shared
//! namespaces too.

mod report;
mod source;

pub use self::{
    report::{bytes, report},
    source::source,
};
