//! Metrics of the devices of network namespaces. Of the containers that share a namespace one has
//! them, so that sums are right. What each container's own sockets carried is in
//! `tare_container_socket_*`.

use tare_model::{Container, Interface};

use crate::exposition::{Collect, Metric, Origin, Samples, counter_of};

pub(crate) const ORIGIN: Origin = Origin {
    source: "`/proc/PID/net/dev` of one process of each network namespace; a dump of the host's links says which changed",
    kernel: "all",
    cost: "in each sample: the dump, and one read for each namespace whose counters changed; each at least every 10 s",
    exceptions: &[],
};

pub(crate) const METRICS: &[Metric] = &[
    network("container_network_receive_bytes_total", "Bytes received.", |container, out| {
        each(container, out, |interface| interface.rx_bytes);
    }),
    network("container_network_receive_packets_total", "Packets received.", |container, out| {
        each(container, out, |interface| interface.rx_packets);
    }),
    network(
        "container_network_receive_packets_dropped_total",
        "Received packets that were dropped.",
        |container, out| each(container, out, |interface| interface.rx_dropped),
    ),
    network("container_network_receive_errors_total", "Receive errors.", |container, out| {
        each(container, out, |interface| interface.rx_errors);
    }),
    network("container_network_transmit_bytes_total", "Bytes sent.", |container, out| {
        each(container, out, |interface| interface.tx_bytes);
    }),
    network("container_network_transmit_packets_total", "Packets sent.", |container, out| {
        each(container, out, |interface| interface.tx_packets);
    }),
    network(
        "container_network_transmit_packets_dropped_total",
        "Packets that were dropped before they were sent.",
        |container, out| each(container, out, |interface| interface.tx_dropped),
    ),
    network("container_network_transmit_errors_total", "Transmit errors.", |container, out| {
        each(container, out, |interface| interface.tx_errors);
    }),
];

const fn network(
    name: &'static str,
    help: &'static str,
    write: fn(&Container, &mut Samples),
) -> Metric {
    counter_of(name, help, Collect::NetworkNamespace(write))
}

fn each(container: &Container, out: &mut Samples, number: fn(&Interface) -> u64) {
    for (name, interface) in container.network.interfaces.iter().flatten() {
        out.with(&[("interface", name)], number(interface));
    }
}
