//! Bytes at the sockets: exact, and split where a network namespace is shared.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{
    docker::{Container, Run},
    lab::Lab,
    report::{Report, Row},
};

const TEN_MB: u64 = 10_000_000;

/// Growth of received and sent bytes and calls of one transport.
#[derive(Debug, PartialEq, Eq)]
struct Moved {
    rx_bytes: u64,
    tx_bytes: u64,
}

/// Docker's default profile may refuse io_uring.
pub(crate) const UNCONFINED: &str = "seccomp=unconfined";

const NOTHING: Moved = Moved { rx_bytes: 0, tx_bytes: 0 };

fn received(rx_bytes: u64) -> Moved {
    Moved { rx_bytes, tx_bytes: 0 }
}

fn sent(tx_bytes: u64) -> Moved {
    Moved { rx_bytes: 0, tx_bytes }
}

/// Growth of a container's socket counters between two rows.
fn moved(before: &Row, after: &Row, transport: &str) -> Result<Moved> {
    let level = after.str("/network/sockets/level")?;
    ensure!(level == "payload", "the sockets are counted at level {level}");
    let at = |field: &str| format!("/network/sockets/{transport}/{field}");
    Ok(Moved {
        rx_bytes: after.growth(before, &at("rx_bytes"))?,
        tx_bytes: after.growth(before, &at("tx_bytes"))?,
    })
}

/// The sums over the transports agree with their parts.
fn ensure_sums(row: &Row) -> Result<()> {
    for field in ["rx_bytes", "tx_bytes"] {
        let part = |transport| row.u64(&format!("/network/sockets/{transport}/{field}"));
        let total = row.u64(&format!("/network/sockets/{field}"))?;
        let (tcp, udp) = (part("tcp")?, part("udp")?);
        ensure!(total == tcp + udp, "{field}: {total} is not {tcp} + {udp}");
    }
    Ok(())
}

/// Rows of two containers before and after a load that they both wait for.
pub(crate) struct Watched {
    before: [Row; 2],
    after: [Row; 2],
    report: Report,
    outcomes: [Value; 2],
}

/// The second container sends to the first; growth of both.
fn watch(lab: &Lab, listener: &Container, sender: Run) -> Result<(Watched, Container)> {
    watch_once_arranged(lab, listener, sender, |_| Ok(()))
}

/// The same, with a preparation of the sender.
pub(crate) fn watch_once_arranged(
    lab: &Lab,
    listener: &Container,
    sender: Run,
    arrange: impl FnOnce(&Container) -> Result<()>,
) -> Result<(Watched, Container)> {
    listener.ready()?;
    let gate = lab.gate()?;
    let sender = lab.start(sender.behind(&gate).linger())?;
    arrange(&sender)?;
    let ids = [listener.id(), sender.id()];
    let mut tare = lab.tare.stream("200ms")?;
    let rows = |report: &Report| Ok::<_, anyhow::Error>([report.row(ids[0])?, report.row(ids[1])?]);
    let first = tare.fresh_with(&ids)?;
    first.require("network_sockets")?;
    let before = rows(&first)?;
    gate.open()?;
    let outcomes = [listener.outcome()?, sender.outcome()?];
    let report = tare.fresh()?;
    let after = rows(&report)?;
    Ok((Watched { before, after, report, outcomes }, sender))
}

impl Watched {
    pub(crate) fn ensure_exact(&self, transport: &str, bytes: u64) -> Result<()> {
        let got = moved(&self.before[0], &self.after[0], transport)?;
        ensure!(got == received(bytes), "the listener of {bytes} bytes: {got:?}");
        let got = moved(&self.before[1], &self.after[1], transport)?;
        ensure!(got == sent(bytes), "the sender of {bytes} bytes: {got:?}");
        let other = if transport == "tcp" { "udp" } else { "tcp" };
        for (before, after) in self.before.iter().zip(&self.after) {
            let got = moved(before, after, other)?;
            ensure!(got == NOTHING, "{transport} was counted as {other}: {got:?}");
            ensure_sums(after)?;
        }
        Ok(())
    }

    /// All calls that moved bytes are counted; a call that read the end may be counted too.
    fn ensure_calls(&self, transport: &str) -> Result<()> {
        for (side, field) in [(0, "rx_calls"), (1, "tx_calls")] {
            let pointer = format!("/network/sockets/{transport}/{field}");
            let counted = self.after[side].growth(&self.before[side], &pointer)?;
            let made = self.outcomes[side]["calls"].as_u64().context("the load's calls")?;
            ensure!((made..=made + 1).contains(&counted), "{field}: {counted} of {made}");
        }
        Ok(())
    }
}

/// Ten megabytes of TCP between two containers on Docker's default network.
fn tcp_over_the_bridge(listen: &str, send: &str) -> Result<Watched> {
    let lab = Lab::open()?;
    let load = format!("listen --proto tcp --addr 0.0.0.0:7000 --bytes {TEN_MB} {listen}");
    let listener = lab.start(Run::load(&load).option("--security-opt", UNCONFINED).linger())?;
    let to = listener.address()?;
    let send = format!("send --proto tcp --addr {to}:7000 --bytes {TEN_MB} {send}");
    let send = Run::load(&send).option("--security-opt", UNCONFINED);
    let (watched, _sender) = watch(&lab, &listener, send)?;
    watched.ensure_exact("tcp", TEN_MB)?;
    Ok(watched)
}

#[test]
fn tcp_between_two_containers_is_exact_on_both_sides() -> Result<()> {
    let watched = tcp_over_the_bridge("", "")?;
    watched.ensure_calls("tcp")?;
    // The devices carry the payload and the headers of at least one packet per 64 KiB.
    let wire = watched.after[0].growth(&watched.before[0], "/network/interfaces/eth0/rx_bytes")?;
    ensure!(wire > TEN_MB + TEN_MB / 65536 * 66, "only {wire} bytes on eth0");
    ensure!(watched.after[0].get("/network/shared_with")?.as_array().is_some_and(Vec::is_empty));
    ensure!(watched.after[0].get("/network/host_namespace")? == false);
    Ok(())
}

#[test]
fn tcp_is_exact_by_every_sending_system_call() -> Result<()> {
    for how in ["writev", "sendfile", "splice", "sendto"] {
        tcp_over_the_bridge("", &format!("--how {how}")).with_context(|| how.to_owned())?;
    }
    Ok(())
}

#[test]
fn tcp_through_io_uring_is_exact() -> Result<()> {
    tcp_over_the_bridge("--how uring", "--how uring").map(drop)
}

#[test]
fn peeked_bytes_are_not_counted_twice() -> Result<()> {
    let watched = tcp_over_the_bridge("--peek", "")?;
    let peeked = watched.outcomes[0]["peeked_bytes"].as_u64();
    // Data that arrive between a peek and the read after it are read without a peek.
    ensure!(peeked > Some(0), "the load did not peek: {}", watched.outcomes[0]);
    Ok(())
}

#[test]
fn bytes_from_the_error_queue_are_not_received() -> Result<()> {
    let lab = Lab::open()?;
    let idle = lab.start(Run::load("spin --for 0s").linger())?;
    let (watched, _sender) = watch(&lab, &idle, Run::load("unheard --bytes 1000"))?;
    let returned = watched.outcomes[1]["returned_bytes"].as_u64();
    ensure!(returned > Some(0), "nothing came back: {}", watched.outcomes[1]);
    let got = moved(&watched.before[1], &watched.after[1], "udp")?;
    ensure!(got == sent(1000), "{got:?}");
    Ok(())
}

#[test]
fn udp_between_two_containers_is_exact() -> Result<()> {
    for (flags, how) in [("", "write"), ("--peek", "sendto")] {
        let lab = Lab::open()?;
        let load = format!("listen --proto udp --addr 0.0.0.0:7000 --bytes 1000000 {flags}");
        let listener = lab.start(Run::load(&load).linger())?;
        let to = listener.address()?;
        let send = format!("send --proto udp --addr {to}:7000 --bytes 1000000 --how {how}");
        let (watched, _sender) = watch(&lab, &listener, Run::load(&send))?;
        watched.ensure_exact("udp", 1_000_000)?;
        if flags.is_empty() {
            watched.ensure_calls("udp")?;
        }
    }
    Ok(())
}

#[test]
fn truncated_datagrams_count_what_was_received() -> Result<()> {
    let lab = Lab::open()?;
    // A hundred datagrams of 1000 bytes into a buffer of 400.
    let load = "listen --proto udp --addr 0.0.0.0:7000 --bytes 40000 --chunk 400";
    let listener = lab.start(Run::load(load).linger())?;
    let to = listener.address()?;
    let send = Run::load(&format!("send --proto udp --addr {to}:7000 --bytes 100000"));
    let (watched, _sender) = watch(&lab, &listener, send)?;
    let got = moved(&watched.before[0], &watched.after[0], "udp")?;
    ensure!(got == received(40_000), "{got:?}");
    let got = moved(&watched.before[1], &watched.after[1], "udp")?;
    ensure!(got == sent(100_000), "{got:?}");
    Ok(())
}

/// UDP between two containers on Docker's default network.
fn udp_over_the_bridge(listen: &str, send: &str) -> Result<Watched> {
    let lab = Lab::open()?;
    let load = format!("listen --proto udp --addr 0.0.0.0:7000 {listen}");
    let listener = lab.start(Run::load(&load).option("--security-opt", UNCONFINED).linger())?;
    let to = listener.address()?;
    let send = Run::load(&format!("send --proto udp --addr {to}:7000 {send}"));
    let (watched, _) = watch(&lab, &listener, send.option("--security-opt", UNCONFINED))?;
    Ok(watched)
}

#[test]
fn datagrams_sent_and_received_several_at_a_time_are_exact() -> Result<()> {
    let watched =
        udp_over_the_bridge("--bytes 1000500 --how recvmmsg", "--bytes 1000500 --how sendmmsg")?;
    watched.ensure_exact("udp", 1_000_500)?;
    watched.ensure_calls("udp")
}

#[test]
fn datagrams_through_io_uring_are_exact() -> Result<()> {
    let watched = udp_over_the_bridge("--bytes 100000 --how uring", "--bytes 100000 --how uring")?;
    watched.ensure_exact("udp", 100_000)
}

#[test]
fn what_recv_returns_is_what_is_counted() -> Result<()> {
    // A hundred datagrams of 1000 bytes into a buffer of 400, which says 1000 each time.
    let watched =
        udp_over_the_bridge("--bytes 100000 --chunk 400 --whole-length", "--bytes 100000")?;
    watched.ensure_exact("udp", 100_000)
}

#[test]
fn empty_datagrams_are_calls_without_bytes() -> Result<()> {
    let watched = udp_over_the_bridge("--bytes 1000", "--bytes 1000 --empty 5")?;
    watched.ensure_exact("udp", 1000)?;
    for (side, field) in [(0, "rx_calls"), (1, "tx_calls")] {
        let pointer = format!("/network/sockets/udp/{field}");
        let calls = watched.after[side].growth(&watched.before[side], &pointer)?;
        ensure!(calls == 6, "{field}: {calls} instead of 6");
    }
    Ok(())
}

#[test]
fn containers_on_the_host_network_are_counted_separately() -> Result<()> {
    let lab = Lab::open()?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let load = format!("listen --proto tcp --addr 127.0.0.1:{port} --bytes {TEN_MB}");
    let listener = lab.start(Run::load(&load).option("--network", "host").linger())?;
    let send = format!("send --proto tcp --addr 127.0.0.1:{port} --bytes {TEN_MB}");
    let send = Run::load(&send).option("--network", "host");
    let (watched, sender) = watch(&lab, &listener, send)?;
    watched.ensure_exact("tcp", TEN_MB)?;
    for (row, other) in watched.after.iter().zip([&sender, &listener]) {
        ensure!(row.get("/network/host_namespace")? == true, "{row:?}");
        let shared = row.get("/network/shared_with")?.as_array();
        let shared = shared.context("shared_with is unknown")?;
        ensure!(shared.iter().any(|id| id == other.id()), "{shared:?} misses {}", other.id());
    }
    Ok(())
}

#[test]
fn containers_in_one_namespace_are_counted_separately() -> Result<()> {
    let lab = Lab::open()?;
    let load = format!("listen --proto tcp --addr 127.0.0.1:7000 --bytes {TEN_MB}");
    let listener = lab.start(Run::load(&load).linger())?;
    let send = Run::load(&format!("send --proto tcp --addr 127.0.0.1:7000 --bytes {TEN_MB}"));
    let send = send.option("--network", &format!("container:{}", listener.name()));
    let (watched, sender) = watch(&lab, &listener, send)?;
    watched.ensure_exact("tcp", TEN_MB)?;
    for (row, other) in watched.after.iter().zip([&sender, &listener]) {
        ensure!(row.get("/network/host_namespace")? == false, "{row:?}");
        let shared = row.get("/network/shared_with")?;
        ensure!(*shared == serde_json::json!([other.id()]), "{shared}");
    }
    let [a, b] = [listener.id(), sender.id()].map(|id| watched.report.row(id));
    let [a, b] = [a?.get("/network/interfaces")?.clone(), b?.get("/network/interfaces")?.clone()];
    ensure!(a.get("eth0").is_some() && a == b, "one namespace, two views: {a} and {b}");
    Ok(())
}

/// Runs one container that sends to itself; its growth over TCP and over UDP.
fn alone(load: &str) -> Result<(Moved, Moved)> {
    let lab = Lab::open()?;
    let gate = lab.gate()?;
    // Docker switches IPv6 off in containers without an IPv6 network, on `lo` too.
    let run = Run::load(load).option("--sysctl", "net.ipv6.conf.all.disable_ipv6=0");
    let container = lab.start(run.behind(&gate).linger())?;
    let mut tare = lab.tare.stream("200ms")?;
    let before = tare.fresh_with(&[container.id()])?.row(container.id())?;
    gate.open()?;
    container.outcome()?;
    let after = tare.fresh()?.row(container.id())?;
    Ok((moved(&before, &after, "tcp")?, moved(&before, &after, "udp")?))
}

#[test]
fn unix_sockets_are_not_counted() -> Result<()> {
    let (tcp, udp) = alone("pair --unix --bytes 10MB")?;
    ensure!(tcp == NOTHING && udp == NOTHING, "unix sockets show as {tcp:?} and {udp:?}");
    Ok(())
}

#[test]
fn ipv6_over_loopback_is_exact() -> Result<()> {
    let both = |bytes| Moved { rx_bytes: bytes, tx_bytes: bytes };
    let (tcp, udp) = alone("pair --tcp [::1]:7000 --bytes 3000001")?;
    ensure!(tcp == both(3_000_001) && udp == NOTHING, "TCP: {tcp:?}, {udp:?}");
    // An IPv6 socket that speaks IPv4.
    let (tcp, udp) = alone("pair --tcp [::ffff:127.0.0.1]:7000 --bytes 3000001")?;
    ensure!(tcp == both(3_000_001) && udp == NOTHING, "TCP, v4-mapped: {tcp:?}, {udp:?}");
    let (tcp, udp) = alone("pair --udp [::1]:7000 --bytes 300001")?;
    ensure!(udp == both(300_001) && tcp == NOTHING, "UDP: {tcp:?}, {udp:?}");
    Ok(())
}
