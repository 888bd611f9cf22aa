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
mod source;

pub use book::{ConnectionStatus, MAX_NAMES, MAX_WANTED};
pub use details::{Compose, ExitStatus, Health, KeyFilter, Metadata, MetadataFilter, PodMetadata};
pub use names::{MetadataResolver, RuntimeApi, RuntimeGroup, RuntimeSockets, Socket};
pub use path::{Identity, IdentityKind, PodRef, Qos, Runtime, classify, pod_cgroup};
pub use source::source;
