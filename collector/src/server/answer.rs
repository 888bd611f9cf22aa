//! Responses and their bodies.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::Stream;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Response, StatusCode,
    body::{Body, Bytes, Frame, SizeHint},
    header::{self, HeaderValue},
};

/// The content type of JSON.
pub(crate) const JSON: &str = "application/json";

/// The largest part of a body that is handed to the connection at once, in bytes: a client that
/// reads slowly holds a part in buffers, not a copy of everything.
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// A response to any request.
pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A response with any body.
pub(crate) fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: impl Body<Data = Bytes, Error = Infallible> + Send + 'static,
) -> Answer {
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
    answer
}

/// A response with bytes.
pub(crate) fn bytes(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    answer(status, content_type, ChunkedBytes(body.into()))
}

/// Plain text.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    bytes(status, "text/plain; charset=utf-8", text)
}

/// A failure, as JSON.
pub(crate) fn failure(status: StatusCode, message: &str) -> Answer {
    failure_in("error", status, message)
}

/// A failure, as JSON with the message in this field.
pub(super) fn failure_in(field: &str, status: StatusCode, message: &str) -> Answer {
    let body = serde_json::json!({ field: message });
    bytes(status, JSON, format!("{body}\n"))
}

/// A body whose parts are sent as they come.
pub(crate) fn streamed(
    content_type: &'static str,
    parts: impl Stream<Item = Bytes> + Send + 'static,
) -> Answer {
    let frames = futures_util::StreamExt::map(parts, |part| Ok(Frame::data(part)));
    answer(StatusCode::OK, content_type, StreamBody::new(frames))
}

/// Server-sent events as they come.
pub(crate) fn event_stream(events: impl Stream<Item = Bytes> + Send + 'static) -> Answer {
    let mut answer = streamed("text/event-stream", events);
    let no_store = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(header::CACHE_CONTROL, no_store);
    answer
}

/// Bytes, handed out in chunks.
struct ChunkedBytes(Bytes);

impl Body for ChunkedBytes {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.0.len().min(CHUNK_BYTES_MAX);
        let chunk = self.0.split_to(length);
        Poll::Ready((!chunk.is_empty()).then(|| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
