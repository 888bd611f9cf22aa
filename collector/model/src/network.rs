//! Network devices and namespaces.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
pub use tare_parsers::{
    net_dev::InterfaceCounters as Interface,
    net_sockets::{TcpStates, UdpSockets},
};

/// Network.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Network {
    /// Devices of the network namespace without `lo`; shared by all who share the namespace.
    pub interfaces: Option<BTreeMap<String, Interface>>,
    /// The container's own sockets, right in shared namespaces too.
    pub sockets: Option<Sockets>,
    /// What became of the TCP connections of the container's own sockets.
    pub tcp_events: Option<TcpEvents>,
    /// The TCP and UDP sockets of the network namespace; shared by all who share it. `None` on the
    /// host's network.
    #[serde(default)]
    pub namespace_sockets: Option<NamespaceSockets>,
    /// Its network namespace, for who compares rows of one report.
    #[serde(skip)]
    pub namespace: Option<NamespaceId>,
    /// Ids of the others in the same network namespace, 64 at most; `None` if
    /// unknown.
    pub shared_with: Option<Vec<String>>,
    /// How many others there are.
    #[serde(default)]
    pub shared_with_count: Option<usize>,
    /// Whether that namespace is the host's.
    pub host_namespace: Option<bool>,
}

impl Network {
    /// Bytes as `docker stats` counts them, except that on the host's network, where the devices
    /// count everybody's, they are those of the container's own sockets.
    pub fn io(&self) -> NetworkIo {
        if self.host_namespace == Some(true) {
            return self.sockets.map_or_else(NetworkIo::default, |sockets| NetworkIo {
                rx_bytes: Some(sockets.rx_bytes),
                tx_bytes: Some(sockets.tx_bytes),
                own_sockets: true,
            });
        }
        let Some(interfaces) = &self.interfaces else {
            return NetworkIo::default();
        };
        let add = |total: u64, bytes: u64| total.saturating_add(bytes);
        let rx_bytes = interfaces.values().map(|device| device.rx_bytes).fold(0, add);
        let tx_bytes = interfaces.values().map(|device| device.tx_bytes).fold(0, add);
        NetworkIo { rx_bytes: Some(rx_bytes), tx_bytes: Some(tx_bytes), own_sockets: false }
    }
}

/// Bytes as NET I/O shows them. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkIo {
    /// Received.
    pub rx_bytes: Option<u64>,
    /// Sent.
    pub tx_bytes: Option<u64>,
    /// Whether they are those of the container's own sockets.
    pub own_sockets: bool,
}

/// What a container's sockets carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Sockets {
    /// What a byte means here.
    pub level: Level,
    /// When counting began; `None` if that was before the container did anything.
    pub since: Option<Timestamp>,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// The same, by transport (level `payload`).
    pub tcp: Option<Traffic>,
    /// The same, by transport (level `payload`).
    pub udp: Option<Traffic>,
    /// Packets received (level `l3`).
    pub rx_packets: Option<u64>,
    /// Packets sent (level `l3`).
    pub tx_packets: Option<u64>,
    /// What went over the loopback device, which is not part of the sums above (level `l3`).
    pub loopback: Option<Packets>,
}

/// What became of a container's TCP connections. A socket belongs to the container that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct TcpEvents {
    /// When counting began; `None` if that was before the container did anything.
    pub since: Option<Timestamp>,
    /// Segments sent again, SYNs included.
    pub retransmits: Option<u64>,
    /// Connections.
    pub connections: Option<Connections>,
}

/// How TCP connections began and ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Connections {
    /// Established on the container's own initiative.
    pub opened: u64,
    /// Established on that of others, whether or not the program has called `accept` by now.
    pub accepted: u64,
    /// Established once and over in both directions, orderly or not.
    pub closed: u64,
    /// Asked for by the container and never established: refused, timed out or given up.
    pub failed: u64,
}

/// What a byte of the socket view means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// What programs passed to and got from their sockets.
    Payload,
    /// IP packets with their headers.
    L3,
}

/// Calls and bytes of one transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Traffic {
    pub rx_bytes: u64,
    pub rx_calls: u64,
    pub tx_bytes: u64,
    pub tx_calls: u64,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Packets {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
}

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
