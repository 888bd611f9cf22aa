//! `influx+http://`: `InfluxDB`'s line protocol, to version 1 (`?db=`) and 2 (`?org=&bucket=`).
//!
//! The points of a family with the same labels are the fields of one line: labels take most of the
//! room.

#[cfg(test)]
mod tests;

use std::io::Write as _;

use anyhow::{Result, bail};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use form_urlencoded::Serializer;
use futures_util::future::LocalBoxFuture;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::{
    config::Sink,
    export::{
        Encoder, Protocol, Scheme,
        delivery::{Failure, Transport},
        http::{HttpClient, Usage, Version},
        subject::{NumberPoint, Subject},
        url::SinkUrl,
    },
    exposition::Digits,
};

pub(super) const SCHEME: Scheme = Scheme {
    names: &["influx+http", "influx+https"],
    example: "influx+http://HOST:8086/?db=NAME",
    host_label: "host",
    labels: &[],
    parents: false,
    make,
};

fn make(sink: &Sink, url: &SinkUrl) -> Result<Protocol> {
    let mut query = Serializer::new(String::new());
    let parameters = url.query.iter().filter(|(name, _)| name != "precision");
    query.extend_pairs(parameters).append_pair("precision", "ns");
    let endpoint = match (url.parameter("db"), url.parameter("bucket")) {
        (Some(_), None) => "write",
        (None, Some(_)) => "api/v2/write",
        _ => bail!("`url` needs `?db=NAME` for InfluxDB 1, or `?org=NAME&bucket=NAME` for 2"),
    };
    let target = format!("{}/{endpoint}?{}", url.path.trim_end_matches('/'), query.finish());
    let usage = Usage {
        tls: url.scheme.ends_with('s'),
        version: Version::Http1,
        default_port: 8086,
        target,
        token_word: "Token ",
        headers: &[],
    };
    let client = HttpClient::new(sink, url, &usage)?;
    Ok(Protocol { encoder: Box::new(Lines::default()), transport: Box::new(Influx(client)) })
}

struct Influx(HttpClient);

impl Transport for Influx {
    fn deliver(&self, payload: Bytes) -> LocalBoxFuture<'_, Result<(), Failure>> {
        let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CONTENT_ENCODING, "gzip")];
        Box::pin(async move { self.0.post(payload, &headers).await?.accepted().map(|_| ()) })
    }

    fn check(&self) -> LocalBoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.0.check())
    }
}

/// Lines: measurement, tags, fields, time.
#[derive(Default)]
struct Lines {
    out: Vec<u8>,
    /// What begins the present line, and that of the next point.
    head: Vec<u8>,
    next_head: Vec<u8>,
}

impl Encoder for Lines {
    fn add(&mut self, subject: &Subject<'_>) -> u64 {
        let mut shared = Vec::new();
        for (name, value) in subject.labels {
            write_tag(&mut shared, name, value);
        }
        let end = format!(" {}\n", subject.time.as_nanosecond());
        let mut count = 0;
        self.head.clear();
        subject.for_each_number(|point| {
            count += 1;
            self.next_head.clear();
            write_head(&mut self.next_head, &shared, point);
            if self.next_head == self.head {
                self.out.push(b',');
            } else {
                if !self.head.is_empty() {
                    self.out.extend_from_slice(end.as_bytes());
                }
                std::mem::swap(&mut self.head, &mut self.next_head);
                self.out.extend_from_slice(&self.head);
                self.out.push(b' ');
            }
            point.write_name(&mut self.out);
            self.out.push(b'=');
            // All fields are floats: a field may not change its type.
            self.out.extend_from_slice(Digits::new().text(point.number).as_bytes());
        });
        if count > 0 {
            self.out.extend_from_slice(end.as_bytes());
        }
        count
    }

    fn len(&self) -> usize {
        self.out.len()
    }

    fn finish(&mut self) -> Result<Bytes> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&self.out)?;
        self.out.clear();
        Ok(gzip.finish()?.into())
    }
}

/// The measurement is that of the family; `tare_tare` would say the same twice.
fn write_head(out: &mut Vec<u8>, shared: &[u8], point: &NumberPoint<'_>) {
    out.extend_from_slice(b"tare");
    if point.entry.family != "tare" {
        out.push(b'_');
        out.extend_from_slice(point.entry.family.as_bytes());
    }
    out.extend_from_slice(shared);
    for (name, value) in point.labels {
        write_tag(out, name, value);
    }
}

fn write_tag(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b',');
    write_escaped(out, name);
    out.push(b'=');
    write_escaped(out, value);
}

/// Commas, equals signs and spaces are escaped. A line break cannot be, and a backslash at the end
/// would escape what follows.
fn write_escaped(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b',' | b'=' | b' ' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' | b'\r' => out.extend_from_slice(b"\\ "),
            byte => out.push(byte),
        }
    }
    if text.ends_with('\\') {
        out.extend_from_slice(b"\\ ");
    }
}
