//! From counters of TCP to the contract.

use jiff::Timestamp;
use tare_ebpf::TcpEvents as Counted;
use tare_model::{Connections, TcpEvents};

/// TCP events of a cgroup since a time; of each kind `None` where no program counts it.
pub fn report(
    counted: &Counted,
    retransmits: bool,
    connections: bool,
    since: Option<Timestamp>,
) -> TcpEvents {
    let Counted { opened, accepted, closed, failed, .. } = *counted;
    TcpEvents {
        since,
        retransmits: retransmits.then_some(counted.retransmits),
        connections: connections.then_some(Connections { opened, accepted, closed, failed }),
    }
}
