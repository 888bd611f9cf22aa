//! From readings of sockets to the contract.

use tare_model::NamespaceSockets;

use crate::network::SocketStates;

/// The sockets of a network namespace.
pub fn report(states: &SocketStates) -> NamespaceSockets {
    let SocketStates { read_at, tcp, tcp6, udp, udp6, tcp_counters } = states;
    NamespaceSockets {
        read_at: read_at.time,
        tcp: *tcp,
        tcp6: *tcp6,
        udp: *udp,
        udp6: *udp6,
        tcp_counters: tcp_counters.iter().cloned().collect(),
    }
}
