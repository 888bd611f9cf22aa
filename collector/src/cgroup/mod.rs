//! What the kernel's cgroup files tell: hierarchies, the tree, and the usage of each cgroup.
//!
//! What changes all the time is opened once and read with one `pread` each; settings are opened
//! now and then; every reader is a `read` (I/O) around a
//! `parse` that is pure and total: it takes any bytes and never panics.

pub mod cpu;
pub mod error;
pub mod file;
pub mod files;
pub mod huge_pages;
pub mod io;
pub mod memory;
pub mod mounts;
pub mod pids;
pub mod pressure;
pub mod processes;
pub mod settings;
pub mod stat_kinds;
pub mod stat_table;
pub mod state;
pub(crate) mod text;
pub mod walk;

pub use cpu::{CpuFiles, CpuUsage};
pub use error::ReadError;
pub use file::KeptFile;
pub use files::CgroupFiles;
pub use huge_pages::{HugePages, HugePagesFiles};
pub use io::{Device, IoCounters, IoFiles, IoUsage, charged_to};
pub use memory::{MemoryEvents, MemoryFiles, MemoryUsage};
pub use mounts::{
    Controller, Hierarchies, LegacyHierarchy, Version, find_hierarchies, parse_mountinfo,
};
pub use pids::PidsFiles;
pub use pressure::{Pressure, PressureFiles, Pressures, Stall, parse_pressure};
pub use processes::{first_pid, has_processes};
pub use settings::{CpuSettings, MemorySettings, Settings, SettingsFiles};
pub use stat_kinds::{StatKind, stat_kind};
pub use stat_table::StatTable;
pub use state::{CgroupState, StateFiles};
pub use walk::{Node, Walk, walk};
