//! What the kernel's cgroup files tell: hierarchies, the tree, and the usage of each cgroup.
//!
//! Files are opened once and read with one `pread` each; every reader is a `read` (I/O) around a
//! `parse` that is pure and total: it takes any bytes and never panics.

pub mod cpu;
pub mod error;
pub mod file;
pub mod files;
pub mod io;
pub mod memory;
pub mod mounts;
pub mod pids;
pub mod pressure;
pub mod processes;
pub mod stat_table;
pub(crate) mod text;
pub mod walk;

pub use cpu::{CpuFiles, CpuUsage};
pub use error::ReadError;
pub use file::KeptFile;
pub use files::CgroupFiles;
pub use io::{Device, IoCounters, IoFiles, IoUsage, charged_to};
pub use memory::{MemoryFiles, MemoryUsage};
pub use mounts::{
    Controller, Hierarchies, LegacyHierarchy, Version, find_hierarchies, parse_mountinfo,
};
pub use pids::{PidsFiles, PidsUsage};
pub use pressure::{PressureUsage, Stall, parse_pressure};
pub use processes::first_pid;
pub use stat_table::StatTable;
pub use walk::{Node, Walk, walk};
