//! The interface view: what the network devices of a container transferred, as `docker stats`
//! counts it.
//!
//! Counters belong to a network namespace, so containers that share one have the same. Tare never
//! enters a namespace: `/proc/PID/net/dev` shows the devices of the process's namespace to every
//! reader that may see the process.
//!
//! The peer of a veth device counts the same bytes and packets with directions swapped, and one
//! `RTM_GETSTATS` dump returns the counters of all host-side peers. Drops are not the same at both
//! ends: each end counts its own (`veth_get_stats64`, `drivers/net/veth.c`), and packets that no
//! protocol accepts are counted where they arrive (`__netif_receive_skb_core`, `net/core/dev.c`).
//! So every published number is read in the namespace itself, and the dump decides which
//! namespaces need not be read again.

mod host_links;
mod namespaces;
mod route_socket;
mod socket_states;

pub use tare_model::NamespaceId;
pub use tare_parsers::net_dev::{InterfaceCounters, Interfaces};

pub use self::{
    namespaces::{Namespaces, namespace_of},
    socket_states::{AllSocketStates, NamespaceSockets, SocketStates, SocketStatesReader},
};
