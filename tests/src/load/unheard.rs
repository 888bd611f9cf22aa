//! A datagram that nobody takes, and what the error queue gives back of it.

use std::io::IoSliceMut;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt::Ipv4RecvErr};
use serde_json::{Value, json};

/// How long the answer that nobody listens may take on the loopback.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub(super) struct Unheard {
    /// How long the datagram is.
    #[arg(long)]
    bytes: usize,
}

impl Unheard {
    pub(super) fn apply(self) -> Result<Value> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        setsockopt(&socket, Ipv4RecvErr, &true).context("ask for errors")?;
        // A port that was free a moment ago.
        let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        socket.connect(nobody)?;
        let sent = socket.send(&vec![0; self.bytes])?;
        let begun = Instant::now();
        let returned = loop {
            let mut buffer = vec![0; self.bytes];
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            match recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, None, flags) {
                Ok(message) => break message.bytes,
                Err(Errno::EAGAIN) if begun.elapsed() < PATIENCE => std::thread::yield_now(),
                Err(error) => bail!("nothing in the error queue: {error}"),
            }
        };
        Ok(json!({ "load": "unheard", "bytes": sent, "returned_bytes": returned }))
    }
}
