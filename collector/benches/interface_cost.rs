//! The time to read the counters of the devices of many network namespaces, for `docs/cost.md`.
//!
//! `cargo bench -p tare --bench interface_cost -- NAMESPACES BUSY ROUNDS` creates `NAMESPACES`
//! network namespaces with a veth pair to our own, and `BUSY` of them send a packet before each
//! round. It needs root and `ip`. The namespaces are gone when it ends.

use std::{
    env, fs,
    io::ErrorKind,
    net::UdpSocket,
    path::Path,
    process::{self, Command},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::gettid,
};
use tare::internals::{NamespaceId, Namespaces};

/// Rounds before those that are measured: the peers become known, and readings settle.
const FIRST_ROUNDS: usize = 4;

/// Pause before each round, so that packets are counted.
const PAUSE: Duration = Duration::from_millis(20);

fn main() -> Result<()> {
    let [namespaces, busy, rounds] = arguments()?;
    let mut all = Namespaces::new(Path::new("/proc"));
    let (mut ids, mut senders) = (Vec::new(), Vec::new());
    for number in 0..namespaces {
        let ((sender, send), (ready, joined)) = (channel(), channel());
        thread::spawn(move || send_packets(number, &ready, &send));
        let thread = joined.recv().context("a thread ended")??;
        ids.push(all.track(thread)?.context("a namespace ended")?);
        senders.push(sender);
        let peer = peer_name(number);
        disable_ipv6(&peer)?;
        ip(&format!("link set {peer} up"))?;
    }
    let (mut read, mut latest) = (Vec::new(), Vec::new());
    for round in 0..FIRST_ROUNDS + 2 * rounds {
        for sender in &senders[..busy] {
            sender.send(()).context("a namespace ended")?;
        }
        thread::sleep(PAUSE);
        // Alternately: the second of two readings would find warm caches.
        if round < FIRST_ROUNDS {
            sample(&mut all, &ids)?;
        } else if round % 2 == 0 {
            read.push(read_all(&all, &ids)?);
        } else {
            latest.push(sample(&mut all, &ids)?);
        }
    }
    println!("{namespaces} namespaces, {busy} busy: medians of {rounds} rounds");
    println!("all read:       {:>8.1} µs", median_microseconds(read));
    println!("changed read:   {:>8.1} µs", median_microseconds(latest));
    Ok(())
}

fn median_microseconds(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_nanos() as f64 / 1000.0
}

fn arguments() -> Result<[usize; 3]> {
    // Cargo adds `--bench`.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let numbers: Result<Vec<usize>, _> = words.iter().map(|word| word.parse()).collect();
    let numbers = numbers.ok().and_then(|numbers| <[usize; 3]>::try_from(numbers).ok());
    let numbers = numbers.context("usage: interface_cost NAMESPACES BUSY ROUNDS")?;
    ensure!(
        numbers[1] <= numbers[0] && numbers[2] > 0,
        "BUSY must not exceed NAMESPACES, and ROUNDS must not be 0"
    );
    Ok(numbers)
}

/// Reads the table of every namespace.
fn read_all(all: &Namespaces, ids: &[NamespaceId]) -> Result<Duration> {
    let mut buffer = vec![0; 1 << 16];
    let started = Instant::now();
    for id in ids {
        all.read(*id, &mut buffer)?;
    }
    Ok(started.elapsed())
}

/// Reads the counters as a sample does.
fn sample(all: &mut Namespaces, ids: &[NamespaceId]) -> Result<Duration> {
    let mut buffer = vec![0; 1 << 16];
    let started = Instant::now();
    all.dump_links();
    for id in ids {
        all.latest(*id, &mut buffer)?;
    }
    Ok(started.elapsed())
}

/// Runs in a thread with its own network namespace, and sends a packet on each message of `send`.
fn send_packets(number: usize, ready: &Sender<Result<u32>>, send: &Receiver<()>) {
    let socket = match create_namespace(number) {
        Ok(socket) => socket,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let thread = u32::try_from(gettid().as_raw()).context("the thread's id");
    if ready.send(thread).is_err() {
        return;
    }
    while send.recv().is_ok() {
        if let Err(error) = socket.send(b"x") {
            eprintln!("namespace {number} cannot send: {error}");
        }
    }
}

fn create_namespace(number: usize) -> Result<UdpSocket> {
    unshare(CloneFlags::CLONE_NEWNET).context("a network namespace")?;
    disable_ipv6("default")?;
    let (peer, own) = (peer_name(number), process::id());
    ip(&format!("link add eth0 type veth peer name {peer} netns {own}"))?;
    ip("link set eth0 up")?;
    ip("address add 192.0.2.1/24 brd + dev eth0")?;
    let socket = UdpSocket::bind("0.0.0.0:0").context("a socket")?;
    socket.set_broadcast(true)?;
    socket.connect("192.0.2.255:9")?;
    Ok(socket)
}

fn peer_name(number: usize) -> String {
    format!("t{}.{number}", process::id())
}

/// Keeps the kernel from sending IPv6 packets of its own.
fn disable_ipv6(device: &str) -> Result<()> {
    match fs::write(format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6"), "1") {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("IPv6"),
        _ => Ok(()),
    }
}

fn ip(words: &str) -> Result<()> {
    let status = Command::new("ip").args(words.split(' ')).status().context("ip")?;
    ensure!(status.success(), "ip {words}: {status}");
    Ok(())
}
