//! Network devices and namespaces.

use serde::{Deserialize, Serialize};

/// Counters of one network device since it was made, from the view of its namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Interface {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bad packets received.
    pub rx_errors: u64,
    /// Packets dropped on receipt, those included that the device missed
    /// (`net/core/net-procfs.c`, `dev_seq_printf_stats`).
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Failures to send.
    pub tx_errors: u64,
    /// Packets dropped on their way out.
    pub tx_dropped: u64,
}

/// A network namespace by the inode of `/proc/PID/ns/net`.
///
/// The kernel gives the number to another namespace only after this one is gone, which does not
/// happen while its file is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceId(pub u64);
