//! Metrics of the sockets of network namespaces, under cAdvisor's names. Of the containers that
//! share a namespace one has them, as with its devices.

use tare_model::{Container, NamespaceSockets, TcpStates, UdpSockets};

use crate::exposition::{Collect, Metric, Origin, Samples, gauge_of};

pub(crate) const ORIGIN: Origin = Origin {
    source: "`/proc/PID/net/{tcp,tcp6,udp,udp6}` of one process of each network namespace; none of the host's",
    kernel: "all",
    cost: "only with `--namespace-sockets states`: every 10 s at most, and never more than 0.1 % of a CPU in all",
    exceptions: &[(
        "container_network_advance_tcp_stats_total",
        "`/proc/PID/net/snmp` and `netstat`, with `--namespace-sockets counters`",
        "all",
    )],
};

pub(crate) const METRICS: &[Metric] = &[
    namespace(
        "container_network_tcp_usage_total",
        "TCP sockets over IPv4, by state.",
        |container, out| tcp(container, out, |sockets| sockets.tcp),
    ),
    namespace(
        "container_network_tcp6_usage_total",
        "TCP sockets over IPv6, by state.",
        |container, out| tcp(container, out, |sockets| sockets.tcp6),
    ),
    namespace(
        "container_network_udp_usage_total",
        "UDP sockets over IPv4 (listen), bytes in their queues, and packets that they dropped.",
        |container, out| udp(container, out, |sockets| sockets.udp),
    ),
    namespace(
        "container_network_udp6_usage_total",
        "UDP sockets over IPv6 (listen), bytes in their queues, and packets that they dropped.",
        |container, out| udp(container, out, |sockets| sockets.udp6),
    ),
    namespace(
        "container_network_advance_tcp_stats_total",
        "TCP counters of the kernel, by their names in lower case; only with --namespace-sockets counters.",
        |container, out| {
            let Some(sockets) = &container.network.namespace_sockets else { return };
            for (name, value) in &sockets.tcp_counters {
                out.with(&[("tcp_state", &name.to_ascii_lowercase())], *value as f64);
            }
        },
    ),
];

/// Gauges, although cAdvisor's names end with `_total`.
const fn namespace(
    name: &'static str,
    help: &'static str,
    write: fn(&Container, &mut Samples),
) -> Metric {
    gauge_of(name, help, Collect::NetworkNamespace(write))
}

fn tcp(
    container: &Container,
    out: &mut Samples,
    states: fn(&NamespaceSockets) -> Option<TcpStates>,
) {
    let states = container.network.namespace_sockets.as_ref().and_then(states);
    for (state, count) in states.iter().flat_map(TcpStates::named) {
        out.with(&[("tcp_state", state)], count);
    }
}

fn udp(
    container: &Container,
    out: &mut Samples,
    sockets: fn(&NamespaceSockets) -> Option<UdpSockets>,
) {
    let Some(sockets) = container.network.namespace_sockets.as_ref().and_then(sockets) else {
        return;
    };
    let UdpSockets { sockets, tx_queued_bytes, rx_queued_bytes, dropped } = sockets;
    for (state, number) in [
        ("listen", sockets),
        ("dropped", dropped),
        ("rxqueued", rx_queued_bytes),
        ("txqueued", tx_queued_bytes),
    ] {
        out.with(&[("udp_state", state)], number);
    }
}
