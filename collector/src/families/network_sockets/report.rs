//! From counters of sockets to the contract.

use jiff::Timestamp;
use tare_ebpf::NetCell;
use tare_model::{Level, Packets, Sockets, Traffic};

use crate::kernel::SocketLevel;

/// Bytes of a cgroup's sockets, counted at a level, since a time.
pub fn report(cell: &NetCell, level: SocketLevel, since: Option<Timestamp>) -> Sockets {
    match level {
        SocketLevel::Payload => payload(cell, since),
        SocketLevel::L3 => packets(cell, since),
    }
}

/// Bytes received and sent, by the same count as [`report`].
pub fn bytes(cell: &NetCell, level: SocketLevel) -> (u64, u64) {
    let Sockets { rx_bytes, tx_bytes, .. } = report(cell, level, None);
    (rx_bytes, tx_bytes)
}

fn payload(cell: &NetCell, since: Option<Timestamp>) -> Sockets {
    let NetCell { tcp, udp, other, .. } = cell;
    let traffic = |traffic: &tare_ebpf::Traffic| Traffic {
        rx_bytes: traffic.rx_bytes,
        rx_calls: traffic.rx_calls,
        tx_bytes: traffic.tx_bytes,
        tx_calls: traffic.tx_calls,
    };
    Sockets {
        level: Level::Payload,
        since,
        rx_bytes: tcp.rx_bytes + udp.rx_bytes + other.rx_bytes,
        tx_bytes: tcp.tx_bytes + udp.tx_bytes + other.tx_bytes,
        tcp: Some(traffic(tcp)),
        udp: Some(traffic(udp)),
        rx_packets: None,
        tx_packets: None,
        loopback: None,
    }
}

fn packets(cell: &NetCell, since: Option<Timestamp>) -> Sockets {
    let NetCell { wire, loopback, .. } = cell;
    Sockets {
        level: Level::L3,
        since,
        rx_bytes: wire.rx_bytes,
        tx_bytes: wire.tx_bytes,
        tcp: None,
        udp: None,
        rx_packets: Some(wire.rx_packets),
        tx_packets: Some(wire.tx_packets),
        loopback: Some(Packets {
            rx_bytes: loopback.rx_bytes,
            rx_packets: loopback.rx_packets,
            tx_bytes: loopback.tx_bytes,
            tx_packets: loopback.tx_packets,
        }),
    }
}
