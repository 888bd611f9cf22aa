//! Bytes at containers' own sockets: right in shared network namespaces and on the host's, and
//! additive over containers. What a byte means is in the label `level`.

use crate::{
    model::{Level, Sockets},
    output::prometheus::{
        Row, Samples,
        family::{Family, counter},
    },
};

pub(super) const FAMILIES: &[Family] = &[
    counter(
        "tare_container_socket_receive_bytes_total",
        "Bytes that the container's sockets received.",
        |row, out| each(row, out, |sockets| Some(sockets.rx_bytes)),
    ),
    counter(
        "tare_container_socket_transmit_bytes_total",
        "Bytes that the container's sockets sent.",
        |row, out| each(row, out, |sockets| Some(sockets.tx_bytes)),
    ),
    counter(
        "tare_container_socket_receive_packets_total",
        "IP packets that the container's sockets received.",
        |row, out| each(row, out, |sockets| sockets.rx_packets),
    ),
    counter(
        "tare_container_socket_transmit_packets_total",
        "IP packets that the container's sockets sent.",
        |row, out| each(row, out, |sockets| sockets.tx_packets),
    ),
];

fn each(row: &Row, out: &mut Samples, number: fn(&Sockets) -> Option<u64>) {
    if let Some(sockets) = &row.network.sockets {
        let level = match sockets.level {
            Level::Payload => "payload",
            Level::L3 => "l3",
        };
        out.with(&[("level", level)], number(sockets));
    }
}
