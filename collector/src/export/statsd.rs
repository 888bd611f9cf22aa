//! `statsd://`: datagrams with tags, over UDP or to a unix socket.
//!
//! All points are gauges, totals too: a datagram may be lost, and the next total makes up for it,
//! while a lost increment would be lost for good.

use std::{io, time::Duration};

use anyhow::{Result, bail};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use jiff::Timestamp;
use tokio::{
    net::{UdpSocket, UnixDatagram},
    time,
};

use crate::{
    config::Sink,
    export::{
        Protocol, Scheme,
        delivery::{Failure, Transport, in_time},
        lines::{LineFormat, Lines},
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

/// What fits into a packet of Ethernet.
const UDP_BYTES: usize = 1432;

/// What receivers on unix sockets take.
const UNIX_BYTES: usize = 8192;

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
            Address::Udp(host, port) => {
                udp(host, *port).await.map(|it| (Socket::Udp(it), UDP_BYTES))
            }
            Address::Unix(path) => unix(path).map(|it| (Socket::Unix(it), UNIX_BYTES)),
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

const FORMAT: LineFormat = LineFormat { tag: write_tag, line: write_line };

/// The tags end with a comma, which is left out; the label of the host makes one tag at least.
fn write_line(out: &mut Vec<u8>, point: &NumberPoint<'_>, tags: &[u8], _: Timestamp) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{Encoder as _, fixture};

    #[test]
    fn a_point_is_a_gauge_with_tags() {
        let mut lines = Lines::new(FORMAT);
        assert_eq!(fixture::add_container(&mut lines), 4);
        let text = String::from_utf8(lines.finish().unwrap().to_vec()).unwrap();
        let first = "container_cpu_usage_seconds_total:1.5|g|#host:a host,id:/docker/1,name:web_1=x,cpu:total";
        assert_eq!(text.lines().next(), Some(first));
    }

    #[test]
    fn datagrams_hold_whole_lines() {
        let split = |text: &'static str, max| {
            let parts = datagrams(text.as_bytes(), max);
            parts.map(|part| std::str::from_utf8(part).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(split("ab\ncd\nef\n", 6), ["ab\ncd\n", "ef\n"]);
        assert_eq!(split("ab\ncd\nef\n", 8), ["ab\ncd\n", "ef\n"]);
        assert_eq!(split("abcdefgh\nij\n", 4), ["abcdefgh\n", "ij\n"]);
        assert_eq!(split("ab\n", 100), ["ab\n"]);
        assert!(split("", 4).is_empty());
    }
}
