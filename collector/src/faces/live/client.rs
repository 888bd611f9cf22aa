//! One client of `/api/v1/live`.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time;
use tokio_websockets::{CloseCode, Error, Limits, Message, ServerBuilder, WebSocketStream};

use crate::{
    faces::live::group::Feed,
    server::{Admission, Context, Takeover},
};

/// The longest message that is read, in bytes. No message but control frames is expected.
const INCOMING_BYTES_MAX: usize = 1024;

/// Time between two pings, which show both sides that the other one is still there.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// A client that has sent nothing for so long, not even the answer to a ping, is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long the closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A client whose connection has become a websocket.
pub(super) struct Client {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    context: Rc<Context>,
    admission: Admission,
    /// The number of the last message that was sent.
    last: Option<u64>,
    heard_at: Instant,
}

/// Sends a client the messages of a feed until one of the two sides ends it. `_place` is held for
/// as long.
pub(super) async fn serve(
    takeover: Takeover,
    feed: Rc<dyn Feed>,
    context: Rc<Context>,
    _place: Rc<()>,
) {
    let Takeover { upgrade, admission, open: _open } = takeover;
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "a connection has not become a websocket");
            return;
        }
    };
    let limits = Limits::default().max_payload_len(Some(INCOMING_BYTES_MAX));
    let socket = ServerBuilder::new().limits(limits).serve(TokioIo::new(upgraded));
    let mut client = Client { socket, context, admission, last: None, heard_at: Instant::now() };
    if let Err(error) = client.run(&*feed).await {
        tracing::debug!(%error, "a websocket has ended");
    }
    // The other side may be gone already.
    let _ = time::timeout(CLOSE_TIMEOUT, client.socket.close()).await;
}

impl Client {
    async fn run(&mut self, feed: &dyn Feed) -> Result<(), Error> {
        let mut ticks = feed.ticks();
        ticks.mark_changed();
        let mut config = self.context.watch_config();
        let mut ending = self.context.ending();
        let mut pings = time::interval(PING_INTERVAL);
        loop {
            tokio::select! {
                incoming = self.socket.next() => {
                    let Some(message) = incoming.transpose()? else { return Ok(()) };
                    self.heard_at = Instant::now();
                    if message.is_text() || message.is_binary() {
                        let reason = "this address takes no messages";
                        return self.end(CloseCode::POLICY_VIOLATION, reason).await;
                    }
                }
                Ok(()) = ticks.changed() => {
                    for message in feed.messages(&mut self.last) {
                        self.socket.send(Message::text(message)).await?;
                    }
                }
                Ok(()) = config.changed() => {
                    let is_valid = self.admission.is_valid(&config.borrow_and_update());
                    if !is_valid {
                        let reason = "the key is not valid any more";
                        return self.end(CloseCode::POLICY_VIOLATION, reason).await;
                    }
                }
                _ = ending.wait_for(|ending| *ending) => {
                    return self.end(CloseCode::GOING_AWAY, "the daemon ends").await;
                }
                _ = pings.tick() => {
                    if self.heard_at.elapsed() > SILENCE_MAX {
                        return Ok(());
                    }
                    self.socket.send(Message::ping("")).await?;
                }
            }
        }
    }

    async fn end(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.socket.send(Message::close(Some(code), reason)).await
    }
}
