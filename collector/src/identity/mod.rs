//! Who a cgroup is: from its path alone, then by asking the runtime for names.
//!
//! Knows nothing of counters. Paths are classified without any I/O; names arrive later, in the
//! background, and never hold up a sample.

mod asker;
mod book;
mod cri;
mod details;
mod disk;
mod engine;
mod names;
mod path;

pub use book::{MAX_NAMES, MAX_WANTED, Status};
pub use details::{Allowed, AllowedKeys, Compose, Details, End, Health, PodDetails};
pub use names::{Daemon, Group, Names, Socket, Sockets};
pub use path::{Identity, Kind, PodRef, Qos, Runtime, classify, pod_cgroup};
