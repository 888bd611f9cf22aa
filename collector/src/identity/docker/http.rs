//! GET requests over a unix socket, each on a connection of its own.

use std::{io, path::Path};

use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use memchr::memchr;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    net::UnixStream,
    task::{self, JoinHandle},
    time,
};

use crate::identity::client::CALL_TIMEOUT;

/// Most bytes of a response; the list of 10,000 containers takes some 20 MB.
const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// How the name of the server begins in the answers of `faces/docker`.
const SERVER_OF_TARE: &str = "Tare/";

/// Most bytes of a line in a stream.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("no answer within {} s", CALL_TIMEOUT.as_secs())]
    Timeout,
    /// An answer other than success, with the server's explanation.
    #[error("{status}: {message}")]
    Status { status: StatusCode, message: String },
    /// The answer is from the Engine API of Tare, this process or another.
    #[error("Tare itself serves this socket")]
    ServedByTare,
    #[error("unexpected JSON")]
    Json(#[from] serde_json::Error),
    #[error("response too large")]
    TooLarge,
    #[error("request failed")]
    Hyper(#[from] hyper::Error),
    #[error("invalid request")]
    Request(#[from] hyper::http::Error),
    #[error("connection failed")]
    Io(#[from] io::Error),
}

/// Requests `target` and parses the response, within [`CALL_TIMEOUT`].
pub(super) async fn get_json<T: DeserializeOwned>(
    socket: &Path,
    target: &str,
) -> Result<T, HttpError> {
    let call = async {
        let (response, _connection) = send(socket, target).await?;
        Ok(serde_json::from_slice(&collect(response).await?)?)
    };
    time::timeout(CALL_TIMEOUT, call).await.unwrap_or(Err(HttpError::Timeout))
}

/// Requests `target`, whose response is an endless stream of lines. Waits for the response for
/// ever: a server may send the head with the first line.
pub(super) async fn get_lines(socket: &Path, target: &str) -> Result<Lines, HttpError> {
    let (response, connection) = send(socket, target).await?;
    Ok(Lines { body: response.into_body(), buffer: Vec::new(), _connection: connection })
}

/// A stream of lines.
pub(super) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    _connection: Connection,
}

impl Lines {
    /// Waits for the next line; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        loop {
            if let Some(end) = memchr(b'\n', &self.buffer) {
                let rest = self.buffer.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            if self.buffer.len() > MAX_LINE_BYTES {
                return Err(HttpError::TooLarge);
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Some(data) = frame?.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                None => return Ok(None),
            }
        }
    }
}

/// The task that drives a connection, aborted on drop.
struct Connection(JoinHandle<hyper::Result<()>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn send(socket: &Path, target: &str) -> Result<(Response<Incoming>, Connection), HttpError> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = Connection(task::spawn(connection));
    let request = Request::get(target).header(header::HOST, "localhost");
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let server = response.headers().get(header::SERVER);
    if server.is_some_and(|server| server.as_bytes().starts_with(SERVER_OF_TARE.as_bytes())) {
        return Err(HttpError::ServedByTare);
    }
    let status = response.status();
    if status.is_success() {
        return Ok((response, connection));
    }
    Err(HttpError::Status { status, message: message(&collect(response).await?) })
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, HttpError> {
    match Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(HttpError::TooLarge),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(error) => HttpError::Hyper(*error),
            Err(error) => HttpError::Io(io::Error::other(error)),
        }),
    }
}

/// The explanation in the body of an error.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body {
        message: String,
    }
    serde_json::from_slice::<Body>(body).map(|body| body.message).unwrap_or_default()
}
