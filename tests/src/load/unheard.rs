//! A datagram to a closed port, and its copy in the error queue.

use std::{
    io::IoSliceMut,
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt::Ipv4RecvErr},
};
use serde_json::{Value, json};

/// Limit for the ICMP error on the loopback device.
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
        let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        socket.connect(closed)?;
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
