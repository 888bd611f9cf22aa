//! Bytes at the sockets, exact.

use anyhow::{Context as _, Result, ensure};
use tare_tests::{report::Row, tare::Stream};

use crate::{
    kernels::{Kernel, running},
    machine::{Container, Driver, Machine, rows},
    namespace::{DEVICE, Device, ETHERNET, Namespace, pair, pair_over},
};

/// A transfer from one container to another.
struct Transfer<'a> {
    proto: &'a str,
    address: &'a str,
    bytes: u64,
}

/// Datagrams are of this size.
const DATAGRAM: u64 = 1000;

/// With time stamps.
const TCP_HEADER: u64 = 32;

/// An option header of IPv6 packets over 64 KiB until they are split (`struct hop_jumbo_hdr`, Linux
/// 5.19 to 6.18); the device never sees it.
const JUMBO_HEADER: u64 = 8;

/// The answer to a connection over IPv6, with its options: segment size, SACK, time stamps, scale.
const V6_SYN_ACK: u64 = 40 + 40;

impl Transfer<'_> {
    fn v6(&self) -> bool {
        self.address.starts_with('[')
    }

    fn ip_header(&self) -> u64 {
        if self.v6() { 40 } else { 20 }
    }

    /// Packets that this kernel does not show to `cgroup_skb`.
    fn unseen(&self, kernel: &Kernel) -> u64 {
        u64::from(self.proto == "tcp" && self.v6() && !kernel.v6_syn_ack)
    }

    fn datagrams(&self) -> u64 {
        self.bytes.div_ceil(DATAGRAM)
    }
}

/// Rows of the listener and of the sender, before and after.
struct Seen {
    before: [Row; 2],
    after: [Row; 2],
}

impl Seen {
    /// Growth of a number of the listener and of the sender.
    fn growth(&self, pointer: &str) -> Result<[u64; 2]> {
        let at = |i: usize| self.after[i].growth(&self.before[i], pointer);
        Ok([at(0)?, at(1)?])
    }
}

fn transfer(
    machine: &Machine,
    tare: &mut Stream,
    namespaces: Option<&[Namespace; 2]>,
    what: &Transfer<'_>,
) -> Result<Seen> {
    let places = [Container::new(Driver::Cgroupfs)?, Container::new(Driver::Systemd)?];
    let gate = machine.gate()?;
    let Transfer { proto, address, bytes } = what;
    let listen = format!("listen --proto {proto} --addr {address}:7000 --bytes {bytes}");
    let send = format!("send --proto {proto} --addr {address}:7000 --bytes {bytes}");
    let [there, here] = [1, 0].map(|i| namespaces.map(|both| &both[i]));
    let mut listener = machine.start_in(&places[0], there, &listen, None)?;
    let mut sender = machine.start_in(&places[1], here, &send, Some(&gate))?;
    listener.ready()?;
    let places = [&places[0], &places[1]];
    let before = rows(tare, places)?;
    gate.open()?;
    sender.outcome()?;
    listener.outcome()?;
    let after = rows(tare, places)?;
    Ok(Seen { before, after })
}

/// Streams of reports at every available level: the default, and `l3` where that is another one
/// that works.
fn streams(machine: &Machine, kernel: &Kernel) -> Result<Vec<(&'static str, Stream)>> {
    let mut all = vec![(kernel.level, machine.stream()?)];
    if kernel.level != "l3" && machine.tare.run(&["--help"])?.stdout.contains("--net-level") {
        let tare = machine.tare.clone().option("--net-level", "l3");
        all.push(("l3", tare.stream("200ms")?));
    }
    Ok(all)
}

/// At level `payload` both sides have exactly what was sent.
fn ensure_payload(seen: &Seen, what: &Transfer<'_>) -> Result<()> {
    let other = if what.proto == "tcp" { "udp" } else { "tcp" };
    for (proto, bytes) in [(what.proto, what.bytes), (other, 0)] {
        let rx = seen.growth(&format!("/network/sockets/{proto}/rx_bytes"))?;
        let tx = seen.growth(&format!("/network/sockets/{proto}/tx_bytes"))?;
        ensure!(rx == [bytes, 0] && tx == [0, bytes], "{proto}: {rx:?} {tx:?}, sent {bytes}");
    }
    Ok(())
}

/// At level `l3` both sides together have exactly what the device carried.
fn ensure_l3_of_lo(seen: &Seen, what: &Transfer<'_>, lo: Device, kernel: &Kernel) -> Result<()> {
    let at = |field: &str| seen.growth(&format!("/network/sockets/loopback/{field}"));
    let (rx, tx) = (at("rx_bytes")?, at("tx_bytes")?);
    let (rx_packets, tx_packets) = (at("rx_packets")?, at("tx_packets")?);
    let sum = |both: [u64; 2]| both[0] + both[1];
    let unseen = what.unseen(kernel);
    // This device counts without the header of a frame (`drivers/net/loopback.c`).
    let carried = lo.tx_bytes;
    ensure!(sum(rx) == carried, "received {rx:?} of {lo:?}");
    ensure!(sum(rx_packets) == lo.rx_packets, "received {rx_packets:?} packets of {lo:?}");
    // Larger packets are split for the device after they were counted as one.
    let counted = sum(tx_packets) + unseen;
    let split = lo.tx_packets.checked_sub(counted);
    let split = split.with_context(|| format!("sent {tx_packets:?} packets of {lo:?}"))?;
    let missing = unseen * V6_SYN_ACK + split * (what.ip_header() + TCP_HEADER);
    let surplus = (sum(tx) + missing).checked_sub(carried);
    let surplus = surplus.with_context(|| format!("sent {tx:?} of {lo:?}, {split} split"))?;
    let jumbos = if what.v6() { split } else { 0 };
    ensure!(
        surplus % JUMBO_HEADER == 0 && surplus / JUMBO_HEADER <= jumbos,
        "sent {tx:?} of {lo:?}, {split} split, {surplus} too many"
    );
    ensure!(rx[0] > what.bytes && tx[1] > what.bytes, "{rx:?} {tx:?} for {}", what.bytes);
    if what.proto == "udp" {
        let exact = what.bytes + what.datagrams() * (what.ip_header() + 8);
        ensure!(rx == [exact, 0] && tx == [0, exact], "{rx:?} {tx:?} instead of {exact}");
    }
    let wire =
        (seen.growth("/network/sockets/rx_bytes")?, seen.growth("/network/sockets/tx_bytes")?);
    ensure!(wire == ([0; 2], [0; 2]), "loopback is counted as wire: {wire:?}");
    Ok(())
}

#[test]
fn transfers_over_loopback_are_exact() -> Result<()> {
    let machine = Machine::take()?;
    let kernel = running()?;
    for (level, mut tare) in streams(&machine, kernel)? {
        for (proto, bytes) in [("tcp", 3_000_001), ("udp", 300_001)] {
            for address in ["127.0.0.1", "[::1]"] {
                let what = Transfer { proto, address, bytes };
                let before = Device::of("self", "lo")?;
                let seen = transfer(&machine, &mut tare, None, &what)?;
                let lo = Device::of("self", "lo")?.since(before);
                match level {
                    "payload" => ensure_payload(&seen, &what)?,
                    _ => ensure_l3_of_lo(&seen, &what, lo, kernel)?,
                }
            }
        }
    }
    Ok(())
}

/// At level `l3` each side has exactly what its own device carried.
fn ensure_l3_of_veth(
    seen: &Seen,
    what: &Transfer<'_>,
    devices: [Device; 2],
    kernel: &Kernel,
) -> Result<()> {
    let at = |field: &str| seen.growth(&format!("/network/sockets/{field}"));
    let (rx, tx) = (at("rx_bytes")?, at("tx_bytes")?);
    let (rx_packets, tx_packets) = (at("rx_packets")?, at("tx_packets")?);
    for (i, device) in devices.iter().enumerate() {
        // The listener answers.
        let unseen = if i == 0 { what.unseen(kernel) } else { 0 };
        let counted = Device {
            rx_bytes: rx[i] + ETHERNET * rx_packets[i],
            rx_packets: rx_packets[i],
            tx_bytes: tx[i] + ETHERNET * tx_packets[i] + unseen * (V6_SYN_ACK + ETHERNET),
            tx_packets: tx_packets[i] + unseen,
        };
        ensure!(counted == *device, "side {i}: {counted:?} at the sockets, {device:?} on the wire");
    }
    Ok(())
}

/// The interface view is what the devices count.
fn ensure_interfaces(seen: &Seen, devices: [Device; 2]) -> Result<()> {
    let at = |field: &str| seen.growth(&format!("/network/interfaces/{DEVICE}/{field}"));
    let (rx, tx) = (at("rx_bytes")?, at("tx_bytes")?);
    for (i, device) in devices.iter().enumerate() {
        ensure!((rx[i], tx[i]) == (device.rx_bytes, device.tx_bytes), "{rx:?} {tx:?} {devices:?}");
    }
    Ok(())
}

/// The devices of the listener and of the sender.
fn devices([sender, listener]: &[Namespace; 2]) -> Result<[Device; 2]> {
    Ok([listener.device()?, sender.device()?])
}

fn grown(before: [Device; 2], after: [Device; 2]) -> [Device; 2] {
    [after[0].since(before[0]), after[1].since(before[1])]
}

#[test]
fn transfers_over_veth_are_exact() -> Result<()> {
    let machine = Machine::take()?;
    let kernel = running()?;
    let namespaces = pair()?;
    for (level, mut tare) in streams(&machine, kernel)? {
        for (proto, bytes) in [("tcp", 3_000_001), ("udp", 300_001)] {
            for address in ["10.0.0.2", "[fd00::2]"] {
                let what = Transfer { proto, address, bytes };
                let before = devices(&namespaces)?;
                let seen = transfer(&machine, &mut tare, Some(&namespaces), &what)?;
                let grown = grown(before, devices(&namespaces)?);
                ensure_interfaces(&seen, grown)?;
                match level {
                    "payload" => ensure_payload(&seen, &what)?,
                    _ => ensure_l3_of_veth(&seen, &what, grown, kernel)?,
                }
            }
        }
    }
    Ok(())
}

#[test]
fn transfers_over_macvlan_and_ipvlan_are_exact() -> Result<()> {
    let machine = Machine::take()?;
    let mut tare = machine.stream()?;
    for kind in ["macvlan", "ipvlan"] {
        let namespaces = pair_over(kind)?;
        let what = Transfer { proto: "tcp", address: "10.0.0.2", bytes: 3_000_001 };
        let before = devices(&namespaces)?;
        let seen = transfer(&machine, &mut tare, Some(&namespaces), &what)?;
        let grown = grown(before, devices(&namespaces)?);
        ensure_interfaces(&seen, grown).context(kind)?;
        ensure!(grown[0].rx_bytes > what.bytes && grown[1].tx_bytes > what.bytes, "{grown:?}");
        // Both devices answer too.
        ensure!(grown[0].tx_packets > 0 && grown[1].rx_packets > 0, "{kind}: {grown:?}");
    }
    Ok(())
}
