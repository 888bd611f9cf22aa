//! Just enough of HTTP over a unix socket to ask a daemon of this host.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// `/metrics` of ten thousand containers is made while samples go on.
const LIMIT: Duration = Duration::from_secs(180);

/// The body of a page that must be there.
pub(crate) fn get(socket: &Path, path: &str) -> Result<String> {
    let mut stream =
        UnixStream::connect(socket).with_context(|| format!("cannot connect to {socket:?}"))?;
    stream.set_read_timeout(Some(LIMIT))?;
    // With 1.0 an answer ends with the connection and is not cut into chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("no answer to {path}"))?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
        _ => bail!("{path}: {}", answer.lines().next().unwrap_or("no answer")),
    }
}

/// The same as JSON.
pub(crate) fn json(socket: &Path, path: &str) -> Result<Value> {
    serde_json::from_str(&get(socket, path)?).with_context(|| format!("no JSON: {path}"))
}
