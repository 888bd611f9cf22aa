//! Payload is exact for every way to send and receive, on every kind of network.

use anyhow::{Context as _, Result};
use tare_tests::{
    docker::{Container, Run},
    lab::Lab,
    netns::Netns,
};

use crate::network::{UNCONFINED, watch_once_arranged};

/// Transport, how the listener receives, how the sender sends.
const WAYS: [(&str, &str, &str); 6] = [
    ("tcp", "read", "write"),
    ("tcp", "read", "sendfile"),
    ("tcp", "read", "splice"),
    ("tcp", "uring", "uring"),
    ("udp", "read", "write"),
    ("udp", "uring", "uring"),
];

/// Not a multiple of any buffer size.
const BYTES: u64 = 300_007;

/// The network of a pair of containers.
struct Place<'a> {
    /// Options of `docker run` for the listener.
    listener: &'a [(&'a str, &'a str)],
    /// The same for the sender, which gets the listener's name.
    sender: &'a dyn Fn(&Container) -> (&'static str, String),
    /// Where to listen, and where to send to.
    addresses: [&'a str; 2],
    /// Preparation of each container.
    arrange: &'a dyn Fn(&Container, u8) -> Result<()>,
}

impl Place<'_> {
    fn ensure_exact(&self, lab: &Lab) -> Result<()> {
        for (n, way) in (0..).zip(WAYS) {
            self.ensure_exact_by(lab, way, 7100 + n).with_context(|| format!("{way:?}"))?;
        }
        Ok(())
    }

    fn ensure_exact_by(&self, lab: &Lab, way: (&str, &str, &str), port: u16) -> Result<()> {
        let (proto, receive, send) = way;
        let [listen_at, send_to] = self.addresses;
        let load = format!("listen --proto {proto} --addr {listen_at}:{port} --bytes {BYTES}");
        let load = Run::load(&format!("{load} --how {receive}"));
        let options = self.listener.iter().chain(&[("--security-opt", UNCONFINED)]);
        let load = options.fold(load, |load, (name, value)| load.option(name, value));
        let listener = lab.start(load.linger())?;
        (self.arrange)(&listener, 1)?;
        let load = format!("send --proto {proto} --addr {send_to}:{port} --bytes {BYTES}");
        let (name, value) = (self.sender)(&listener);
        let load = Run::load(&format!("{load} --how {send}")).option(name, &value);
        let load = load.option("--security-opt", UNCONFINED);
        let (watched, _sender) =
            watch_once_arranged(lab, &listener, load, |sender| (self.arrange)(sender, 2))?;
        watched.ensure_exact(proto, BYTES)
    }
}

fn nothing(_: &Container, _: u8) -> Result<()> {
    Ok(())
}

#[test]
fn in_one_namespace() -> Result<()> {
    let place = Place {
        listener: &[],
        sender: &|listener| ("--network", format!("container:{}", listener.name())),
        addresses: ["127.0.0.1", "127.0.0.1"],
        arrange: &nothing,
    };
    place.ensure_exact(&Lab::open()?)
}

#[test]
fn on_the_host_network_over_ipv6() -> Result<()> {
    let place = Place {
        listener: &[("--network", "host")],
        sender: &|_| ("--network", "host".to_owned()),
        addresses: ["[::1]", "[::1]"],
        arrange: &nothing,
    };
    place.ensure_exact(&Lab::open()?)
}

#[test]
fn over_a_bridge_over_ipv6() -> Result<()> {
    // Docker switches IPv6 off where its network has none.
    const IPV6: (&str, &str) = ("--sysctl", "net.ipv6.conf.all.disable_ipv6=0");
    let address = |container: &Container, number: u8| {
        let add = format!("ip -6 address add fd7a:7a::{number}/64 dev eth0 nodad");
        Netns::of(container)?.run(&add).map(drop)
    };
    let place = Place {
        listener: &[IPV6],
        sender: &|_| (IPV6.0, IPV6.1.to_owned()),
        addresses: ["[::]", "[fd7a:7a::1]"],
        arrange: &address,
    };
    place.ensure_exact(&Lab::open()?)
}
