//! Just enough of HTTP over a unix socket to ask a daemon, and to be rude to it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::wait::PATIENCE;

/// What a daemon answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads a whole response.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.with_context(|| format!("no head in {}", String::from_utf8_lossy(bytes)))?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("no status in {head}"))?;
        Ok(Self { status, head, body: bytes[end + 4..].to_vec() })
    }

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
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Opens a connection.
pub fn connect(socket: &Path) -> Result<UnixStream> {
    let stream =
        UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Asks for a path, with further headers (`Name: value`).
pub fn get(socket: &Path, path: &str, headers: &[&str]) -> Result<Answer> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    send(
        socket,
        format!("GET {path} HTTP/1.1\r\nHost: tare\r\nConnection: close\r\n{headers}\r\n")
            .as_bytes(),
    )
}

/// Sends these bytes and reads what comes until the other side closes.
pub fn send(socket: &Path, request: &[u8]) -> Result<Answer> {
    let mut stream = connect(socket)?;
    // A daemon that has heard enough closes before everything is written.
    let written = stream.write_all(request);
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    ensure!(!bytes.is_empty(), "no answer: {written:?}, {read:?}");
    Answer::parse(&bytes)
}
