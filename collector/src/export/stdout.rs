//! `stdout:`: points as JSON, one a line.

use std::io::{self, Write as _};

use anyhow::{Result, bail};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use jiff::Timestamp;
use tokio::task;

use crate::{
    config::Sink,
    export::{
        Protocol, Scheme,
        delivery::{Failure, Transport},
        lines::{LineFormat, Lines, Written},
        subject::NumberPoint,
        url::SinkUrl,
    },
    exposition::Digits,
};

pub(super) const SCHEME: Scheme = Scheme {
    names: &["stdout"],
    example: "stdout:",
    host_label: "host",
    labels: &[],
    parents: false,
    make,
};

fn make(_: &Sink, url: &SinkUrl) -> Result<Protocol> {
    if !url.host.is_empty() || !url.path.is_empty() {
        bail!("`url` of standard output is `stdout:`, without anything behind it");
    }
    Ok(Protocol { encoder: Box::new(Lines::new(FORMAT)), transport: Box::new(Stdout) })
}

struct Stdout;

impl Transport for Stdout {
    /// The reader may take any time. A write cannot be given up half-way, so there is no limit: the
    /// queue fills up meanwhile.
    fn deliver(&self, payload: Bytes) -> LocalBoxFuture<'_, Result<(), Failure>> {
        let write = move || {
            let mut out = io::stdout().lock();
            out.write_all(&payload).and_then(|()| out.flush())
        };
        Box::pin(async move {
            let written = task::spawn_blocking(write).await.map_err(Failure::retry)?;
            written.map_err(|error| Failure::Rejected { message: error.to_string() })
        })
    }

    fn check(&self) -> LocalBoxFuture<'_, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }
}

/// Lines such as `{"time":"…","family":"cpu","name":"…","labels":{"id":"…"},"value":1.5}`.
const FORMAT: LineFormat = LineFormat { time: write_time, tag: write_label, line: write_line };

fn write_time(out: &mut Vec<u8>, time: Timestamp) {
    out.extend_from_slice(format!("{{\"time\":\"{time}\",\"family\":\"").as_bytes());
}

/// Names of families and metrics need no escapes. The labels end with a comma, which is left out.
fn write_line(out: &mut Vec<u8>, point: &NumberPoint<'_>, written: &Written<'_>) {
    out.extend_from_slice(written.time);
    out.extend_from_slice(point.entry.family.as_bytes());
    out.extend_from_slice(b"\",\"name\":\"");
    point.write_name(out);
    out.extend_from_slice(b"\",\"labels\":{");
    out.extend_from_slice(written.tags.strip_suffix(b",").unwrap_or(written.tags));
    out.extend_from_slice(b"},\"value\":");
    // All numbers are finite.
    out.extend_from_slice(Digits::new().text(point.number).as_bytes());
    out.extend_from_slice(b"}\n");
}

fn write_label(out: &mut Vec<u8>, name: &str, value: &str) {
    // A vector grows, so this cannot fail.
    let _ = serde_json::to_writer(&mut *out, name);
    out.push(b':');
    let _ = serde_json::to_writer(&mut *out, value);
    out.push(b',');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{Encoder as _, fixture};

    #[test]
    fn a_point_is_a_line() {
        let mut lines = Lines::new(FORMAT);
        assert_eq!(fixture::add_container(&mut lines), 4);
        let text = String::from_utf8(lines.finish().unwrap().to_vec()).unwrap();
        let first = "{\"time\":\"2023-11-14T22:13:20.123456789Z\",\"family\":\"cpu\",\
            \"name\":\"container_cpu_usage_seconds_total\",\"labels\":{\"host\":\"a host\",\
            \"id\":\"/docker/1\",\"name\":\"web,1=x\",\"cpu\":\"total\"},\"value\":1.5}";
        assert_eq!(text.lines().next(), Some(first));
        assert!(text.ends_with("\"value\":4096}\n"));
    }
}
