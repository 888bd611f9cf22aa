//! Unary gRPC calls over a unix socket.
//!
//! On top of hyper's HTTP/2 a unary call is a prefix of five bytes and a status in the trailers.
//! tonic, and what only it needs, took 13 s of the 387 s of CPU time that all dependencies of a
//! release build took.

use std::{
    io,
    path::{Path, PathBuf},
};

use http_body_util::{BodyExt as _, Collected, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http2::{self, SendRequest},
    header::{CONTENT_TYPE, TE},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use percent_encoding::percent_decode_str;
use prost::Message;
use tokio::{
    net::UnixStream,
    task::{self, JoinHandle},
    time,
};

use crate::identity::client::CALL_TIMEOUT;

/// Most bytes of a response, as in the kubelet.
const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// Before a message: whether it is compressed (0: it is not), and its length as a big-endian u32.
const PREFIX_BYTES: usize = 5;

const OK: u16 = 0;
const UNKNOWN: u16 = 2;
const NOT_FOUND: u16 = 5;
const UNIMPLEMENTED: u16 = 12;

/// A client that connects again when its connection was closed.
pub(super) struct GrpcClient {
    socket: PathBuf,
    connection: Connection,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum GrpcError {
    #[error("no answer within {} s", CALL_TIMEOUT.as_secs())]
    Timeout,
    /// The server answered with an error.
    #[error("{message}")]
    Status { code: u16, message: String },
    #[error("HTTP status {0}")]
    Http(StatusCode),
    #[error("response too large")]
    TooLarge,
    #[error("malformed response")]
    Malformed,
    #[error("malformed message")]
    Message(#[from] prost::DecodeError),
    #[error("invalid request")]
    Request(#[from] hyper::http::Error),
    #[error("request failed")]
    Hyper(#[from] hyper::Error),
    #[error("connection failed")]
    Io(#[from] io::Error),
}

impl GrpcClient {
    /// Connects to a server.
    pub(super) async fn connect(socket: &Path) -> Result<Self, GrpcError> {
        Ok(Self { socket: socket.to_owned(), connection: Connection::open(socket).await? })
    }

    /// Calls a method, within [`CALL_TIMEOUT`]. `header` is added to the request.
    pub(super) async fn call<Q: Message, A: Message + Default>(
        &mut self,
        path: &str,
        header: Option<(&str, &str)>,
        request: &Q,
    ) -> Result<A, GrpcError> {
        let call = async {
            if self.connection.sender.is_closed() {
                self.connection = Connection::open(&self.socket).await?;
            }
            let sender = &mut self.connection.sender;
            sender.ready().await?;
            let mut builder = Request::post(format!("http://localhost{path}"))
                .header(CONTENT_TYPE, "application/grpc")
                .header(TE, "trailers");
            if let Some((name, value)) = header {
                builder = builder.header(name, value);
            }
            let request = builder.body(Full::new(encode(request)))?;
            decode(sender.send_request(request).await?).await
        };
        time::timeout(CALL_TIMEOUT, call).await.unwrap_or(Err(GrpcError::Timeout))
    }
}

impl GrpcError {
    /// Whether the server works but does not know the object or the method. containerd's CRI says
    /// `NotFound`, or `Unknown` with these words; containerd without CRI says `Unimplemented`.
    pub(super) fn is_not_found(&self) -> bool {
        match self {
            Self::Status { code: NOT_FOUND | UNIMPLEMENTED, .. } => true,
            Self::Status { code: UNKNOWN, message } => message.contains("not found"),
            _ => false,
        }
    }
}

/// An HTTP/2 connection, and the task that drives it, aborted on drop.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<hyper::Result<()>>,
}

impl Connection {
    async fn open(socket: &Path) -> Result<Self, GrpcError> {
        let stream = UnixStream::connect(socket).await?;
        let executor = TokioExecutor::new();
        let (sender, connection) = http2::handshake(executor, TokioIo::new(stream)).await?;
        Ok(Self { sender, task: task::spawn(connection) })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn encode(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut body = Vec::with_capacity(PREFIX_BYTES + length);
    body.push(0);
    // Requests hold little but an id.
    body.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    body.extend_from_slice(&message.encode_to_vec());
    body.into()
}

async fn decode<A: Message + Default>(response: Response<Incoming>) -> Result<A, GrpcError> {
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Err(GrpcError::Http(head.status));
    }
    let body = collect(body).await?;
    // Without a message, the status is in the headers.
    match status(body.trailers().unwrap_or(&head.headers))? {
        (OK, _) => {
            let body = body.to_bytes();
            let (prefix, message) =
                body.split_at_checked(PREFIX_BYTES).ok_or(GrpcError::Malformed)?;
            // No compression was offered, so there is none.
            let [0, length @ ..] = prefix else { return Err(GrpcError::Malformed) };
            let is_whole =
                length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)) == message.len();
            if !is_whole {
                return Err(GrpcError::Malformed);
            }
            Ok(A::decode(message)?)
        }
        (code, message) => Err(GrpcError::Status { code, message }),
    }
}

async fn collect(body: Incoming) -> Result<Collected<Bytes>, GrpcError> {
    match Limited::new(body, MAX_RESPONSE_BYTES).collect().await {
        Ok(body) => Ok(body),
        Err(error) if error.is::<LengthLimitError>() => Err(GrpcError::TooLarge),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(error) => GrpcError::Hyper(*error),
            Err(error) => GrpcError::Io(io::Error::other(error)),
        }),
    }
}

/// The status code and its message.
fn status(headers: &HeaderMap) -> Result<(u16, String), GrpcError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let code = text("grpc-status").and_then(|code| code.parse().ok());
    let message = percent_decode_str(text("grpc-message").unwrap_or_default());
    Ok((code.ok_or(GrpcError::Malformed)?, message.decode_utf8_lossy().into_owned()))
}
