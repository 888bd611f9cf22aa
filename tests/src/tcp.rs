//! Servers on the loopback device: free addresses, and plain requests over HTTP.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::wait::{self, PATIENCE};

/// An address that is free, so that nothing listens there until the caller does.
pub fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// Waits until something listens at an address.
pub fn wait_for(what: &str, address: &str) -> Result<()> {
    wait::until(what, PATIENCE, || Ok(TcpStream::connect(address).ok().map(drop)))
}

fn send(address: &str, bytes: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(bytes)?;
    Ok(stream)
}

fn read(mut stream: TcpStream) -> Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Sends a line and nothing more; what the other side says before it closes.
pub fn ask_line(address: &str, line: &str) -> Result<String> {
    let stream = send(address, format!("{line}\n").as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    read(stream)
}

/// A request, such as `GET /path`; the body of the answer.
pub fn ask(address: &str, request: &str) -> Result<String> {
    let request = format!("{request} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    // The connection stays open for more: servers cancel requests of clients that seem to be gone.
    let text = read(send(address, request.as_bytes())?)?;
    Ok(text.split_once("\r\n\r\n").context("no answer")?.1.to_owned())
}

/// The same as JSON.
pub fn json(address: &str, request: &str) -> Result<Value> {
    let text = ask(address, request)?;
    serde_json::from_str(&text).with_context(|| text.clone())
}

/// Text in a URL.
#[must_use]
pub fn encoded(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
