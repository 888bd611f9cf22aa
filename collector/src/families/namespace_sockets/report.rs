//! From readings of sockets to the contract.

use std::time::Instant;

use jiff::Timestamp;
use tare_model::NamespaceSockets;

use crate::network::SocketStates;

/// The sockets of a network namespace. `time_of` tells the time of day of an instant.
pub fn report(states: &SocketStates, time_of: impl Fn(Instant) -> Timestamp) -> NamespaceSockets {
    let SocketStates { read_at, tcp, tcp6, udp, udp6, tcp_counters } = states;
    NamespaceSockets {
        read_at: time_of(*read_at),
        tcp: *tcp,
        tcp6: *tcp6,
        udp: *udp,
        udp6: *udp6,
        tcp_counters: tcp_counters.iter().cloned().collect(),
    }
}
