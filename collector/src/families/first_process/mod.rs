//! What the first process of a cgroup shows of its container: limits and the root file system.

mod files;
mod metrics;
mod report;

use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub use self::{files::FirstProcessFiles, report::report};
pub(crate) use self::{
    files::LOCAL,
    metrics::{METRICS, ORIGIN},
};

/// What the first process shows. `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct FirstProcess {
    /// The soft limit of open files.
    pub open_files_limit: Option<u64>,
    /// The file system that its root is on.
    pub root: Option<Root>,
}

/// The file system that a root is on, and how full it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Root {
    /// Where it is.
    pub place: Arc<RootPlace>,
    /// Its size.
    pub size_bytes: u64,
    /// What is free, also what only root may use.
    pub free_bytes: u64,
    /// Inodes; 0 where there is no limit.
    pub inodes: u64,
    /// Inodes that are free.
    pub inodes_free: u64,
}

/// The device and type of the file system that takes what is written to a root.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct RootPlace {
    /// What is mounted, such as `/dev/sda1`.
    pub device: String,
    /// The type, such as `ext4`.
    pub kind: String,
}
