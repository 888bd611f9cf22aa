//! A blocking HTTP client for daemons that listen at a unix socket.
//!
//! Requests that no proper client sends (half a head, garbage) go through [`connect`] and
//! [`send`].

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{runtime, time::timeout};

use crate::wait::PATIENCE;

/// A complete response.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as it was sent: a compressed one stays compressed.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.body).context("the body is no text")
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON in {self:?}"))
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Gets a path, with further headers (name and value).
pub fn get(socket: &Path, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let mut request = Request::get(path).header(header::HOST, "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).with_context(|| format!("GET {path}"))?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let exchange = runtime.block_on(async { timeout(PATIENCE, exchange(socket, request)).await });
    exchange
        .with_context(|| format!("GET {path}: no answer within {PATIENCE:?}"))?
        .with_context(|| format!("GET {path} at {}", socket.display()))
}

async fn exchange(socket: &Path, request: Request<Empty<Bytes>>) -> Result<Answer> {
    let stream = tokio::net::UnixStream::connect(socket).await.context("connect")?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends when the response is complete and `sender` is dropped.
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await.context("read the body")?.to_bytes().into();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

/// Opens a connection.
pub fn connect(socket: &Path) -> Result<UnixStream> {
    let stream =
        UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends these bytes, reads until the other side closes, and returns the status code.
pub fn send(socket: &Path, request: &[u8]) -> Result<u16> {
    let mut stream = connect(socket)?;
    // The daemon may reject a request and close before all of it is written.
    let written = stream.write_all(request);
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    ensure!(!bytes.is_empty(), "no answer: {written:?}, {read:?}");
    let text = String::from_utf8_lossy(&bytes);
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.with_context(|| format!("no status in {text}"))
}
