//! Receiving over TCP and UDP.

use std::{
    io::{IoSliceMut, Read},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use nix::sys::socket::{MsgFlags, MultiHeaders, recv, recvmmsg, setsockopt, sockopt};
use serde_json::{Value, json};

use super::{
    flow::{Count, Proto},
    units,
    uring::Ring,
};

/// Requested receive buffer, for a burst of datagrams; the kernel may grant less.
const UDP_BUFFER: usize = 4 << 20;

#[derive(Args, Debug)]
pub(super) struct Listen {
    #[arg(long, value_enum)]
    proto: Proto,
    /// Where to listen.
    #[arg(long, value_name = "IP:PORT")]
    addr: SocketAddr,
    /// TCP: number of connections, received to their end, one after the other.
    #[arg(long, default_value_t = 1)]
    connections: u32,
    /// Expected bytes: UDP ends there, TCP fails if the sum differs.
    #[arg(long, value_parser = units::size)]
    bytes: Option<u64>,
    /// Bytes of each call; a longer datagram is cut to it.
    #[arg(long, default_value = "64KiB", value_parser = units::buffer_size)]
    chunk: usize,
    /// Look at each chunk with `MSG_PEEK` before it is received.
    #[arg(long)]
    peek: bool,
    /// Listen only after so long.
    #[arg(long, default_value = "0s", value_parser = units::duration)]
    after: Duration,
    /// By which system call.
    #[arg(long, value_enum, default_value_t = By::Read)]
    how: By,
    /// UDP: count the length of the whole datagram (`MSG_TRUNC`).
    #[arg(long)]
    whole_length: bool,
    /// UDP: fail when no datagram comes for so long.
    #[arg(long, default_value = "20s", value_parser = units::duration)]
    idle: Duration,
}

/// The system call that receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum By {
    /// `read`, for datagrams `recv`.
    Read,
    /// UDP: several datagrams a call.
    Recvmmsg,
    /// `IORING_OP_RECV`.
    Uring,
}

impl Listen {
    pub(super) fn apply(self) -> Result<Value> {
        std::thread::sleep(self.after);
        let (received, peeked) = match self.proto {
            Proto::Tcp => self.tcp()?,
            Proto::Udp => self.udp()?,
        };
        Ok(json!({
            "load": "listen",
            "bytes": received.bytes,
            "calls": received.calls,
            "peeked_bytes": peeked.bytes,
            "peek_calls": peeked.calls,
        }))
    }

    fn tcp(&self) -> Result<(Count, Count)> {
        let listener =
            TcpListener::bind(self.addr).with_context(|| format!("listen on {}", self.addr))?;
        super::say_ready()?;
        let (mut received, mut peeked) = (Count::default(), Count::default());
        let mut buffer = vec![0; self.chunk];
        ensure!(self.how != By::Recvmmsg, "TCP is not received by {:?}", self.how);
        let mut ring = if self.how == By::Uring { Some(Ring::new()?) } else { None };
        for _ in 0..self.connections {
            let (stream, _) = listener.accept().context("accept")?;
            loop {
                if self.peek {
                    peeked.add(stream.peek(&mut buffer).context("peek")?);
                }
                let done = match &mut ring {
                    Some(ring) => ring.receive(stream.as_fd(), &mut buffer),
                    None => (&stream).read(&mut buffer),
                };
                let done = done.context("receive")?;
                if done == 0 {
                    break;
                }
                received.add(done);
            }
        }
        if let Some(expected) = self.bytes {
            let bytes = received.bytes;
            ensure!(bytes == expected, "received {bytes} bytes instead of {expected}");
        }
        Ok((received, peeked))
    }

    fn udp(&self) -> Result<(Count, Count)> {
        let Some(expected) = self.bytes else {
            bail!("--proto udp has no end of its own and needs --bytes");
        };
        let socket = bind_udp(self.addr, self.idle)?;
        super::say_ready()?;
        let mut peeked = Count::default();
        let mut buffer = vec![0; self.chunk];
        if self.how == By::Recvmmsg {
            return Ok((receive_pairs(&socket, expected, self.chunk)?, peeked));
        }
        let mut ring = if self.how == By::Uring { Some(Ring::new()?) } else { None };
        let received = receive_datagrams(expected, || {
            if self.peek {
                peeked.add(socket.peek(&mut buffer)?);
            }
            match &mut ring {
                Some(ring) => ring.receive(socket.as_fd(), &mut buffer),
                None if self.whole_length => {
                    Ok(recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC)?)
                }
                None => socket.recv(&mut buffer),
            }
        })?;
        Ok((received, peeked))
    }
}

/// A bound socket with a deep buffer, whose calls give up after `idle`.
pub(super) fn bind_udp(addr: SocketAddr, idle: Duration) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(addr).with_context(|| format!("bind to {addr}"))?;
    setsockopt(&socket, sockopt::RcvBuf, &UDP_BUFFER).context("SO_RCVBUF")?;
    socket.set_read_timeout(Some(idle)).context("SO_RCVTIMEO")?;
    Ok(socket)
}

/// Receives until `expected` bytes have come, up to two datagrams by each `recvmmsg`.
fn receive_pairs(socket: &UdpSocket, expected: u64, chunk: usize) -> Result<Count> {
    let mut received = Count::default();
    let (mut first, mut second) = (vec![0; chunk], vec![0; chunk]);
    while received.bytes < expected {
        let mut headers = MultiHeaders::<()>::preallocate(2, None);
        let mut parts = [[IoSliceMut::new(&mut first)], [IoSliceMut::new(&mut second)]];
        let got = recvmmsg(
            socket.as_raw_fd(),
            &mut headers,
            parts.iter_mut(),
            MsgFlags::MSG_WAITFORONE,
            None,
        )
        .with_context(|| format!("receive after {} of {expected} bytes", received.bytes))?;
        for message in got {
            received.add(message.bytes);
        }
    }
    let bytes = received.bytes;
    ensure!(bytes == expected, "received {bytes} bytes instead of {expected}");
    Ok(received)
}

/// Receives until `expected` bytes have come.
pub(super) fn receive_datagrams(
    expected: u64,
    mut receive: impl FnMut() -> std::io::Result<usize>,
) -> Result<Count> {
    let mut received = Count::default();
    while received.bytes < expected {
        let done = receive()
            .with_context(|| format!("receive after {} of {expected} bytes", received.bytes))?;
        received.add(done);
    }
    let bytes = received.bytes;
    ensure!(bytes == expected, "received {bytes} bytes instead of {expected}");
    Ok(received)
}

/// Receives until the other side ends the stream.
pub(super) fn receive_stream(mut stream: impl Read, chunk: usize) -> Result<Count> {
    let mut received = Count::default();
    let mut buffer = vec![0; chunk];
    loop {
        match stream.read(&mut buffer).context("receive")? {
            0 => return Ok(received),
            done => received.add(done),
        }
    }
}

/// Waits until the peer ends the stream too: then it has received everything.
pub(super) fn wait_for_end(stream: &TcpStream) -> Result<()> {
    stream.shutdown(std::net::Shutdown::Write).context("shutdown")?;
    let answer = receive_stream(stream, 1)?;
    ensure!(answer.bytes == 0, "the listener sent {} bytes", answer.bytes);
    Ok(())
}
