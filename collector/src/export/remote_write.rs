//! `prometheus+http://`: remote write 2.0, and 1.0 for receivers that do not know 2.0.
//!
//! Names and labels are those of `/metrics`. When a container has ended, its series end with its
//! last totals and a stale marker, as they would after a scrape.

mod encode;
#[cfg(test)]
mod tests;
mod version_1;
mod version_2;

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

use self::{encode::transcode, version_1::Version1, version_2::Version2};
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
