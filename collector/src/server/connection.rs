//! A connection that gives up on a client that does not read.

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

use crate::published::ServerCounts;

/// How long a client may take nothing of what is written to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to read a whole answer, however steadily. For a stream, which has no
/// end, it is the time without a moment in which everything written was taken.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A TCP, TLS or unix stream.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A stream whose writes fail when the client does not read.
pub(super) struct WriteTimeout<T> {
    stream: T,
    counts: Arc<ServerCounts>,
    /// Runs while a write waits.
    write: Option<Pin<Box<Sleep>>>,
    /// Runs while an answer waits.
    answer: Option<Pin<Box<Sleep>>>,
}

impl<T: Io> WriteTimeout<T> {
    pub(super) fn new(stream: T, counts: Arc<ServerCounts>) -> Self {
        Self { stream, counts, write: None, answer: None }
    }

    /// Passes on the result of a write, or fails if the write has waited for too long.
    fn limited<R>(
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
        self.counts.timeouts.fetch_add(1, Relaxed);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<T: Io> AsyncRead for WriteTimeout<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        // A client that sends the next request has read the answer to the last one.
        if buffer.filled().len() > filled {
            self.answer = None;
        }
        Poll::Ready(read)
    }
}

impl<T: Io> AsyncWrite for WriteTimeout<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.limited(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.limited(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.limited(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.limited(context, shut)
    }
}
