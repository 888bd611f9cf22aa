//! Questions to the kernel about the links of our own network namespace.

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv, send,
    socket,
};

use crate::network::rtnetlink::{Message, Role, messages, write_request};

/// The most that the kernel puts into one answer (`net/netlink/af_netlink.c`, `netlink_dump`),
/// except for virtual functions, which are not asked for.
const BUFFER_BYTES: usize = 32 << 10;

/// An open socket of rtnetlink, and the memory for its messages: with it, asking allocates nothing.
#[derive(Debug)]
pub struct RouteSocket {
    socket: OwnedFd,
    sequence: u32,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

/// Whether a complete answer is also consistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Answer {
    /// Nothing changed meanwhile.
    Consistent,
    /// Something changed meanwhile: links may be missing, or be there twice.
    Interrupted,
}

impl RouteSocket {
    /// In the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// Where a filter of system calls forbids such sockets, or descriptors are short.
    pub fn open() -> nix::Result<Self> {
        let (family, flags) = (AddressFamily::Netlink, SockFlag::SOCK_CLOEXEC);
        let socket = socket(family, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        // Connected to the kernel, it takes messages of nobody else.
        connect(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0, request: Vec::new(), buffer: vec![0; BUFFER_BYTES] })
    }

    /// Asks, and hands on each message that carries a part of the answer.
    ///
    /// Waits until nobody configures a network device, anywhere on the machine (RTNL). Nothing else
    /// makes it wait: the kernel answers before it returns from sending and from each receipt
    /// (`netlink_dump`).
    ///
    /// # Errors
    ///
    /// If the kernel refuses, or is short of memory. What was handed on by then is not all.
    pub fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut part: impl FnMut(&Message<'_>),
    ) -> nix::Result<Answer> {
        self.sequence = self.sequence.wrapping_add(1);
        write_request(&mut self.request, kind, flags, self.sequence, body);
        send(self.socket.as_raw_fd(), &self.request, MsgFlags::empty())?;
        let mut answer = Answer::Consistent;
        loop {
            for message in messages(receive(&self.socket, &mut self.buffer)?) {
                // What is left of an answer that was given up is not of this one.
                if message.sequence != self.sequence {
                    continue;
                }
                if message.is_interrupted() {
                    answer = Answer::Interrupted;
                }
                match message.role() {
                    Role::Part => part(&message),
                    Role::Whole => {
                        part(&message);
                        return Ok(answer);
                    }
                    Role::End => return Ok(answer),
                    Role::Refusal(errno) => return Err(Errno::from_raw(errno)),
                }
            }
        }
    }
}

fn receive<'b>(socket: &OwnedFd, buffer: &'b mut [u8]) -> nix::Result<&'b [u8]> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
    let length = recv(socket.as_raw_fd(), buffer, flags)?;
    // With this flag the length is the message's own, however much there was room for.
    buffer.get(..length).filter(|bytes| !bytes.is_empty()).ok_or(Errno::EMSGSIZE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::rtnetlink::{
        NLM_F_DUMP, RTM_GETNSID, RTM_GETSTATS, every_count, number_of, parse_stats,
    };

    #[test]
    fn every_link_of_this_namespace_is_told() {
        let mut socket = RouteSocket::open().unwrap();
        let mut indexes = Vec::new();
        let memory = socket.buffer.as_ptr();
        let _ = socket
            .ask(RTM_GETSTATS, NLM_F_DUMP, &every_count(), |message| {
                indexes.extend(parse_stats(message).map(|(index, _)| index));
            })
            .unwrap();
        let table = std::fs::read_to_string("/proc/self/net/dev").unwrap();
        assert_eq!(indexes.len(), table.lines().skip(2).count());
        // `lo` is the first link of every namespace.
        assert!(indexes.contains(&1));
        assert_eq!(socket.buffer.as_ptr(), memory);
    }

    #[test]
    fn a_refusal_is_an_error_and_the_next_question_is_answered() {
        let mut socket = RouteSocket::open().unwrap();
        let no_namespace = std::fs::File::open("/dev/null").unwrap();
        let body = number_of(no_namespace.as_raw_fd() as u32);
        assert_eq!(socket.ask(RTM_GETNSID, 0, &body, |_| {}), Err(Errno::EINVAL));
        let own = std::fs::File::open("/proc/self/ns/net").unwrap();
        let mut answers = 0;
        let body = number_of(own.as_raw_fd() as u32);
        let answer = socket.ask(RTM_GETNSID, 0, &body, |_| answers += 1);
        assert_eq!((answer, answers), (Ok(Answer::Consistent), 1));
    }
}
