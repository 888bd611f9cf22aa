//! Common parts of sending and receiving, and loads that do both in one process.

use std::{
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{
    receive::{bind_udp, receive_datagrams, receive_stream, wait_for_end},
    send::{How, connect, send_datagrams, send_stream},
    units,
};

/// Limit for a datagram to itself.
const UDP_IDLE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Proto {
    Tcp,
    Udp,
}

/// Bytes, and the calls that moved at least one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) bytes: u64,
    pub(super) calls: u64,
}

impl Count {
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.calls += u64::from(bytes > 0);
    }
}

#[derive(Args, Debug)]
pub(super) struct Pair {
    #[command(flatten)]
    over: Over,
    /// How many bytes.
    #[arg(long, value_parser = units::size)]
    bytes: u64,
    /// Bytes of each call.
    #[arg(long, default_value = "1000", value_parser = units::buffer_size)]
    chunk: usize,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Over {
    /// Over a pair of unix sockets.
    #[arg(long)]
    unix: bool,
    /// Over TCP to this local address.
    #[arg(long, value_name = "IP:PORT")]
    tcp: Option<SocketAddr>,
    /// Over UDP to this local address.
    #[arg(long, value_name = "IP:PORT")]
    udp: Option<SocketAddr>,
}

impl Pair {
    /// Over TCP to this local address.
    pub(super) fn over_tcp(addr: SocketAddr, bytes: u64) -> Self {
        Self { over: Over { unix: false, tcp: Some(addr), udp: None }, bytes, chunk: 1000 }
    }

    pub(super) fn apply(self) -> Result<Value> {
        let (sent, received) = match (self.over.tcp, self.over.udp) {
            (Some(addr), _) => self.tcp(addr)?,
            (None, Some(addr)) => self.udp(addr)?,
            (None, None) => self.unix()?,
        };
        ensure!(received.bytes == self.bytes, "{} of {} bytes arrived", received.bytes, self.bytes);
        Ok(json!({
            "load": "pair",
            "bytes": sent.bytes,
            "calls": sent.calls,
            "received_bytes": received.bytes,
            "received_calls": received.calls,
        }))
    }

    fn unix(&self) -> Result<(Count, Count)> {
        let (ours, theirs) = UnixStream::pair().context("socketpair")?;
        let chunk = self.chunk;
        both(|| send_stream(ours, self.bytes, How::Write, chunk), || receive_stream(theirs, chunk))
    }

    fn tcp(&self, addr: SocketAddr) -> Result<(Count, Count)> {
        let listener = TcpListener::bind(addr).with_context(|| format!("listen on {addr}"))?;
        let addr = listener.local_addr().context("getsockname")?;
        both(
            || {
                let stream = connect(addr, Duration::ZERO)?;
                let sent = send_stream(&stream, self.bytes, How::Write, self.chunk)?;
                wait_for_end(&stream)?;
                Ok(sent)
            },
            || receive_stream(listener.accept().context("accept")?.0, self.chunk),
        )
    }

    fn udp(&self, addr: SocketAddr) -> Result<(Count, Count)> {
        let socket = bind_udp(addr, UDP_IDLE)?;
        let addr = socket.local_addr().context("getsockname")?;
        let mut buffer = vec![0; self.chunk];
        both(
            || send_datagrams(addr, self.bytes, How::Sendto, self.chunk, 0),
            || receive_datagrams(self.bytes, || socket.recv(&mut buffer)),
        )
    }
}

/// Sends on a thread of its own while this one receives.
fn both(
    send: impl FnOnce() -> Result<Count> + Send,
    receive: impl FnOnce() -> Result<Count>,
) -> Result<(Count, Count)> {
    thread::scope(|scope| {
        let sender = scope.spawn(send);
        let received = receive();
        let sent = sender.join().map_err(|_| anyhow!("the sending thread died"))?;
        Ok((sent?, received?))
    })
}
