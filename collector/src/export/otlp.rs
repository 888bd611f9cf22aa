//! `otlp+grpc://` and `otlp+http://`: OpenTelemetry metrics, by the semantic conventions.
//!
//! Every container is a resource. Totals are cumulative since the start of the container, or since
//! Tare began to count.

mod encode;
mod names;
mod resource;

use std::io::Write as _;

use anyhow::Result;
use bytes::{BufMut as _, Bytes};
use flate2::{Compression, write::GzEncoder};
use futures_util::future::LocalBoxFuture;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, TE};
use percent_encoding::percent_decode_str;
use prost::Message as _;

use self::encode::Resources;
use crate::{
    config::Sink,
    export::{
        Protocol, Scheme,
        delivery::{Failure, Transport},
        http::{Answer, HttpClient, Usage, Version},
        messages::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceResponse,
        url::SinkUrl,
    },
};

pub(super) const SCHEME: Scheme = Scheme {
    names: &["otlp+http", "otlp+https", "otlp+grpc", "otlp+grpcs"],
    example: "otlp+http://HOST:4318 or otlp+grpc://HOST:4317",
    host_label: "host.name",
    labels: &[("service.name", "tare"), ("host.arch", ARCH), ("os.type", "linux")],
    parents: false,
    make,
};

/// The architecture, as the conventions name it.
const ARCH: &str = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };

/// The path of the method that takes metrics.
const METHOD: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// Before a message: whether it is compressed, and its length as a big-endian u32.
const PREFIX_BYTES: usize = 5;

/// Codes of gRPC after which a call may succeed later (OTLP specification, "Failures"): cancelled,
/// deadline exceeded, resource exhausted, aborted, out of range, unavailable, data loss.
const RETRYABLE: [u16; 7] = [1, 4, 8, 10, 11, 14, 15];

fn make(sink: &Sink, url: &SinkUrl) -> Result<Protocol> {
    let is_grpc = url.scheme.contains("grpc");
    let path = if url.path.len() > 1 { url.path.as_str() } else { "/v1/metrics" };
    let usage = Usage {
        tls: url.scheme.ends_with('s'),
        version: if is_grpc { Version::Http2 } else { Version::Http1 },
        default_port: if is_grpc { 4317 } else { 4318 },
        target: if is_grpc { METHOD } else { path }.to_owned(),
        token_word: "Bearer ",
        headers: &[],
    };
    let client = HttpClient::new(sink, url, &usage)?;
    let transport = Otlp { client, is_grpc };
    Ok(Protocol { encoder: Box::new(Resources::default()), transport: Box::new(transport) })
}

/// Compresses a message.
fn compressed(message: &[u8]) -> Result<Bytes> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(message)?;
    Ok(gzip.finish()?.into())
}

struct Otlp {
    client: HttpClient,
    is_grpc: bool,
}

impl Otlp {
    async fn send(&self, payload: Bytes) -> Result<(), Failure> {
        let message = if self.is_grpc {
            let headers = [
                (CONTENT_TYPE, "application/grpc"),
                (TE, "trailers"),
                (HeaderName::from_static("grpc-encoding"), "gzip"),
            ];
            let answer = self.client.post(framed(&payload), &headers).await?.accepted()?;
            status(&answer)?;
            answer.body.to_bytes().get(PREFIX_BYTES..).map(Bytes::copy_from_slice)
        } else {
            let headers = [(CONTENT_TYPE, "application/x-protobuf"), (CONTENT_ENCODING, "gzip")];
            Some(self.client.post(payload, &headers).await?.accepted()?.body.to_bytes())
        };
        partial_success(&message.unwrap_or_default())
    }
}

impl Transport for Otlp {
    fn deliver(&self, payload: Bytes) -> LocalBoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.send(payload))
    }

    fn check(&self) -> LocalBoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.client.check())
    }
}

fn framed(payload: &[u8]) -> Bytes {
    let mut framed = Vec::with_capacity(PREFIX_BYTES + payload.len());
    framed.put_u8(1);
    // A batch has some MiB at most.
    framed.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(payload);
    framed.into()
}

/// The status of a call, from the trailers or, without a message, from the headers.
fn status(answer: &Answer) -> Result<(), Failure> {
    let headers = answer.body.trailers().unwrap_or(&answer.headers);
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let code = text("grpc-status").and_then(|code| code.parse::<u16>().ok());
    let message = percent_decode_str(text("grpc-message").unwrap_or_default()).decode_utf8_lossy();
    match code {
        Some(0) => Ok(()),
        Some(code) if RETRYABLE.contains(&code) => {
            Err(Failure::retry(format!("gRPC status {code}: {message}")))
        }
        Some(code) => Err(Failure::Rejected { message: format!("gRPC status {code}: {message}") }),
        None => Err(Failure::retry("the answer has no gRPC status")),
    }
}

/// A receiver may accept a part of a batch. An answer that is no message says nothing.
fn partial_success(answer: &[u8]) -> Result<(), Failure> {
    let answer = ExportMetricsServiceResponse::decode(answer).unwrap_or_default();
    let Some(partial) = answer.partial_success else { return Ok(()) };
    match u64::try_from(partial.rejected_data_points) {
        Ok(points) if points > 0 => {
            Err(Failure::PartlyRejected { points, message: partial.error_message })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::messages::opentelemetry::proto::collector::metrics::v1 as metrics;

    #[test]
    fn what_a_receiver_refuses_of_a_batch_is_counted() {
        let answer = |rejected_data_points| {
            let error_message = "too old".to_owned();
            let partial =
                metrics::ExportMetricsPartialSuccess { rejected_data_points, error_message };
            ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        };
        let refused = Failure::PartlyRejected { points: 3, message: "too old".to_owned() };
        assert_eq!(partial_success(&answer(3)), Err(refused));
        assert_eq!(partial_success(&answer(0)), Ok(()));
        assert_eq!(partial_success(b"{}"), Ok(()));
    }

    #[test]
    fn a_message_is_framed_as_compressed() {
        assert_eq!(framed(b"abc"), &b"\x01\0\0\0\x03abc"[..]);
    }
}
