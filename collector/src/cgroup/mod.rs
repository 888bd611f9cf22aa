//! Cgroup hierarchies, their trees, and files that stay open.

pub mod directory;
pub mod error;
pub mod file;
pub mod mounts;
pub mod processes;
pub mod walk;

pub use self::{
    directory::{Directory, shared, shared_path, with_path},
    error::ReadError,
    file::KeptFile,
    mounts::{Controller, Hierarchies, Version, find_hierarchies, parse_mountinfo},
    processes::{ProcessLists, all_pids, first_pid, has_processes},
    walk::{Node, walk},
};
pub(crate) use self::{file::read_once, walk::below};
