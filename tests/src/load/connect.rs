//! Connections that are made, refused or aborted, without data.

use std::{
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use nix::{
    errno::Errno,
    libc,
    sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage},
};
use serde_json::{Value, json};

use super::units;

#[derive(Args, Debug)]
pub(super) struct Connect {
    /// Where to.
    #[arg(long, value_name = "IP:PORT")]
    addr: SocketAddr,
    /// How many connections, one after the other.
    #[arg(long, default_value_t = 1)]
    count: u32,
    /// Expect every attempt to be refused.
    #[arg(long)]
    refused: bool,
    /// Expect no answer, and close each attempt after this time.
    #[arg(long, value_parser = units::duration, conflicts_with = "refused")]
    give_up_after: Option<Duration>,
}

impl Connect {
    pub(super) fn apply(self) -> Result<Value> {
        let mut retransmits = 0;
        for _ in 0..self.count {
            match (self.give_up_after, TcpStream::connect) {
                (Some(patience), _) => retransmits += give_up(self.addr, patience)?,
                (None, connect) => match (connect(self.addr), self.refused) {
                    (Ok(stream), false) => super::receive::wait_for_end(&stream)?,
                    (Err(error), true) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    }
                    (result, _) => bail!("connect to {}: {result:?}", self.addr),
                },
            }
        }
        Ok(json!({ "load": "connect", "count": self.count, "retransmits": retransmits }))
    }
}

/// Starts a connection that gets no answer; the number of retransmitted SYNs.
fn give_up(addr: SocketAddr, patience: Duration) -> Result<u32> {
    let family = if addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket: OwnedFd =
        socket::socket(family, SockType::Stream, flags, None).context("socket")?;
    let asked = socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(addr));
    ensure!(asked == Err(Errno::EINPROGRESS), "connect to {addr}: {asked:?}");
    let end = Instant::now() + patience;
    while Instant::now() < end {
        sleep(Duration::from_millis(10));
    }
    total_retransmits(&socket)
}

/// Segments that a TCP socket retransmitted.
pub(super) fn total_retransmits(socket: impl AsFd) -> Result<u32> {
    // SAFETY: plain integers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the pointers are to `info` and its length, both alive.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    Errno::result(done).context("TCP_INFO")?;
    Ok(info.tcpi_total_retrans)
}
