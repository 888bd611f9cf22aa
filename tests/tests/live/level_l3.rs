//! Level `l3`: the devices' bytes without link headers, for each container.

use anyhow::{Result, ensure};
use tare_tests::{
    docker::{Container, Run},
    lab::Lab,
    netns::{Netns, introduce},
    report::{Report, Row},
};

/// An Ethernet header, which devices count and IP does not.
const LINK_HEADER: u64 = 14;

/// Growth in one direction, at the sockets or at a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Carried {
    rx_bytes: u64,
    rx_packets: u64,
    tx_bytes: u64,
    tx_packets: u64,
}

const NOTHING: Carried = Carried { rx_bytes: 0, rx_packets: 0, tx_bytes: 0, tx_packets: 0 };

fn carried(before: &Row, after: &Row, at: &str) -> Result<Carried> {
    let growth = |field: &str| after.growth(before, &format!("/network/{at}/{field}"));
    Ok(Carried {
        rx_bytes: growth("rx_bytes")?,
        rx_packets: growth("rx_packets")?,
        tx_bytes: growth("tx_bytes")?,
        tx_packets: growth("tx_packets")?,
    })
}

/// The sender sends to the listener; rows of both before and after.
fn watch(
    lab: &Lab,
    listener: &Container,
    send: Run,
    arrange: impl Fn(&Container) -> Result<()>,
) -> Result<[(Row, Row); 2]> {
    listener.ready()?;
    let gate = lab.gate()?;
    let sender = lab.start(send.behind(&gate).linger())?;
    arrange(&sender)?;
    let mut tare = lab.tare.clone().option("--net-level", "l3").stream("200ms")?;
    let ids = [listener.id(), sender.id()];
    let before = tare.fresh_with(&ids)?;
    // It was requested, so the state is not degraded.
    before.require("network_sockets")?;
    gate.open()?;
    sender.outcome()?;
    listener.outcome()?;
    let after = tare.fresh()?;
    let pair = |report: &Report, id| report.row(id);
    Ok([
        (pair(&before, ids[0])?, pair(&after, ids[0])?),
        (pair(&before, ids[1])?, pair(&after, ids[1])?),
    ])
}

/// Sends over the bridge and compares with the devices.
fn over_the_bridge(proto: &str, bytes: u64) -> Result<()> {
    let lab = Lab::open()?;
    let load = format!("listen --proto {proto} --addr 0.0.0.0:7000 --bytes {bytes}");
    let listener = lab.start(Run::load(&load).linger())?;
    let send = format!("send --proto {proto} --addr {}:7000 --bytes {bytes}", listener.address()?);
    let rows = watch(&lab, &listener, Run::load(&send), |sender| {
        introduce(&listener, sender)?;
        Netns::of(&listener)?.silence_host_end()?;
        Netns::of(sender)?.silence_host_end()
    })?;
    for (before, after) in &rows {
        ensure!(after.str("/network/sockets/level")? == "l3", "{after:?}");
        let device = carried(before, after, "interfaces/eth0")?;
        let expected = Carried {
            rx_bytes: device.rx_bytes - LINK_HEADER * device.rx_packets,
            tx_bytes: device.tx_bytes - LINK_HEADER * device.tx_packets,
            ..device
        };
        let got = carried(before, after, "sockets")?;
        ensure!(got == expected, "{proto}: {got:?} at the sockets, {expected:?} on eth0");
        ensure!(carried(before, after, "sockets/loopback")? == NOTHING, "{after:?}");
        for field in ["tcp", "udp"] {
            ensure!(after.get(&format!("/network/sockets/{field}"))?.is_null(), "{after:?}");
        }
    }
    let received = rows[0].1.growth(&rows[0].0, "/network/sockets/rx_bytes")?;
    ensure!(received > bytes, "{received} bytes with headers for {bytes} without");
    Ok(())
}

#[test]
fn tcp_equals_the_devices_without_link_headers() -> Result<()> {
    over_the_bridge("tcp", 5_000_000)
}

#[test]
fn udp_equals_the_devices_without_link_headers() -> Result<()> {
    over_the_bridge("udp", 500_000)
}

#[test]
fn loopback_is_kept_apart() -> Result<()> {
    let lab = Lab::open()?;
    let load = "listen --proto udp --addr 127.0.0.1:7000 --bytes 100000";
    let listener = lab.start(Run::load(load).linger())?;
    let send = Run::load("send --proto udp --addr 127.0.0.1:7000 --bytes 100000");
    let send = send.option("--network", &format!("container:{}", listener.name()));
    let [got, sent] = watch(&lab, &listener, send, |_| Ok(()))?;
    // A hundred datagrams of 1000 bytes with 28 bytes of headers.
    let (bytes, packets) = (102_800, 100);
    let expected = Carried { rx_bytes: bytes, rx_packets: packets, ..NOTHING };
    ensure!(carried(&got.0, &got.1, "sockets/loopback")? == expected, "{:?}", got.1);
    let expected = Carried { tx_bytes: bytes, tx_packets: packets, ..NOTHING };
    ensure!(carried(&sent.0, &sent.1, "sockets/loopback")? == expected, "{:?}", sent.1);
    for (before, after) in [&got, &sent] {
        ensure!(carried(before, after, "sockets")? == NOTHING, "{after:?}");
    }
    Ok(())
}
