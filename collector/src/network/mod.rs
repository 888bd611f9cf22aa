//! The interface view: what the network devices of a container carried, as `docker stats` counts.
//!
//! The counters belong to a network namespace, so all who share one have the same. Nothing here
//! enters a namespace: `/proc/PID/net/dev` shows the devices of the process's namespace to anyone
//! who sees the process.

pub mod namespaces;
pub mod netdev;

pub use namespaces::{NamespaceId, Namespaces};
pub use netdev::{InterfaceCounters, parse_net_dev};
