//! Devices of network namespaces. A namespace that several containers share counts for one of
//! them, so that sums are right; the view from the sockets is in `tare_container_socket_*`.

use crate::{
    model::Interface,
    output::prometheus::{
        Row, Samples,
        family::{Family, Kind, Of},
    },
};

pub(super) const FAMILIES: &[Family] = &[
    network("container_network_receive_bytes_total", "Bytes received.", |row, out| {
        each(row, out, |interface| interface.rx_bytes);
    }),
    network("container_network_receive_packets_total", "Packets received.", |row, out| {
        each(row, out, |interface| interface.rx_packets);
    }),
    network(
        "container_network_receive_packets_dropped_total",
        "Packets dropped on receipt.",
        |row, out| each(row, out, |interface| interface.rx_dropped),
    ),
    network("container_network_receive_errors_total", "Bad packets received.", |row, out| {
        each(row, out, |interface| interface.rx_errors);
    }),
    network("container_network_transmit_bytes_total", "Bytes sent.", |row, out| {
        each(row, out, |interface| interface.tx_bytes);
    }),
    network("container_network_transmit_packets_total", "Packets sent.", |row, out| {
        each(row, out, |interface| interface.tx_packets);
    }),
    network(
        "container_network_transmit_packets_dropped_total",
        "Packets dropped on their way out.",
        |row, out| each(row, out, |interface| interface.tx_dropped),
    ),
    network("container_network_transmit_errors_total", "Failures to send.", |row, out| {
        each(row, out, |interface| interface.tx_errors);
    }),
];

const fn network(name: &'static str, help: &'static str, write: fn(&Row, &mut Samples)) -> Family {
    Family { name, help, kind: Kind::Counter, of: Of::Network(write) }
}

fn each(row: &Row, out: &mut Samples, number: fn(&Interface) -> u64) {
    for (name, interface) in row.network.interfaces.iter().flatten() {
        out.with(&[("interface", name)], number(interface));
    }
}
