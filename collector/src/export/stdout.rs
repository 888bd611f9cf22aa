//! `stdout:`: points as JSON, one a line.

use std::io::{self, Write as _};

use anyhow::{Result, bail};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use tokio::task;

use crate::{
    config::Sink,
    export::{
        Encoder, Protocol, Scheme,
        delivery::{Failure, Transport},
        subject::{NumberPoint, Subject},
        url::SinkUrl,
    },
    exposition::Number,
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
    Ok(Protocol { encoder: Box::new(JsonLines::default()), transport: Box::new(Stdout) })
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

#[derive(Default)]
struct JsonLines(Vec<u8>);

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    family: &'a str,
    name: String,
    labels: Labels<'a>,
    value: Value,
}

/// The labels of the subject, and those of the point.
struct Labels<'a>(&'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)]);

#[derive(Serialize)]
#[serde(untagged)]
enum Value {
    Integer(u64),
    Float(f64),
}

impl Encoder for JsonLines {
    fn add(&mut self, subject: &Subject<'_>) -> u64 {
        let mut count = 0;
        subject.for_each_number(|point| {
            count += 1;
            self.write(subject, point);
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

impl JsonLines {
    fn write(&mut self, subject: &Subject<'_>, point: &NumberPoint<'_>) {
        let line = Line {
            time: subject.time.to_string(),
            family: point.entry.family,
            name: format!("{}{}", point.entry.metric.name, point.suffix),
            labels: Labels(subject.labels, point.labels),
            value: match point.number {
                Number::Integer(number) => Value::Integer(number),
                Number::Float(number) => Value::Float(number),
            },
        };
        // A vector grows, and all keys are text: this cannot fail.
        let _ = serde_json::to_writer(&mut self.0, &line);
        self.0.push(b'\n');
    }
}

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len() + self.1.len()))?;
        for (name, value) in self.0.iter().chain(self.1) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::fixture;

    #[test]
    fn a_point_is_a_line() {
        let mut lines = JsonLines::default();
        assert_eq!(fixture::add_container(&mut lines), 4);
        let text = String::from_utf8(lines.finish().unwrap().to_vec()).unwrap();
        let first = "{\"time\":\"2023-11-14T22:13:20.123456789Z\",\"family\":\"cpu\",\
            \"name\":\"container_cpu_usage_seconds_total\",\"labels\":{\"host\":\"a host\",\
            \"id\":\"/docker/1\",\"name\":\"web,1=x\",\"cpu\":\"total\"},\"value\":1.5}";
        assert_eq!(text.lines().next(), Some(first));
        assert!(text.ends_with("\"value\":4096}\n"));
    }
}
