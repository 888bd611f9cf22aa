//! The messages of rtnetlink that are asked and answered here.
//!
//! Numbers are in the machine's byte order and aligned to 4 bytes (`include/uapi/linux/netlink.h`).
//! Everything that reads takes any bytes: what is not there or too short is left out.

use std::iter;

/// Asks for links with all that describes them; the body is a `struct ifinfomsg`.
pub const RTM_GETLINK: u16 = 18;
/// A link.
const RTM_NEWLINK: u16 = 16;
/// Asks for the number by which the socket's namespace knows another one.
pub const RTM_GETNSID: u16 = 90;
/// Such a number.
const RTM_NEWNSID: u16 = 88;
/// Asks for counters of links; the body is a `struct if_stats_msg` (Linux 4.7).
pub const RTM_GETSTATS: u16 = 94;
/// Counters of a link.
const RTM_NEWSTATS: u16 = 92;

/// All of a kind, not one.
pub const NLM_F_DUMP: u16 = 0x300;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_MULTI: u16 = 2;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_STATS_LINK_64: u16 = 1;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
/// The upper bits of an attribute's type are flags.
const NLA_TYPE_MASK: u16 = 0x3fff;

const HEADER_BYTES: usize = 16;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// `struct ifinfomsg`
const LINK_BYTES: usize = 16;
/// `struct if_stats_msg`
const STATS_BYTES: usize = 12;
/// `struct rtgenmsg`, with what fills it up
const GENERAL_BYTES: usize = 4;

/// One message of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'b> {
    /// Of the request that it answers.
    pub sequence: u32,
    kind: u16,
    flags: u16,
    body: &'b [u8],
}

/// What a message is for the answer that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A part, and more follow.
    Part,
    /// All of it.
    Whole,
    /// The end, which carries nothing.
    End,
    /// The kernel refuses, with this `errno`.
    Refusal(i32),
}

impl<'b> Message<'b> {
    /// What it is for its answer.
    pub fn role(&self) -> Role {
        // An error is told as a negative number; 0 is none.
        let error = self.body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
        match self.kind {
            NLMSG_ERROR | NLMSG_DONE if error < 0 => Role::Refusal(error.saturating_neg()),
            NLMSG_ERROR | NLMSG_DONE => Role::End,
            _ if self.flags & NLM_F_MULTI != 0 => Role::Part,
            _ => Role::Whole,
        }
    }

    /// Whether something changed while the kernel made the answer, so that parts may be missing.
    pub fn is_interrupted(&self) -> bool {
        self.flags & NLM_F_DUMP_INTR != 0
    }

    fn body_of(&self, kind: u16) -> Option<&'b [u8]> {
        (self.kind == kind).then_some(self.body)
    }
}

/// What a link had carried since it was made, or several links together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
}

impl Traffic {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            rx_bytes: self.rx_bytes.wrapping_add(other.rx_bytes),
            rx_packets: self.rx_packets.wrapping_add(other.rx_packets),
            tx_bytes: self.tx_bytes.wrapping_add(other.tx_bytes),
            tx_packets: self.tx_packets.wrapping_add(other.tx_packets),
        }
    }

    /// The same as the other end of the wire tells it.
    #[must_use]
    pub fn swapped(self) -> Self {
        Self {
            rx_bytes: self.tx_bytes,
            rx_packets: self.tx_packets,
            tx_bytes: self.rx_bytes,
            tx_packets: self.rx_packets,
        }
    }
}

/// Writes a request into `out`, which keeps its memory.
pub fn write_request(out: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, body: &[u8]) {
    let length = (HEADER_BYTES + body.len()) as u32;
    out.clear();
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    // To the kernel.
    out.extend_from_slice(&0u32.to_ne_bytes());
    out.extend_from_slice(body);
}

/// Body of [`RTM_GETLINK`]: every link, without its counters.
pub fn every_link() -> [u8; LINK_BYTES + ATTRIBUTE_HEADER_BYTES + 4] {
    let mut body = [0; LINK_BYTES + ATTRIBUTE_HEADER_BYTES + 4];
    body[LINK_BYTES..].copy_from_slice(&attribute(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS));
    body
}

/// Body of [`RTM_GETSTATS`]: the plain counters of every link.
pub fn every_count() -> [u8; STATS_BYTES] {
    let mut body = [0; STATS_BYTES];
    let filter = 1u32 << (IFLA_STATS_LINK_64 - 1);
    body[8..].copy_from_slice(&filter.to_ne_bytes());
    body
}

/// Body of [`RTM_GETNSID`]: of the namespace that is open at a descriptor.
pub fn number_of(descriptor: u32) -> [u8; GENERAL_BYTES + ATTRIBUTE_HEADER_BYTES + 4] {
    let mut body = [0; GENERAL_BYTES + ATTRIBUTE_HEADER_BYTES + 4];
    body[GENERAL_BYTES..].copy_from_slice(&attribute(NETNSA_FD, descriptor));
    body
}

/// The messages in what was received at once.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let body = bytes.get(HEADER_BYTES..length)?;
        let message = Message {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            body,
        };
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some(message)
    })
}

/// A link's index and its counters; `None` if the message tells something else.
pub fn parse_stats(message: &Message<'_>) -> Option<(u32, Traffic)> {
    let body = message.body_of(RTM_NEWSTATS)?;
    let index = u32_at(body, 4)?;
    let counters = find(body.get(STATS_BYTES..)?, IFLA_STATS_LINK_64)?;
    // `struct rtnl_link_stats64` begins with these four.
    let at =
        |position: usize| Some(u64::from_ne_bytes(*counters.get(8 * position..)?.first_chunk()?));
    let traffic =
        Traffic { rx_packets: at(0)?, tx_packets: at(1)?, rx_bytes: at(2)?, tx_bytes: at(3)? };
    Some((index, traffic))
}

/// A link's index and the number of the namespace of its other end; `None` unless the message tells
/// of an end of a veth pair that has its other end in another namespace.
pub fn parse_veth(message: &Message<'_>) -> Option<(u32, i32)> {
    let body = message.body_of(RTM_NEWLINK)?;
    let index = u32_at(body, 4)?;
    let attributes = body.get(LINK_BYTES..)?;
    let kind = find(find(attributes, IFLA_LINKINFO)?, IFLA_INFO_KIND)?;
    let number = find(attributes, IFLA_LINK_NETNSID)?;
    (kind == b"veth\0").then_some((index, i32::from_ne_bytes(*number.first_chunk()?)))
}

/// The number of a namespace; `None` if it has none, or the message tells something else.
pub fn parse_number(message: &Message<'_>) -> Option<i32> {
    let body = message.body_of(RTM_NEWNSID)?;
    let number = find(body.get(GENERAL_BYTES..)?, NETNSA_NSID)?;
    Some(i32::from_ne_bytes(*number.first_chunk()?)).filter(|number| *number >= 0)
}

fn attribute(kind: u16, value: u32) -> [u8; ATTRIBUTE_HEADER_BYTES + 4] {
    let mut bytes = [0; ATTRIBUTE_HEADER_BYTES + 4];
    bytes[..2].copy_from_slice(&((ATTRIBUTE_HEADER_BYTES + 4) as u16).to_ne_bytes());
    bytes[2..4].copy_from_slice(&kind.to_ne_bytes());
    bytes[4..].copy_from_slice(&value.to_ne_bytes());
    bytes
}

/// The first attribute of a kind.
fn find(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(bytes, 0)?);
        let value = bytes.get(ATTRIBUTE_HEADER_BYTES..length)?;
        if u16_at(bytes, 2)? & NLA_TYPE_MASK == wanted {
            return Some(value);
        }
        bytes = bytes.get(aligned(length)..)?;
    }
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_attributes(head: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = head.to_vec();
        for (kind, value) in attributes {
            bytes.extend(((ATTRIBUTE_HEADER_BYTES + value.len()) as u16).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(aligned(bytes.len()), 0);
        }
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Message<'_> {
        Message { sequence: 0, kind, flags: 0, body }
    }

    /// The head of a link's body, whichever kind it is.
    fn head(length: usize, index: u32) -> Vec<u8> {
        let mut head = vec![0; length];
        head[4..8].copy_from_slice(&index.to_ne_bytes());
        head
    }

    fn link(kind: &[u8], number: Option<i32>) -> Vec<u8> {
        let info = with_attributes(&[], &[(IFLA_INFO_KIND, kind)]);
        let number = number.map(i32::to_ne_bytes);
        let mut attributes: Vec<(u16, &[u8])> = vec![(3, b"name\0"), (IFLA_LINKINFO, &info)];
        attributes.extend(number.as_ref().map(|number| (IFLA_LINK_NETNSID, &number[..])));
        with_attributes(&head(LINK_BYTES, 7), &attributes)
    }

    #[test]
    fn only_ends_of_pairs_across_namespaces_are_told() {
        let of = |kind: &[u8], number| parse_veth(&message(RTM_NEWLINK, &link(kind, number)));
        assert_eq!(of(b"veth\0", Some(0)), Some((7, 0)));
        assert_eq!(of(b"veth\0", None), None);
        assert_eq!(of(b"macvlan\0", Some(3)), None);
    }

    #[test]
    fn counters_are_found_behind_what_aligns_them() {
        let numbers: Vec<u8> = (1..=24u64).flat_map(u64::to_ne_bytes).collect();
        let body =
            with_attributes(&head(STATS_BYTES, 9), &[(0, &[]), (IFLA_STATS_LINK_64, &numbers)]);
        let traffic = Traffic { rx_packets: 1, tx_packets: 2, rx_bytes: 3, tx_bytes: 4 };
        assert_eq!(parse_stats(&message(RTM_NEWSTATS, &body)), Some((9, traffic)));
        let swapped = Traffic { rx_packets: 2, tx_packets: 1, rx_bytes: 4, tx_bytes: 3 };
        assert_eq!(traffic.swapped(), swapped);
    }

    #[test]
    fn a_namespace_without_a_number_has_none() {
        let of = |number: i32| {
            let attribute = (NETNSA_NSID, &number.to_ne_bytes()[..]);
            let body = with_attributes(&[0; GENERAL_BYTES], &[attribute]);
            parse_number(&message(RTM_NEWNSID, &body))
        };
        assert_eq!(of(0), Some(0));
        assert_eq!(of(-1), None);
    }

    #[test]
    fn what_is_written_is_read_message_by_message() {
        let (mut first, mut bytes) = (Vec::new(), Vec::new());
        write_request(&mut first, RTM_GETSTATS, NLM_F_DUMP, 5, b"seven..");
        write_request(&mut bytes, NLMSG_DONE, NLM_F_MULTI, 6, &(-16i32).to_ne_bytes());
        first.resize(aligned(first.len()), 0);
        first.extend(bytes);
        let read: Vec<_> = messages(&first).collect();
        assert_eq!((read.len(), read[0].kind, read[0].sequence), (2, RTM_GETSTATS, 5));
        assert_eq!((read[0].body, read[0].role()), (&b"seven.."[..], Role::Whole));
        assert_eq!((read[1].sequence, read[1].role()), (6, Role::Refusal(16)));
    }

    fn parse_all(bytes: &[u8]) {
        parse_stats(&message(RTM_NEWSTATS, bytes));
        parse_veth(&message(RTM_NEWLINK, bytes));
        parse_number(&message(RTM_NEWNSID, bytes));
        for message in messages(bytes) {
            message.role();
            parse_stats(&message);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>) {
            parse_all(&bytes);
        }

        /// Lengths that nearly fit lead further in than any bytes do.
        #[test]
        fn any_lengths_are_taken(parts in prop::collection::vec((0u16..40, 0u16..40), 0..12)) {
            let part = |(length, kind): (u16, u16)| with_attributes(
                &[&length.to_ne_bytes()[..], &kind.to_ne_bytes()[..]].concat(), &[(kind, &[0; 8])]);
            let bytes: Vec<u8> = parts.into_iter().flat_map(part).collect();
            prop_assert!(messages(&bytes).count() <= bytes.len() / HEADER_BYTES);
            parse_all(&bytes);
            for length in 0..bytes.len() {
                parse_all(&bytes[length..]);
            }
        }
    }
}
