//! `prometheus+http://`: remote write 2.0, and 1.0 for receivers that do not know 2.0.
//!
//! Names and labels are those of `/metrics`. When a container has ended, its series end with its
//! last totals and a stale marker, as they would after a scrape.

mod encode;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use anyhow::{Result, bail};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use hyper::{
    StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName},
};

use self::encode::{Version1, Version2, transcode};
use crate::{
    config::Sink,
    export::{
        Encoder, Protocol, Scheme,
        delivery::{Failure, Transport},
        http::{Answer, HttpClient, Usage, Version},
        subject::Subject,
        url::SinkUrl,
    },
};

pub(super) const SCHEME: Scheme = Scheme {
    names: &["prometheus+http", "prometheus+https"],
    example: "prometheus+http://HOST:9090",
    host_label: "instance",
    labels: &[("job", "tare")],
    parents: true,
    make,
};

const VERSION_HEADER: HeaderName = HeaderName::from_static("x-prometheus-remote-write-version");

/// A receiver of 2.0 must say how many samples it has written. One that does not has understood
/// nothing (specification of remote write 2.0, "Required `Written` response headers").
const WRITTEN_HEADER: &str = "x-prometheus-remote-write-samples-written";

/// The first byte of a payload, which is not sent: the version of the rest.
const VERSION_1: u8 = 1;
const VERSION_2: u8 = 2;

fn make(sink: &Sink, url: &SinkUrl) -> Result<Protocol> {
    let only_1 = match url.parameter("version") {
        None | Some("2") => false,
        Some("1") => true,
        Some(other) => bail!("there is no version `{other}` of remote write: write 1 or 2"),
    };
    let path = if url.path.len() > 1 { url.path.as_str() } else { "/api/v1/write" };
    let usage = Usage {
        tls: url.scheme.ends_with('s'),
        version: Version::Http1,
        default_port: 9090,
        target: path.to_owned(),
        token_word: "Bearer ",
        headers: &[],
    };
    let client = HttpClient::new(sink, url, &usage)?;
    let only_1 = Arc::new(AtomicBool::new(only_1));
    let encoder =
        Series { only_1: Arc::clone(&only_1), one: Version1::default(), two: Version2::default() };
    Ok(Protocol { encoder: Box::new(encoder), transport: Box::new(RemoteWrite { client, only_1 }) })
}

struct RemoteWrite {
    client: HttpClient,
    /// Whether the receiver knows 1.0 only.
    only_1: Arc<AtomicBool>,
}

impl RemoteWrite {
    async fn send(&self, payload: Bytes) -> Result<(), Failure> {
        let version = payload.first().copied();
        let body = payload.slice(1.min(payload.len())..);
        if version == Some(VERSION_1) {
            return self.send_1(body).await;
        }
        if !self.only_1.load(Relaxed) {
            let answer = self.post(body.clone(), VERSION_2).await?;
            let is_unsupported = answer.status == StatusCode::UNSUPPORTED_MEDIA_TYPE
                || (answer.status.is_success() && !answer.headers.contains_key(WRITTEN_HEADER));
            if !is_unsupported {
                return answer.accepted().map(|_| ());
            }
            tracing::info!("a receiver does not know remote write 2.0, and gets 1.0");
            self.only_1.store(true, Relaxed);
        }
        let body =
            transcode(&body).map_err(|error| Failure::Rejected { message: error.to_string() })?;
        self.send_1(body).await
    }

    async fn send_1(&self, body: Bytes) -> Result<(), Failure> {
        self.post(body, VERSION_1).await?.accepted().map(|_| ())
    }

    async fn post(&self, body: Bytes, version: u8) -> Result<Answer, Failure> {
        let (media, version) = if version == VERSION_1 {
            ("application/x-protobuf", "0.1.0")
        } else {
            ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0")
        };
        let headers =
            [(CONTENT_TYPE, media), (CONTENT_ENCODING, "snappy"), (VERSION_HEADER, version)];
        self.client.post(body, &headers).await
    }
}

impl Transport for RemoteWrite {
    fn deliver(&self, payload: Bytes) -> LocalBoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.send(payload))
    }

    fn check(&self) -> LocalBoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.client.check())
    }
}

/// Encodes in the version that the receiver knows.
struct Series {
    only_1: Arc<AtomicBool>,
    one: Version1,
    two: Version2,
}

impl Encoder for Series {
    fn add(&mut self, subject: &Subject<'_>) -> u64 {
        // A batch is of one version.
        let use_1 = self.only_1.load(Relaxed) && self.two.is_empty();
        if use_1 { self.one.add(subject) } else { self.two.add(subject) }
    }

    fn len(&self) -> usize {
        self.one.len() + self.two.len()
    }

    fn finish(&mut self) -> Result<Bytes> {
        let (version, message) = if self.two.is_empty() {
            (VERSION_1, self.one.finish())
        } else {
            (VERSION_2, self.two.finish())
        };
        let mut payload = vec![0; snap::raw::max_compress_len(message.len()) + 1];
        let (first, rest) = payload.split_at_mut(1);
        first.fill(version);
        let length = snap::raw::Encoder::new().compress(&message, rest)?;
        payload.truncate(length + 1);
        Ok(payload.into())
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::export::{
        fixture,
        messages::{io::prometheus::write::v2, prometheus as v1},
        subject::CATALOG,
    };

    fn series(only_1: bool) -> Series {
        let only_1 = Arc::new(AtomicBool::new(only_1));
        Series { only_1, one: Version1::default(), two: Version2::default() }
    }

    fn message(payload: &[u8]) -> (u8, Vec<u8>) {
        (payload[0], snap::raw::Decoder::new().decompress_vec(&payload[1..]).unwrap())
    }

    /// Labels and samples of all series.
    type Flat = Vec<(Vec<(String, String)>, Vec<(f64, i64)>)>;

    fn flat_1(message: &[u8]) -> Flat {
        let request = v1::WriteRequest::decode(message).unwrap();
        let series = request.timeseries.into_iter().map(|series| {
            let labels = series.labels.into_iter().map(|label| (label.name, label.value));
            let samples = series.samples.iter().map(|sample| (sample.value, sample.timestamp));
            (labels.collect(), samples.collect())
        });
        series.collect()
    }

    #[test]
    fn version_1_has_sorted_labels() {
        let mut encoder = series(true);
        assert_eq!(fixture::add_container(&mut encoder), 4);
        let (version, message) = message(&encoder.finish().unwrap());
        assert_eq!(version, VERSION_1);
        let flat = flat_1(&message);
        let labels: Vec<_> =
            flat[0].0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("__name__", "container_cpu_usage_seconds_total"),
            ("cpu", "total"),
            ("host", "a host"),
            ("id", "/docker/1"),
            ("name", "web,1=x"),
        ];
        assert_eq!(labels, expected);
        assert_eq!(flat[0].1, [(1.5, 1_700_000_000_123)]);
        assert_eq!(flat[3].1, [(4096.0, 1_700_000_000_123)]);
    }

    #[test]
    fn version_2_says_the_same_with_symbols_and_metadata() {
        let (mut one, mut two) = (series(true), series(false));
        fixture::add_container(&mut one);
        fixture::add_container(&mut two);
        let (_, expected) = message(&one.finish().unwrap());
        let payload = two.finish().unwrap();
        let (version, message) = message(&payload);
        assert_eq!(version, VERSION_2);
        let request = v2::Request::decode(&message[..]).unwrap();
        assert_eq!(request.symbols[0], "");
        let metadata = request.timeseries[0].metadata.unwrap();
        assert_eq!(metadata.r#type(), v2::metadata::MetricType::Counter);
        let help = &request.symbols[metadata.help_ref as usize];
        let name = "container_cpu_usage_seconds_total";
        let known = CATALOG.iter().find(|entry| entry.metric.name == name).unwrap();
        assert_eq!(help, known.metric.help);
        let same = transcode(&payload[1..]).unwrap();
        let same = snap::raw::Decoder::new().decompress_vec(&same).unwrap();
        assert_eq!(flat_1(&same), flat_1(&expected));
        // The next batch has symbols of its own.
        fixture::add_container(&mut two);
        assert_eq!(two.finish().unwrap(), payload);
    }

    #[test]
    fn what_is_no_message_is_not_transcoded() {
        assert!(transcode(b"\xff\xff\xff\xff").is_err());
    }
}
