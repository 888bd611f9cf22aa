//! Metrics of the bytes at containers' own sockets. They are right in shared network namespaces and
//! in the host's, and can be added up. The label `level` says what is counted.

use tare_model::{Container, Level, Sockets};

use crate::exposition::{Metric, Origin, Samples, counter};

pub(crate) const ORIGIN: Origin = Origin {
    source: "programs at each send and receive of a socket; by option at each packet",
    kernel: "6.3; packets: 4.10 and BTF",
    cost: "37 to 99 ns for each send and receive",
    exceptions: &[],
};

pub(crate) const METRICS: &[Metric] = &[
    counter(
        "tare_container_socket_receive_bytes_total",
        "Bytes that the container's sockets received.",
        |container, out| each(container, out, |sockets| Some(sockets.rx_bytes)),
    ),
    counter(
        "tare_container_socket_transmit_bytes_total",
        "Bytes that the container's sockets sent.",
        |container, out| each(container, out, |sockets| Some(sockets.tx_bytes)),
    ),
    counter(
        "tare_container_socket_receive_packets_total",
        "IP packets that the container's sockets received.",
        |container, out| each(container, out, |sockets| sockets.rx_packets),
    ),
    counter(
        "tare_container_socket_transmit_packets_total",
        "IP packets that the container's sockets sent.",
        |container, out| each(container, out, |sockets| sockets.tx_packets),
    ),
];

fn each(container: &Container, out: &mut Samples, number: fn(&Sockets) -> Option<u64>) {
    if let Some(sockets) = &container.network.sockets {
        let level = match sockets.level {
            Level::Payload => "payload",
            Level::L3 => "l3",
        };
        out.with(&[("level", level)], number(sockets));
    }
}
