//! Metrics of TCP connections and retransmits.

use crate::exposition::{Metric, Origin, counter};

pub(crate) const ORIGIN: Origin = Origin {
    source: "programs at `inet_sock_set_state` and `tcp_retransmit_skb`",
    kernel: "BTF",
    cost: "30 ns for each change of state, 56 ns for each retransmitted packet",
    exceptions: &[],
};

pub(crate) const METRICS: &[Metric] = &[
    counter(
        "tare_container_tcp_retransmits_total",
        "TCP segments retransmitted.",
        |container, out| {
            out.value(container.network.tcp_events.and_then(|events| events.retransmits));
        },
    ),
    counter(
        "tare_container_tcp_connections_total",
        "TCP connections opened, accepted, closed and failed, by event.",
        |container, out| {
            let connections = container.network.tcp_events.and_then(|events| events.connections);
            if let Some(connections) = connections {
                out.with(&[("event", "opened")], connections.opened);
                out.with(&[("event", "accepted")], connections.accepted);
                out.with(&[("event", "closed")], connections.closed);
                out.with(&[("event", "failed")], connections.failed);
            }
        },
    ),
];
