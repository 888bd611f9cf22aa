//! What the kernel's cgroup files tell: hierarchies, the tree, and the usage of each cgroup.
//!
//! Files are opened once and read with one `pread` each; every reader is a `read` (I/O) around a
//! `parse` that is pure and total: it takes any bytes and never panics.

pub mod error;
pub mod file;
pub mod mounts;
pub mod processes;
pub(crate) mod text;
pub mod walk;

pub use error::ReadError;
pub use file::KeptFile;
pub use mounts::{
    Controller, Hierarchies, LegacyHierarchy, Version, find_hierarchies, parse_mountinfo,
};
pub use processes::first_pid;
pub use walk::{Node, Walk, walk};
