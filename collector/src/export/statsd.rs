//! `statsd://`: datagrams with tags, over UDP or to a unix socket.
//!
//! All points are gauges, totals too: a datagram may be lost, and the next total makes up for it,
//! while a lost increment would be lost for good.

#[cfg(test)]
mod tests;

use std::{io, os::fd::AsFd as _, time::Duration};

use anyhow::{Result, bail};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use nix::sys::socket::{getsockopt, sockopt};
use tokio::{
    net::{UdpSocket, UnixDatagram},
    time,
};

use crate::{
    config::Sink,
    export::{
        Protocol, Scheme,
        delivery::{Failure, Transport, in_time},
        lines::{LineFormat, Lines, Written},
        subject::NumberPoint,
        url::SinkUrl,
    },
    exposition::Digits,
};

pub(super) const SCHEME: Scheme = Scheme {
    names: &["statsd"],
    example: "statsd://HOST:8125 or statsd:///run/statsd.sock",
    host_label: "host",
    labels: &[],
    parents: false,
    make,
};

/// The least that every network between here and the receiver takes, without the headers.
const UDP_BYTES_MIN: usize = 508;

/// The least that a network with IPv6 takes (RFC 8200, section 5).
const IPV6_MTU_MIN: usize = 1280;

/// The headers of IPv6 and UDP.
const HEADER_BYTES: usize = 48;

/// What receivers read at once, on unix sockets and wherever the network has large packets, as
/// the loopback device has.
const DATAGRAM_BYTES_MAX: usize = 8192;

/// After so many datagrams the receiver gets [`PAUSE`] to read them.
const BURST: usize = 32;
const PAUSE: Duration = Duration::from_millis(1);

fn make(_: &Sink, url: &SinkUrl) -> Result<Protocol> {
    let to = if !url.host.is_empty() {
        Address::Udp(url.host.clone(), url.port.unwrap_or(8125))
    } else if url.path.len() > 1 {
        Address::Unix(url.path.clone())
    } else {
        bail!("the URL names no host: write statsd://HOST or statsd:///PATH");
    };
    Ok(Protocol { encoder: Box::new(Lines::new(FORMAT)), transport: Box::new(Statsd(to)) })
}

struct Statsd(Address);

enum Address {
    Udp(String, u16),
    Unix(String),
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Statsd {
    async fn open(&self) -> Result<(Socket, usize), Failure> {
        let opened = match &self.0 {
            Address::Udp(host, port) => udp(host, *port).await.map(|socket| {
                let bytes_max = udp_bytes(&socket);
                (Socket::Udp(socket), bytes_max)
            }),
            Address::Unix(path) => unix(path).map(|it| (Socket::Unix(it), DATAGRAM_BYTES_MAX)),
        };
        opened.map_err(|error| Failure::retry(format!("cannot connect: {error}")))
    }

    async fn send(&self, payload: Bytes) -> Result<(), Failure> {
        let (socket, bytes_max) = self.open().await?;
        for (at, datagram) in datagrams(&payload, bytes_max).enumerate() {
            let sent = match &socket {
                Socket::Udp(socket) => socket.send(datagram).await,
                Socket::Unix(socket) => socket.send(datagram).await,
            };
            sent.map_err(Failure::retry)?;
            if at % BURST == BURST - 1 {
                time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }
}

impl Transport for Statsd {
    fn deliver(&self, payload: Bytes) -> LocalBoxFuture<'_, Result<(), Failure>> {
        Box::pin(in_time(self.send(payload)))
    }

    fn check(&self) -> LocalBoxFuture<'_, Result<(), Failure>> {
        Box::pin(async { self.open().await.map(|_| ()) })
    }
}

async fn udp(host: &str, port: u16) -> io::Result<UdpSocket> {
    let mut addresses = tokio::net::lookup_host((host, port)).await?;
    let address = addresses.next().ok_or_else(|| io::Error::other("the host has no address"))?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}

/// What fits into a packet on the way to the receiver: a datagram in pieces is lost with any of
/// them.
fn udp_bytes(socket: &UdpSocket) -> usize {
    let mtu = getsockopt(&socket.as_fd(), sockopt::IpMtu).ok();
    // The option is for IPv4. Every network with IPv6 takes packets of this size.
    let mtu = mtu.and_then(|mtu| usize::try_from(mtu).ok()).unwrap_or(IPV6_MTU_MIN);
    mtu.saturating_sub(HEADER_BYTES).clamp(UDP_BYTES_MIN, DATAGRAM_BYTES_MAX)
}

fn unix(path: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

/// Whole lines, as many as fit into a datagram.
fn datagrams(payload: &[u8], bytes_max: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let fits = rest.get(..bytes_max).unwrap_or(rest);
        let end = if fits.len() == rest.len() {
            rest.len()
        } else {
            // A line that is too long for a datagram goes alone.
            let newline = |bytes: &[u8]| memchr::memchr(b'\n', bytes).map(|at| at + 1);
            let last = memchr::memrchr(b'\n', fits).map(|at| at + 1);
            last.or_else(|| newline(rest)).unwrap_or(rest.len())
        };
        let (datagram, after) = rest.split_at(end);
        rest = after;
        (!datagram.is_empty()).then_some(datagram)
    })
}

/// The time is that of the receiver.
const FORMAT: LineFormat = LineFormat { time: |_, _| (), tag: write_tag, line: write_line };

/// The tags end with a comma, which is left out; the label of the host makes one tag at least.
fn write_line(out: &mut Vec<u8>, point: &NumberPoint<'_>, written: &Written<'_>) {
    let tags = written.tags;
    point.write_name(out);
    out.push(b':');
    out.extend_from_slice(Digits::new().text(point.number).as_bytes());
    out.extend_from_slice(b"|g|#");
    out.extend_from_slice(tags.strip_suffix(b",").unwrap_or(tags));
    out.push(b'\n');
}

fn write_tag(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    let allowed = |byte: u8| if matches!(byte, b',' | b'|' | b'#' | b'\n') { b'_' } else { byte };
    out.extend(value.bytes().map(allowed));
    out.push(b',');
}
