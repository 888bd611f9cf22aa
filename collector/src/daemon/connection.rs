//! A connection that does not wait forever for its client.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{self, Sleep},
};

use crate::daemon::published::State;

/// How long a client may take none of what is written to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may take a whole answer, however steadily. Events have no end, so this is the time
/// without a moment in which everything was taken.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Either kind of stream.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// A stream whose writes fail when the client does not read.
pub(super) struct Patient<T> {
    stream: T,
    state: Arc<State>,
    /// Ends with the patience for a single write.
    write: Option<Pin<Box<Sleep>>>,
    /// Ends with the patience for an answer.
    answer: Option<Pin<Box<Sleep>>>,
}

impl<T: Io> Patient<T> {
    pub(super) fn new(stream: T, state: Arc<State>) -> Self {
        Self { stream, state, write: None, answer: None }
    }

    /// What a write came to, unless it has been tried for too long.
    fn judge<R>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.write = None;
            return written;
        }
        let sleep = |timeout| Box::pin(time::sleep(timeout));
        let write = self.write.get_or_insert_with(|| sleep(WRITE_TIMEOUT));
        let answer = self.answer.get_or_insert_with(|| sleep(ANSWER_TIMEOUT));
        if write.as_mut().poll(context).is_pending() && answer.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.state.counts.timeouts.fetch_add(1, Relaxed);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<T: Io> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        // A client that asks the next question has taken the answer to the last one.
        if buffer.filled().len() > filled {
            self.answer = None;
        }
        Poll::Ready(read)
    }
}

impl<T: Io> AsyncWrite for Patient<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judge(context, shut)
    }
}
