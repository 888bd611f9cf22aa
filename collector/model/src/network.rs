//! Network devices and namespaces.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
pub use tare_parsers::{
    net_dev::InterfaceCounters as Interface,
    net_sockets::{TcpStates, UdpSockets},
};

/// The TCP and UDP sockets of a network namespace, whichever of its containers has them. `None` is
/// unknown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct NamespaceSockets {
    /// When they were read.
    pub read_at: Timestamp,
    /// TCP over IPv4, by state.
    pub tcp: Option<TcpStates>,
    /// TCP over IPv6, by state.
    pub tcp6: Option<TcpStates>,
    /// UDP over IPv4.
    pub udp: Option<UdpSockets>,
    /// UDP over IPv6.
    pub udp6: Option<UdpSockets>,
    /// The kernel's TCP counters by its own names (`Tcp` in `snmp`, `TcpExt` in `netstat`); empty
    /// unless they are wanted.
    pub tcp_counters: BTreeMap<String, i64>,
}

/// A network namespace, identified by the inode number of `/proc/PID/ns/net`.
///
/// The kernel reuses the number only after the namespace is gone. A namespace stays while its
/// `/proc/PID/net/dev` is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub struct NamespaceId(pub u64);
