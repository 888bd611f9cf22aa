//! Bytes that a cgroup's own sockets carried, right on the host's network and in shared
//! namespaces too.

mod metrics;
mod report;
mod source;

use tare_ebpf::{NetCell, Packets, TcpEvents, Traffic};

pub(crate) use self::metrics::{METRICS, ORIGIN};
pub use self::{
    report::{bytes, report},
    source::source,
};
use crate::seldom::HasDefault;

impl HasDefault for NetCell {
    const DEFAULT: &'static Self = &Self {
        tcp: NO_TRAFFIC,
        udp: NO_TRAFFIC,
        other: NO_TRAFFIC,
        wire: NO_PACKETS,
        loopback: NO_PACKETS,
        tcp_events: TcpEvents { retransmits: 0, opened: 0, accepted: 0, closed: 0, failed: 0 },
    };
}

const NO_TRAFFIC: Traffic = Traffic { rx_bytes: 0, rx_calls: 0, tx_bytes: 0, tx_calls: 0 };

const NO_PACKETS: Packets = Packets { rx_bytes: 0, rx_packets: 0, tx_bytes: 0, tx_packets: 0 };
