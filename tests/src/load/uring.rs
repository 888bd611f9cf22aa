//! Sending and receiving through io_uring, one request at a time.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use anyhow::{Context as _, Result};
use io_uring::{IoUring, opcode, squeue, types::Fd};

/// Size of the ring; one request at a time is in flight.
const ENTRIES: u32 = 2;

/// A ring.
pub(super) struct Ring(Box<IoUring>);

impl Ring {
    pub(super) fn new() -> Result<Self> {
        IoUring::new(ENTRIES).map(|ring| Self(Box::new(ring))).context("io_uring_setup")
    }

    /// `IORING_OP_SEND`.
    pub(super) fn send(&mut self, to: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len() as u32;
        let send = opcode::Send::new(Fd(to.as_raw_fd()), bytes.as_ptr(), length);
        // SAFETY: `bytes` and the socket are borrowed until the request is done.
        unsafe { self.complete(&send.build()) }
    }

    /// `IORING_OP_RECV`.
    pub(super) fn receive(&mut self, from: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
        let length = into.len() as u32;
        let receive = opcode::Recv::new(Fd(from.as_raw_fd()), into.as_mut_ptr(), length);
        // SAFETY: as above; `into` is borrowed exclusively.
        unsafe { self.complete(&receive.build()) }
    }

    /// Submits a request and waits for its end.
    ///
    /// # Safety
    ///
    /// What the request points to stays valid until this returns.
    unsafe fn complete(&mut self, entry: &squeue::Entry) -> io::Result<usize> {
        // SAFETY: the caller's promise.
        unsafe { self.0.submission().push(entry) }.map_err(io::Error::other)?;
        // A signal may end the wait before the request ends.
        while self.0.completion().is_empty() {
            match self.0.submit_and_wait(1) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        let result = self.0.completion().next().map_or(0, |entry| entry.result());
        usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
    }
}
