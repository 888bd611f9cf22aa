//! Raw frames of an unknown protocol, sent from a device.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use clap::Args;
use nix::{errno::Errno, libc, net::if_::if_nametoindex};
use serde_json::{Value, json};

/// The first of the two Ethernet types for local experiments (IEEE 802).
const ETHERTYPE: u16 = 0x88b5;
/// Bytes of a frame: the shortest that Ethernet has.
const LENGTH: usize = 60;

#[derive(Args, Debug)]
pub(super) struct Frame {
    /// The device.
    #[arg(long)]
    device: String,
    /// How many.
    #[arg(long, default_value_t = 1)]
    count: u32,
}

impl Frame {
    pub(super) fn apply(self) -> Result<Value> {
        let index = if_nametoindex(self.device.as_str()).context("the device")?;
        // SAFETY: takes no pointers; the new descriptor has no other owner.
        let socket = unsafe {
            let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
            OwnedFd::from_raw_fd(Errno::result(socket).context("a packet socket")?)
        };
        // SAFETY: plain integers, for which zero is a value.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = i32::try_from(index).context("the device's index")?;
        // Broadcast, from a locally administered address.
        let mut frame = [0; LENGTH];
        frame[..6].fill(0xff);
        frame[6] = 0x02;
        frame[12..14].copy_from_slice(&ETHERTYPE.to_be_bytes());
        for _ in 0..self.count {
            // SAFETY: frame and address are alive, with their lengths.
            let sent = unsafe {
                libc::sendto(
                    socket.as_raw_fd(),
                    frame.as_ptr().cast(),
                    frame.len(),
                    0,
                    (&raw const to).cast(),
                    size_of_val(&to) as libc::socklen_t,
                )
            };
            Errno::result(sent).context("send a frame")?;
        }
        Ok(json!({ "load": "frame", "count": self.count }))
    }
}
