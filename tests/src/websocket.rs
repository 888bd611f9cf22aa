//! A blocking websocket client for daemons that listen at a unix socket.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderName, HeaderValue, Uri};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    runtime::{self, Runtime},
    time::timeout,
};
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use crate::wait::PATIENCE;

/// An open websocket.
pub struct WebSocket {
    runtime: Runtime,
    stream: WebSocketStream<Box<dyn Stream>>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

impl WebSocket {
    /// Opens a path of a daemon at a unix socket, with further headers.
    pub fn open(socket: &Path, path: &str, headers: &[(&'static str, &str)]) -> Result<Self> {
        let stream = async { Ok(Box::new(UnixStream::connect(socket).await?) as Box<dyn Stream>) };
        Self::open_on("localhost", stream, path, headers)
    }

    /// Opens a path of a daemon over TCP, with further headers.
    pub fn open_tcp(address: &str, path: &str, headers: &[(&'static str, &str)]) -> Result<Self> {
        let stream = async { Ok(Box::new(TcpStream::connect(address).await?) as Box<dyn Stream>) };
        Self::open_on(address, stream, path, headers)
    }

    fn open_on(
        host: &str,
        stream: impl Future<Output = Result<Box<dyn Stream>>>,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let uri: Uri = format!("ws://{host}{path}").parse().context(path.to_owned())?;
        let mut builder = ClientBuilder::from_uri(uri);
        for (name, value) in headers {
            let name = HeaderName::from_static(name);
            builder = builder.add_header(name, HeaderValue::from_str(value)?)?;
        }
        let open = async { Ok::<_, anyhow::Error>(builder.connect_on(stream.await?).await?.0) };
        let stream = runtime.block_on(async { timeout(PATIENCE, open).await });
        let stream = stream.context("no answer")?.with_context(|| format!("open {path}"))?;
        Ok(Self { runtime, stream })
    }

    /// The next message.
    pub fn message(&mut self) -> Result<Value> {
        loop {
            let next = self.runtime.block_on(async { timeout(PATIENCE, self.stream.next()).await });
            let message = next.context("no message")?.context("the websocket has ended")??;
            if let Some(text) = message.as_text() {
                return serde_json::from_str(text).with_context(|| text.to_owned());
            }
            ensure!(!message.is_close(), "closed: {:?}", message.as_close());
        }
    }

    /// Sends a text.
    pub fn send(&mut self, text: &str) -> Result<()> {
        let message = Message::text(text.to_owned());
        Ok(self.runtime.block_on(self.stream.send(message))?)
    }

    /// Sends bytes that need not be a frame.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.runtime.block_on(self.stream.get_mut().write_all(bytes))?)
    }

    /// The code with which the other side closes, and its reason. Messages before are skipped.
    pub fn closed(&mut self) -> Result<(u16, String)> {
        loop {
            let next = self.runtime.block_on(async { timeout(PATIENCE, self.stream.next()).await });
            let Some(message) = next.context("it does not close")? else { bail!("no reason") };
            if let Some((code, reason)) = message?.as_close() {
                return Ok((code.into(), reason.to_owned()));
            }
        }
    }
}
