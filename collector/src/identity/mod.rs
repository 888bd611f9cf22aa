//! What a cgroup is: its runtime, id and pod from its path, and the rest from its runtime.
//!
//! Knows nothing of counters. A path is classified without any I/O. Names, images and labels are
//! requested in the background, so a sample never waits for a runtime.
//!
//! From the bottom up: `path`, `filter`, `metadata` and `sockets` are plain data; `client` is the
//! trait of a runtime's API, which `docker` and `cri` implement; `state_files` reads what a runtime
//! left on disk; `cache` and `queue` hold results and requests, `state` both; a `worker` serves one
//! socket; `resolver` is what the rest of Tare calls; `source` is its entry in `sources`.

mod path;

mod filter;

mod metadata;

mod sockets;

mod client;

mod docker;

mod cri;

mod state_files;

mod cache;

mod queue;

mod state;

mod worker;

mod resolver;

mod source;

pub use self::{
    filter::{KeyFilter, MetadataFilter},
    metadata::{ExitStatus, Health, Metadata, PodMetadata, WritableLayer},
    path::{Identity, IdentityKind, Runtime, classify, pod_cgroup},
    queue::ConnectionStatus,
    resolver::MetadataResolver,
    sockets::{RuntimeApi, RuntimeGroup, RuntimeSockets, Socket},
    source::source,
};
