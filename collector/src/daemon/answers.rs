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
use serde_json::json;

use crate::output::prometheus;

/// The body of any answer.
pub(super) type AnyBody = UnsyncBoxBody<Bytes, Infallible>;

/// An answer.
pub(super) type Answer = Response<AnyBody>;

pub(super) const JSON: &str = "application/json";

/// An answer with a body that is at hand.
pub(super) fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Pages>,
) -> Answer {
    let mut answer = Response::new(body.into().boxed_unsync());
    *answer.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
    answer
}

/// A line of text.
pub(super) fn text(status: StatusCode, line: &str) -> Answer {
    answer(status, "text/plain; charset=utf-8", Bytes::from(format!("{line}\n")))
}

/// A failure, as JSON.
pub(super) fn failure(status: StatusCode, message: &str) -> Answer {
    answer(status, JSON, Bytes::from(format!("{}\n", json!({ "error": message }))))
}

/// Events as they come.
pub(super) fn stream(events: impl Stream<Item = Bytes> + Send + 'static) -> Answer {
    let frames = futures_util::StreamExt::map(events, |event| Ok(Frame::data(event)));
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// A body in parts: a client that reads slowly holds a part of it in buffers, not a copy of all.
pub(super) enum Pages {
    Bytes(Bytes),
    /// Written as the client takes it.
    Scrape(prometheus::Chunks),
}

impl Pages {
    const BYTES: usize = 64 * 1024;

    fn length(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Scrape(pages) => pages.length(),
        }
    }
}

impl From<Bytes> for Pages {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Pages {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<prometheus::Chunks> for Pages {
    fn from(pages: prometheus::Chunks) -> Self {
        Self::Scrape(pages)
    }
}

impl Body for Pages {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let page = match &mut *self {
            Self::Bytes(bytes) => bytes.split_to(bytes.len().min(Self::BYTES)),
            Self::Scrape(pages) => {
                let mut page = Vec::with_capacity(prometheus::Chunks::BYTES_MAX);
                pages.next(&mut page);
                page.into()
            }
        };
        Poll::Ready((!page.is_empty()).then(|| Ok(Frame::data(page))))
    }

    fn is_end_stream(&self) -> bool {
        self.length() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length() as u64)
    }
}
