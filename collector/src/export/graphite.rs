//! `graphite://`: Graphite's plain text over TCP, with tags (Graphite 1.1 or later).

use std::cell::RefCell;

use anyhow::{Result, bail};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time};

use crate::{
    config::Sink,
    export::{
        Encoder, Protocol, Scheme, TIMEOUT, connect,
        delivery::{Failure, Transport},
        subject::Subject,
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
    Ok(Protocol { encoder: Box::new(Lines::default()), transport: Box::new(transport) })
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
        Box::pin(async move {
            let sent = time::timeout(TIMEOUT, self.send(payload)).await;
            sent.unwrap_or_else(|_| Err(Failure::retry("the receiver takes no data")))
        })
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

#[derive(Default)]
struct Lines(Vec<u8>);

impl Encoder for Lines {
    fn add(&mut self, subject: &Subject<'_>) -> u64 {
        let mut shared = Vec::new();
        for (name, value) in subject.labels {
            write_tag(&mut shared, name, value);
        }
        let mut count = 0;
        subject.for_each_number(|point| {
            count += 1;
            point.write_name(&mut self.0);
            self.0.extend_from_slice(&shared);
            for (name, value) in point.labels {
                write_tag(&mut self.0, name, value);
            }
            self.0.push(b' ');
            self.0.extend_from_slice(Digits::new().text(point.number).as_bytes());
            self.0.extend_from_slice(format!(" {}\n", subject.time.as_second()).as_bytes());
        });
        count
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn finish(&mut self) -> Result<Bytes> {
        Ok(std::mem::take(&mut self.0).into())
    }
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
    use crate::export::fixture;

    #[test]
    fn a_point_is_a_line_with_tags() {
        let mut lines = Lines::default();
        assert_eq!(fixture::add_container(&mut lines), 4);
        let text = String::from_utf8(lines.finish().unwrap().to_vec()).unwrap();
        let tags = ";host=a_host;id=/docker/1;container=web,1=x";
        let first = format!("container_cpu_usage_seconds_total{tags};cpu=total 1.5 1700000000");
        assert_eq!(text.lines().next(), Some(first.as_str()));
        assert!(text.ends_with(&format!("container_memory_usage_bytes{tags} 4096 1700000000\n")));
    }
}
