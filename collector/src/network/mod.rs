//! The interface view: what the network devices of a container carried, as `docker stats` counts.
//!
//! The counters belong to a network namespace, so all who share one have the same. Nothing here
//! enters a namespace: `/proc/PID/net/dev` shows the devices of the process's namespace to anyone
//! who sees the process.
//!
//! A veth's other end on the host tells bytes and packets with its directions swapped, and one
//! `RTM_GETSTATS` dump tells them of all. But drops are each end's own (`veth_get_stats64`,
//! `drivers/net/veth.c`; what no protocol takes is counted where it arrives,
//! `__netif_receive_skb_core`, `net/core/dev.c`). So every number is read in the namespace's own
//! table, and the dump only tells which tables need not be read again.

pub mod namespaces;
pub mod netdev;
mod netlink;
mod outside;
mod rtnetlink;

pub use namespaces::{NamespaceId, Namespaces, namespace_of};
pub use netdev::{Interfaces, parse_net_dev};
pub use tare_model::Interface as InterfaceCounters;
