//! Network devices and sockets of a network namespace. The host's is no container's.

use std::collections::BTreeMap;

use serde::Serialize;
use tare_model::{Interface, Network as Known, TcpStates, UdpSockets};

/// The first device stands in front of the list, as in version 1.
#[derive(Debug, Serialize)]
pub(in super::super) struct Network {
    #[serde(flatten)]
    first: Option<Device>,
    interfaces: Option<Vec<Device>>,
    tcp: Option<Tcp>,
    tcp6: Option<Tcp>,
    udp: Option<Udp>,
    udp6: Option<Udp>,
    tcp_advanced: Option<BTreeMap<String, i64>>,
}

#[derive(Clone, Debug, Serialize)]
struct Device {
    name: String,
    rx_bytes: Option<u64>,
    rx_packets: Option<u64>,
    rx_errors: Option<u64>,
    rx_dropped: Option<u64>,
    tx_bytes: Option<u64>,
    tx_packets: Option<u64>,
    tx_errors: Option<u64>,
    tx_dropped: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tcp {
    established: u64,
    syn_sent: u64,
    syn_recv: u64,
    fin_wait1: u64,
    fin_wait2: u64,
    time_wait: u64,
    close: u64,
    close_wait: u64,
    last_ack: u64,
    listen: u64,
    closing: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Udp {
    listen: u64,
    dropped: u64,
    rx_queued: u64,
    tx_queued: u64,
}

impl Network {
    pub(super) fn new(known: &Known) -> Option<Self> {
        let devices = known.interfaces.as_ref().filter(|_| known.host_namespace != Some(true))?;
        let devices: Vec<_> = devices.iter().map(|(name, one)| Device::new(name, one)).collect();
        let sockets = known.namespace_sockets.as_ref();
        let counters = sockets.map(|sockets| sockets.tcp_counters.clone());
        Some(Self {
            first: devices.first().cloned(),
            interfaces: Some(devices),
            tcp: sockets.and_then(|sockets| sockets.tcp).map(Tcp::from),
            tcp6: sockets.and_then(|sockets| sockets.tcp6).map(Tcp::from),
            udp: sockets.and_then(|sockets| sockets.udp).map(Udp::from),
            udp6: sockets.and_then(|sockets| sockets.udp6).map(Udp::from),
            tcp_advanced: counters.filter(|counters| !counters.is_empty()),
        })
    }

    /// What a history has kept of the only device.
    pub(super) fn remembered(name: &str, rx: Option<u64>, tx: Option<u64>) -> Option<Self> {
        let device = Device {
            name: name.to_owned(),
            rx_bytes: Some(rx?),
            tx_bytes: tx,
            rx_packets: None,
            rx_errors: None,
            rx_dropped: None,
            tx_packets: None,
            tx_errors: None,
            tx_dropped: None,
        };
        Some(Self {
            first: Some(device.clone()),
            interfaces: Some(vec![device]),
            tcp: None,
            tcp6: None,
            udp: None,
            udp6: None,
            tcp_advanced: None,
        })
    }

    pub(super) fn version_2(self) -> Self {
        Self { first: None, ..self }
    }
}

/// The name of the only network device.
pub(super) fn only_device(known: &Known) -> Option<&str> {
    let devices = known.interfaces.as_ref().filter(|_| known.host_namespace != Some(true))?;
    devices.keys().next().filter(|_| devices.len() == 1).map(String::as_str)
}

impl Device {
    fn new(name: &str, known: &Interface) -> Self {
        Self {
            name: name.to_owned(),
            rx_bytes: Some(known.rx_bytes),
            rx_packets: Some(known.rx_packets),
            rx_errors: Some(known.rx_errors),
            rx_dropped: Some(known.rx_dropped),
            tx_bytes: Some(known.tx_bytes),
            tx_packets: Some(known.tx_packets),
            tx_errors: Some(known.tx_errors),
            tx_dropped: Some(known.tx_dropped),
        }
    }
}

impl From<TcpStates> for Tcp {
    fn from(states: TcpStates) -> Self {
        let TcpStates { established, syn_sent, syn_recv, fin_wait1, fin_wait2, time_wait, .. } =
            states;
        let TcpStates { close, close_wait, last_ack, listen, closing, .. } = states;
        Self {
            established,
            syn_sent,
            syn_recv,
            fin_wait1,
            fin_wait2,
            time_wait,
            close,
            close_wait,
            last_ack,
            listen,
            closing,
        }
    }
}

impl From<UdpSockets> for Udp {
    fn from(known: UdpSockets) -> Self {
        Self {
            listen: known.sockets,
            dropped: known.dropped,
            rx_queued: known.rx_queued_bytes,
            tx_queued: known.tx_queued_bytes,
        }
    }
}
