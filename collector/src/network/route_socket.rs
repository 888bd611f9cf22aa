//! A socket of rtnetlink.

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv,
        send, socket,
    },
};
use tare_parsers::rtnetlink::{Message, Role, messages, write_request};

/// The longest datagram of a dump (`net/netlink/af_netlink.c`, `netlink_dump`). Only messages about
/// virtual functions are longer, which are not requested.
const BUFFER_BYTES: usize = 32 << 10;

/// An open socket of rtnetlink with its buffers. Requests allocate nothing.
#[derive(Debug)]
pub(super) struct RouteSocket {
    socket: OwnedFd,
    sequence: u32,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

/// Whether the set of links changed during a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Completeness {
    /// It did not change.
    Consistent,
    /// It changed: links may be missing or returned twice.
    Interrupted,
}

impl RouteSocket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// If a seccomp filter forbids netlink sockets, or too many files are open.
    pub(super) fn open() -> nix::Result<Self> {
        let (family, flags) = (AddressFamily::Netlink, SockFlag::SOCK_CLOEXEC);
        let socket = socket(family, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        // A socket that is connected to the kernel receives from the kernel only.
        connect(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0, request: Vec::new(), buffer: vec![0; BUFFER_BYTES] })
    }

    /// Sends a request and calls `on_message` for each message of the answer.
    ///
    /// It waits while another process configures a network device anywhere on the machine (RTNL).
    /// It waits for nothing else: the kernel writes the answer during `send` and `recv`
    /// (`netlink_dump`).
    ///
    /// # Errors
    ///
    /// If the kernel refuses the request or is short of memory. `on_message` may then have been
    /// called for a part of the answer.
    pub(super) fn request(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut on_message: impl FnMut(&Message<'_>),
    ) -> nix::Result<Completeness> {
        self.sequence = self.sequence.wrapping_add(1);
        write_request(&mut self.request, kind, flags, self.sequence, body);
        send(self.socket.as_raw_fd(), &self.request, MsgFlags::empty())?;
        let mut completeness = Completeness::Consistent;
        loop {
            for message in messages(receive(&self.socket, &mut self.buffer)?) {
                // A rest of the answer to an earlier request that failed.
                if message.sequence() != self.sequence {
                    continue;
                }
                if message.is_interrupted() {
                    completeness = Completeness::Interrupted;
                }
                match message.role() {
                    Role::Part => on_message(&message),
                    Role::Whole => {
                        on_message(&message);
                        return Ok(completeness);
                    }
                    Role::End => return Ok(completeness),
                    Role::Error(errno) => return Err(Errno::from_raw(errno)),
                }
            }
        }
    }
}

fn receive<'b>(socket: &OwnedFd, buffer: &'b mut [u8]) -> nix::Result<&'b [u8]> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
    let length = recv(socket.as_raw_fd(), buffer, flags)?;
    // With `MSG_TRUNC` the length is that of the whole datagram, which may exceed the buffer.
    buffer.get(..length).filter(|bytes| !bytes.is_empty()).ok_or(Errno::EMSGSIZE)
}

#[cfg(test)]
mod tests {
    use tare_parsers::rtnetlink::{
        NLM_F_DUMP, RTM_GETNSID, RTM_GETSTATS, getnsid_body, getstats_body, parse_link_counters,
    };

    use super::*;

    #[test]
    fn a_dump_returns_every_link_of_this_namespace() {
        let mut socket = RouteSocket::open().unwrap();
        let mut indexes = Vec::new();
        let memory = socket.buffer.as_ptr();
        let _ = socket
            .request(RTM_GETSTATS, NLM_F_DUMP, &getstats_body(), |message| {
                indexes.extend(parse_link_counters(message).map(|(index, _)| index));
            })
            .unwrap();
        let table = std::fs::read_to_string("/proc/self/net/dev").unwrap();
        assert_eq!(indexes.len(), table.lines().skip(2).count());
        // `lo` is the first link of every namespace.
        assert!(indexes.contains(&1));
        assert_eq!(socket.buffer.as_ptr(), memory);
    }

    #[test]
    fn after_a_refused_request_the_next_one_is_answered() {
        let mut socket = RouteSocket::open().unwrap();
        let no_namespace = std::fs::File::open("/dev/null").unwrap();
        let body = getnsid_body(no_namespace.as_raw_fd() as u32);
        assert_eq!(socket.request(RTM_GETNSID, 0, &body, |_| {}), Err(Errno::EINVAL));
        let own = std::fs::File::open("/proc/self/ns/net").unwrap();
        let mut answers = 0;
        let body = getnsid_body(own.as_raw_fd() as u32);
        let answer = socket.request(RTM_GETNSID, 0, &body, |_| answers += 1);
        assert_eq!((answer, answers), (Ok(Completeness::Consistent), 1));
    }
}
