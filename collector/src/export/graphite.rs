//! `graphite://`: Graphite's plain text over TCP, with tags (Graphite 1.1 or later).

use std::cell::RefCell;

use anyhow::{Result, bail};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use jiff::Timestamp;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    config::Sink,
    export::{
        Protocol, Scheme, connect,
        delivery::{Failure, Transport, in_time},
        lines::{LineFormat, Lines, Written},
        subject::NumberPoint,
        url::SinkUrl,
    },
    exposition::Digits,
};

pub(super) const SCHEME: Scheme = Scheme {
    names: &["graphite"],
    example: "graphite://HOST:2003",
    host_label: "host",
    labels: &[],
    parents: false,
    make,
};

fn make(_: &Sink, url: &SinkUrl) -> Result<Protocol> {
    if url.host.is_empty() {
        bail!("the URL names no host: write graphite://HOST");
    }
    let transport = Graphite {
        host: url.host.clone(),
        port: url.port.unwrap_or(2003),
        stream: RefCell::new(None),
    };
    Ok(Protocol { encoder: Box::new(Lines::new(FORMAT)), transport: Box::new(transport) })
}

/// The protocol has no answers: a batch is delivered when the kernel has taken it.
struct Graphite {
    host: String,
    port: u16,
    stream: RefCell<Option<TcpStream>>,
}

impl Graphite {
    async fn send(&self, payload: Bytes) -> Result<(), Failure> {
        let kept = self.stream.borrow_mut().take().filter(is_open);
        let mut stream = match kept {
            Some(stream) => stream,
            None => connect::tcp(&self.host, self.port).await?,
        };
        stream.write_all(&payload).await.map_err(Failure::retry)?;
        *self.stream.borrow_mut() = Some(stream);
        Ok(())
    }
}

impl Transport for Graphite {
    fn deliver(&self, payload: Bytes) -> LocalBoxFuture<'_, Result<(), Failure>> {
        Box::pin(in_time(self.send(payload)))
    }

    fn check(&self) -> LocalBoxFuture<'_, Result<(), Failure>> {
        Box::pin(async { connect::tcp(&self.host, self.port).await.map(|_| ()) })
    }
}

/// The receiver sends nothing, so that there is something to read only when it has closed.
fn is_open(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0]) {
        Ok(read) => read > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

const FORMAT: LineFormat = LineFormat { time: write_time, tag: write_tag, line: write_line };

fn write_line(out: &mut Vec<u8>, point: &NumberPoint<'_>, written: &Written<'_>) {
    point.write_name(out);
    out.extend_from_slice(written.tags);
    out.push(b' ');
    out.extend_from_slice(Digits::new().text(point.number).as_bytes());
    out.extend_from_slice(written.time);
}

/// Whole seconds, and the end of the line.
fn write_time(out: &mut Vec<u8>, time: Timestamp) {
    out.extend_from_slice(format!(" {}\n", time.as_second()).as_bytes());
}

/// Graphite allows no `;` in values and no `~` at their start; a space ends the path.
fn write_tag(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b';');
    // The path of a series is in the tag `name` already.
    out.extend_from_slice(if name == "name" { b"container" } else { name.as_bytes() });
    out.push(b'=');
    for (at, byte) in value.bytes().enumerate() {
        let is_allowed = !(byte == b';' || byte.is_ascii_whitespace() || (at == 0 && byte == b'~'));
        out.push(if is_allowed { byte } else { b'_' });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{Encoder as _, fixture};

    #[test]
    fn a_point_is_a_line_with_tags() {
        let mut lines = Lines::new(FORMAT);
        assert_eq!(fixture::add_container(&mut lines), 4);
        let text = String::from_utf8(lines.finish().unwrap().to_vec()).unwrap();
        let tags = ";host=a_host;id=/docker/1;container=web,1=x";
        let first = format!("container_cpu_usage_seconds_total{tags};cpu=total 1.5 1700000000");
        assert_eq!(text.lines().next(), Some(first.as_str()));
        assert!(text.ends_with(&format!("container_memory_usage_bytes{tags} 4096 1700000000\n")));
    }
}
