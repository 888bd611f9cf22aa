//! Requests over HTTP, for every protocol that uses it: one connection, kept open.

use std::{cell::RefCell, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::{
    HeaderMap, Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::{http1, http2},
    header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::{Timestamp, fmt::rfc2822};
use tokio::{task, time};

use crate::{
    config::Sink,
    export::{
        TIMEOUT,
        connect::{self, Route, Stream},
        delivery::Failure,
        url::SinkUrl,
    },
};

/// The most bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// How much of an answer the log shows.
const SHOWN_CHARS: usize = 200;

/// How a protocol uses HTTP.
pub(super) struct Usage {
    /// Whether the connection is encrypted.
    pub(super) tls: bool,
    /// The version.
    pub(super) version: Version,
    pub(super) default_port: u16,
    /// Path and query.
    pub(super) target: String,
    /// What precedes the token in the header `Authorization`.
    pub(super) token_word: &'static str,
    /// Headers of every request.
    pub(super) headers: &'static [(&'static str, &'static str)],
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// A client of one receiver.
pub(super) struct HttpClient {
    version: Version,
    route: Route,
    /// What requests are sent to.
    uri: Uri,
    headers: HeaderMap,
    /// Headers whose values are in files.
    files: Vec<(HeaderName, &'static str, PathBuf)>,
    connection: RefCell<Option<Sender>>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// An answer with its body and its trailers.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Collected<Bytes>,
}

impl HttpClient {
    /// Reads the files that the sink names, and decides how to connect.
    pub(super) fn new(sink: &Sink, url: &SinkUrl, usage: &Usage) -> Result<Self> {
        if url.host.is_empty() {
            bail!("the URL names no host: write {}://HOST", url.scheme);
        }
        let alpn: &[u8] = if usage.version == Version::Http2 { b"h2" } else { b"http/1.1" };
        let authority = url.authority(usage.default_port);
        let scheme = if usage.tls { "https" } else { "http" };
        let whole: Uri = format!("{scheme}://{authority}{}", usage.target)
            .parse()
            .with_context(|| format!("`{authority}{}` is no address", usage.target))?;
        let tls = usage.tls.then(|| connect::tls(sink.ca_file.as_deref(), alpn)).transpose()?;
        if sink.ca_file.is_some() && !usage.tls {
            bail!("`ca-file` needs an encrypted connection: write {}s://", url.scheme);
        }
        let port = url.port.unwrap_or(usage.default_port);
        let route = Route::new(&whole, &url.host, port, tls)?;
        let mut headers = HeaderMap::new();
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("tare/", env!("CARGO_PKG_VERSION"))),
        );
        for (name, value) in usage.headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        if let Some((name, password)) = &url.user {
            let value = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
            headers.insert(AUTHORIZATION, secret(&value)?);
        }
        for (name, value) in &sink.headers {
            headers.insert(header_name(name)?, secret(value)?);
        }
        let mut files = Vec::new();
        for (name, path) in &sink.header_files {
            files.push((header_name(name)?, "", path.clone()));
        }
        if let Some(path) = &sink.token_file {
            files.push((AUTHORIZATION, usage.token_word, path.clone()));
        }
        let is_http1 = usage.version == Version::Http1;
        if is_http1 {
            headers.insert(HOST, HeaderValue::from_str(&authority)?);
        }
        if let Some(authorization) = route.proxy_authorization() {
            headers.insert(hyper::header::PROXY_AUTHORIZATION, authorization);
        }
        // A proxy wants the whole address; HTTP/2 has the authority in it in any case.
        let uri =
            if is_http1 && !route.is_by_plain_proxy() { usage.target.parse()? } else { whole };
        let client = Self {
            version: usage.version,
            route,
            uri,
            headers,
            files,
            connection: RefCell::new(None),
        };
        client.read_files()?;
        Ok(client)
    }

    /// Connects, without a request.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        let opened = time::timeout(TIMEOUT, self.open()).await;
        opened.map_err(|_| timeout())?.map(|_| ())
    }

    /// Sends a body and waits for the answer.
    pub(super) async fn post(
        &self,
        body: Bytes,
        headers: &[(HeaderName, &'static str)],
    ) -> Result<Answer, Failure> {
        let sent = time::timeout(TIMEOUT, self.send(body, headers)).await;
        sent.map_err(|_| timeout())?
    }

    async fn send(
        &self,
        body: Bytes,
        headers: &[(HeaderName, &'static str)],
    ) -> Result<Answer, Failure> {
        let kept = self.connection.borrow_mut().take().filter(|kept| !kept.is_closed());
        let mut sender = match kept {
            Some(kept) => kept,
            None => self.open().await?,
        };
        let request =
            self.request(body, headers).map_err(|error| Failure::retry(format!("{error:#}")))?;
        let answer = sender.send(request).await.map_err(|error| Failure::retry(chain(&error)))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body =
            body.map_err(|error| Failure::retry(format!("the answer ended early: {error}")))?;
        *self.connection.borrow_mut() = Some(sender);
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    fn request(
        &self,
        body: Bytes,
        headers: &[(HeaderName, &'static str)],
    ) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::post(self.uri.clone()).body(Full::new(body))?;
        let all = request.headers_mut();
        all.clone_from(&self.headers);
        for (name, value) in headers {
            all.insert(name, HeaderValue::from_static(value));
        }
        for (name, value) in self.read_files()? {
            all.insert(name, value);
        }
        Ok(request)
    }

    fn read_files(&self) -> Result<Vec<(HeaderName, HeaderValue)>> {
        let read = |(name, word, path): &(HeaderName, &'static str, PathBuf)| {
            let text = std::fs::read_to_string(path);
            let text = text.with_context(|| format!("cannot read {}", path.display()))?;
            let value = secret(&format!("{word}{}", text.trim()));
            Ok((name.clone(), value.with_context(|| format!("{}", path.display()))?))
        };
        self.files.iter().map(read).collect()
    }

    async fn open(&self) -> Result<Sender, Failure> {
        let stream = self.route.connect().await?;
        let stream: TokioIo<Stream> = TokioIo::new(stream);
        let failed = |error: hyper::Error| Failure::retry(chain(&error));
        Ok(match self.version {
            Version::Http1 => {
                let (sender, connection) = http1::handshake(stream).await.map_err(failed)?;
                task::spawn_local(connection);
                Sender::Http1(sender)
            }
            Version::Http2 => {
                let made = http2::handshake(TokioExecutor::new(), stream).await;
                let (sender, connection) = made.map_err(failed)?;
                task::spawn_local(connection);
                Sender::Http2(sender)
            }
        })
    }
}

impl Sender {
    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

impl Answer {
    /// Whether the batch was accepted, by the status.
    pub(super) fn accepted(self) -> Result<Self, Failure> {
        let status = self.status;
        if status.is_success() {
            return Ok(self);
        }
        let after = self.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|text| retry_after(text, Timestamp::now()));
        let body = self.body.to_bytes();
        let text = String::from_utf8_lossy(&body);
        let text: String = text.trim().chars().take(SHOWN_CHARS).collect();
        let message = format!("{status}: {text}");
        let may_succeed = status.is_server_error()
            || status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::REQUEST_TIMEOUT;
        Err(if may_succeed {
            Failure::Retry { after, message }
        } else {
            Failure::Rejected { message }
        })
    }
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    Some(date.duration_since(now).try_into().unwrap_or_default())
}

fn timeout() -> Failure {
    Failure::retry(format!("no answer within {} s", TIMEOUT.as_secs()))
}

fn header_name(name: &str) -> Result<HeaderName> {
    name.parse().with_context(|| format!("`{name}` is no name of a header"))
}

fn secret(value: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(value).context("this cannot be in a header")?;
    value.set_sensitive(true);
    Ok(value)
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_names_seconds_or_a_date() {
        let now: Timestamp = "2015-10-21T07:27:00Z".parse().unwrap();
        let seconds = |text| retry_after(text, now).map(|pause| pause.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds("Wed, 21 Oct 2015 07:28:00 GMT"), Some(60));
        assert_eq!(seconds("Wed, 21 Oct 2015 07:20:00 GMT"), Some(0));
        assert_eq!((seconds("soon"), seconds("-1")), (None, None));
    }
}
