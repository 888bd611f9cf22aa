//! Sending over TCP and UDP, by every system call that can.

use std::{
    io::IoSlice,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use nix::{
    fcntl::{SpliceFFlags, splice},
    sys::{
        memfd::{MFdFlags, memfd_create},
        sendfile::sendfile,
        socket::{MsgFlags, MultiHeaders, send, sendmmsg},
        uio::writev,
    },
    unistd::{ftruncate, pipe, write},
};
use serde_json::{Value, json};

use super::{
    connect::total_retransmits,
    disk::clamp,
    flow::{Count, Proto},
    receive::wait_for_end,
    units,
    uring::Ring,
};

/// Bytes of a call over TCP unless asked otherwise.
const STREAM_CHUNK: usize = 64 << 10;
/// Bytes of a datagram unless asked otherwise; fits every MTU.
const DATAGRAM: usize = 1000;
/// How long to wait between two attempts to connect.
const RETRY: Duration = Duration::from_millis(20);
/// UDP has no back pressure, so the sender pauses after this many bytes …
const BURST: u64 = 32 << 10;
/// … for so long.
const REST: Duration = Duration::from_millis(5);

/// The system call that sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum How {
    Write,
    Writev,
    Sendfile,
    Splice,
    Sendto,
    /// Several datagrams a call.
    Sendmmsg,
    /// `IORING_OP_SEND`.
    Uring,
}

#[derive(Args, Debug)]
pub(super) struct Send {
    #[arg(long, value_enum)]
    proto: Proto,
    /// Where to.
    #[arg(long, value_name = "IP:PORT")]
    addr: SocketAddr,
    /// How many bytes.
    #[arg(long, value_parser = units::size)]
    bytes: u64,
    /// By which system call.
    #[arg(long, value_enum, default_value_t = How::Write)]
    how: How,
    /// Bytes of each call, for UDP of each datagram.
    #[arg(long, value_parser = units::buffer_size)]
    chunk: Option<usize>,
    /// TCP: retry refused connections for this time.
    #[arg(long, default_value = "0s", value_parser = units::duration)]
    retry_for: Duration,
    /// UDP: so many datagrams without a byte before the others.
    #[arg(long, default_value_t = 0)]
    empty: u32,
}

impl Send {
    pub(super) fn apply(self) -> Result<Value> {
        let mut retransmits = 0;
        let sent = match self.proto {
            Proto::Tcp => {
                let stream = connect(self.addr, self.retry_for)?;
                let chunk = self.chunk.unwrap_or(STREAM_CHUNK);
                let sent = send_stream(&stream, self.bytes, self.how, chunk)?;
                wait_for_end(&stream)?;
                retransmits = total_retransmits(&stream)?;
                sent
            }
            Proto::Udp => {
                let chunk = self.chunk.unwrap_or(DATAGRAM);
                send_datagrams(self.addr, self.bytes, self.how, chunk, self.empty)?
            }
        };
        Ok(json!({
            "load": "send",
            "bytes": sent.bytes,
            "calls": sent.calls,
            "retransmits": retransmits,
        }))
    }
}

/// Connects; retries while the connection is refused.
pub(super) fn connect(addr: SocketAddr, retry_for: Duration) -> Result<TcpStream> {
    let end = Instant::now() + retry_for;
    loop {
        match TcpStream::connect(addr) {
            Ok(stream) => return Ok(stream),
            Err(_) if Instant::now() < end => sleep(RETRY),
            Err(error) => return Err(error).with_context(|| format!("connect to {addr}")),
        }
    }
}

/// Sends exactly `bytes` over a stream socket.
pub(super) fn send_stream(to: impl AsFd, bytes: u64, how: How, chunk: usize) -> Result<Count> {
    let mut source = Source::new(how, chunk)?;
    let mut sent = Count::default();
    while sent.bytes < bytes {
        let want = clamp(bytes - sent.bytes, chunk);
        let done = source
            .send(&to, want)
            .with_context(|| format!("{how:?} after {} of {bytes} bytes", sent.bytes))?;
        ensure!(done > 0, "{how:?} sent nothing after {} of {bytes} bytes", sent.bytes);
        sent.add(done);
    }
    Ok(sent)
}

/// Sends exactly `bytes` in datagrams of `chunk`, the last one shorter if need be, after `empty`
/// ones.
pub(super) fn send_datagrams(
    to: SocketAddr,
    bytes: u64,
    how: How,
    chunk: usize,
    empty: u32,
) -> Result<Count> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).with_context(|| format!("bind to {any}"))?;
    if how != How::Sendto {
        socket.connect(to).with_context(|| format!("connect to {to}"))?;
    }
    for _ in 0..empty {
        socket.send_to(&[], to).with_context(|| format!("send nothing to {to}"))?;
    }
    let buffer = vec![b't'; chunk];
    let mut ring = if how == How::Uring { Some(Ring::new()?) } else { None };
    let (mut sent, mut burst) = (Count::default(), 0);
    while sent.bytes < bytes {
        if how == How::Sendmmsg {
            send_two(&socket, &buffer, bytes, &mut sent)?;
            sleep(REST);
            continue;
        }
        let datagram = &buffer[..clamp(bytes - sent.bytes, chunk)];
        let done = match how {
            How::Sendto => socket.send_to(datagram, to).map_err(anyhow::Error::from),
            How::Write => write(&socket, datagram).map_err(anyhow::Error::from),
            How::Writev => writev(&socket, &halves(datagram)).map_err(anyhow::Error::from),
            How::Uring => match &mut ring {
                Some(ring) => ring.send(socket.as_fd(), datagram).map_err(anyhow::Error::from),
                None => bail!("no ring"),
            },
            How::Sendfile | How::Splice | How::Sendmmsg => bail!("UDP is not sent by {how:?}"),
        }
        .with_context(|| format!("{how:?} to {to} after {} of {bytes} bytes", sent.bytes))?;
        ensure!(done == datagram.len(), "a datagram was cut to {done} bytes");
        sent.add(done);
        burst += done as u64;
        if burst >= BURST {
            sleep(REST);
            burst = 0;
        }
    }
    Ok(sent)
}

/// Sends two datagrams by one `sendmmsg`, or one if no more is left.
fn send_two(socket: &UdpSocket, buffer: &[u8], bytes: u64, sent: &mut Count) -> Result<()> {
    let first = clamp(bytes - sent.bytes, buffer.len());
    let second = clamp(bytes - sent.bytes - first as u64, buffer.len());
    let parts = [[IoSlice::new(&buffer[..first])], [IoSlice::new(&buffer[..second])]];
    let count = if second > 0 { 2 } else { 1 };
    let mut headers = MultiHeaders::<()>::preallocate(count, None);
    let done = sendmmsg(
        socket.as_raw_fd(),
        &mut headers,
        &parts[..count],
        [None::<()>; 2],
        [],
        MsgFlags::empty(),
    )
    .context("sendmmsg")?;
    let lengths: Vec<usize> = done.map(|message| message.bytes).collect();
    ensure!(lengths == [first, second][..count], "sendmmsg sent {lengths:?}");
    for length in lengths {
        sent.add(length);
    }
    Ok(())
}

/// What a system call takes its bytes from.
enum Source {
    Memory { how: How, buffer: Vec<u8> },
    File(OwnedFd),
    Ring { ring: Ring, buffer: Vec<u8> },
    Pipe { reader: OwnedFd, writer: OwnedFd, buffer: Vec<u8>, filled: usize },
}

impl Source {
    fn new(how: How, chunk: usize) -> Result<Self> {
        let buffer = vec![b't'; chunk];
        Ok(match how {
            How::Write | How::Writev | How::Sendto => Self::Memory { how, buffer },
            How::Uring => Self::Ring { ring: Ring::new()?, buffer },
            How::Sendmmsg => bail!("TCP is not sent by {how:?}"),
            How::Sendfile => {
                let file = memfd_create("tare-load", MFdFlags::empty()).context("memfd_create")?;
                let len = i64::try_from(chunk).context("chunk")?;
                ftruncate(&file, len).context("size the file to send")?;
                Self::File(file)
            }
            How::Splice => {
                let (reader, writer) = pipe().context("pipe")?;
                Self::Pipe { reader, writer, buffer, filled: 0 }
            }
        })
    }

    /// One system call that sends at most `want` bytes.
    fn send(&mut self, to: &impl AsFd, want: usize) -> Result<usize> {
        match self {
            Self::Memory { how: How::Write, buffer } => Ok(write(to, &buffer[..want])?),
            Self::Memory { how: How::Sendto, buffer } => {
                Ok(send(to.as_fd().as_raw_fd(), &buffer[..want], MsgFlags::MSG_NOSIGNAL)?)
            }
            Self::Memory { buffer, .. } => Ok(writev(to, &halves(&buffer[..want]))?),
            Self::Ring { ring, buffer } => Ok(ring.send(to.as_fd(), &buffer[..want])?),
            Self::File(file) => Ok(sendfile(to, file, Some(&mut 0), want)?),
            Self::Pipe { reader, writer, buffer, filled } => {
                if *filled == 0 {
                    *filled = write(writer, &buffer[..want.min(STREAM_CHUNK)])?;
                }
                let done = splice(reader, None, to, None, *filled, SpliceFFlags::empty())?;
                *filled -= done;
                Ok(done)
            }
        }
    }
}

fn halves(bytes: &[u8]) -> [IoSlice<'_>; 2] {
    let (a, b) = bytes.split_at(bytes.len() / 2);
    [IoSlice::new(a), IoSlice::new(b)]
}
