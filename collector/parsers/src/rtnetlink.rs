//! Messages of rtnetlink: the requests that Tare sends and the parts of the answers that it reads.
//!
//! Headers and attributes are read with `netlink-packet-core`, which allocates nothing for them.
//! The bodies are read here: the types of `netlink-packet-route` allocate for every attribute (a
//! dump of 200 veth devices: 202 allocations for counters, 4,625 for links), and refuse a message
//! of a newer kernel because of one attribute that Tare does not need.
//!
//! Messages and attributes that are missing, too short or of another kind are skipped.

use std::iter;

use netlink_packet_core::{
    Emitable as _, NLA_HEADER_SIZE, NLM_F_DUMP_INTR, NLM_F_MULTIPART, NLM_F_REQUEST, NLMSG_ALIGNTO,
    NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NlasIterator,
};

pub use netlink_packet_core::NLM_F_DUMP;

/// Request for links. Its body is a `struct ifinfomsg`.
pub const RTM_GETLINK: u16 = 18;
/// Answer to [`RTM_GETLINK`].
const RTM_NEWLINK: u16 = 16;
/// Request for the nsid of a namespace, which is relative to the namespace of the socket.
pub const RTM_GETNSID: u16 = 90;
/// Answer to [`RTM_GETNSID`].
const RTM_NEWNSID: u16 = 88;
/// Request for the counters of links (Linux 4.7). Its body is a `struct if_stats_msg`.
pub const RTM_GETSTATS: u16 = 94;
/// Answer to [`RTM_GETSTATS`].
const RTM_NEWSTATS: u16 = 92;

const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_STATS_LINK_64: u16 = 1;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

/// Size of `struct ifinfomsg`.
const LINK_BYTES: usize = 16;
/// Size of `struct if_stats_msg`.
const STATS_BYTES: usize = 12;
/// Size of `struct rtgenmsg` with its padding.
const GENERAL_BYTES: usize = 4;
/// Size of an attribute with a 32-bit number.
const NUMBER_BYTES: usize = NLA_HEADER_SIZE + 4;

/// One message.
pub struct Message<'b>(NetlinkBuffer<&'b [u8]>);

/// The role of a message in the answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One of several messages.
    Part,
    /// The only message.
    Whole,
    /// The end of several messages. It has no content.
    End,
    /// The kernel refused the request with this `errno`.
    Error(i32),
}

impl<'b> Message<'b> {
    /// The sequence number of the request that it answers.
    pub fn sequence(&self) -> u32 {
        self.0.sequence_number()
    }

    /// Its role in the answer.
    pub fn role(&self) -> Role {
        // An error is a negative number. 0 is an acknowledgement.
        let error = self.0.payload().first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
        match self.0.message_type() {
            NLMSG_ERROR | NLMSG_DONE if error < 0 => Role::Error(error.saturating_neg()),
            NLMSG_ERROR | NLMSG_DONE => Role::End,
            _ if self.0.flags() & NLM_F_MULTIPART != 0 => Role::Part,
            _ => Role::Whole,
        }
    }

    /// Whether the set of objects changed during the dump (`NLM_F_DUMP_INTR`).
    pub fn is_interrupted(&self) -> bool {
        self.0.flags() & NLM_F_DUMP_INTR != 0
    }

    fn body_of(&self, kind: u16) -> Option<&'b [u8]> {
        (self.0.message_type() == kind).then(|| self.0.payload())
    }
}

/// Counters of a link since it was made, or the sum of several links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
}

impl LinkCounters {
    /// The sum of both. It wraps around like the counters of the kernel.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            rx_bytes: self.rx_bytes.wrapping_add(other.rx_bytes),
            rx_packets: self.rx_packets.wrapping_add(other.rx_packets),
            tx_bytes: self.tx_bytes.wrapping_add(other.tx_bytes),
            tx_packets: self.tx_packets.wrapping_add(other.tx_packets),
        }
    }

    /// The same with directions swapped: the counters of the veth peer.
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

/// Writes a request into `out`, whose memory is reused.
pub fn write_request(out: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, body: &[u8]) {
    let mut header = NetlinkHeader::default();
    let header_bytes = header.buffer_len();
    header.length = (header_bytes + body.len()) as u32;
    header.message_type = kind;
    header.flags = flags | NLM_F_REQUEST;
    header.sequence_number = sequence;
    out.clear();
    out.resize(header_bytes, 0);
    header.emit(out);
    out.extend_from_slice(body);
}

/// The body of an [`RTM_GETLINK`] dump without counters.
pub fn getlink_body() -> [u8; LINK_BYTES + NUMBER_BYTES] {
    let mut body = [0; LINK_BYTES + NUMBER_BYTES];
    body[LINK_BYTES..].copy_from_slice(&attribute(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS));
    body
}

/// The body of an [`RTM_GETSTATS`] dump of `IFLA_STATS_LINK_64`.
pub fn getstats_body() -> [u8; STATS_BYTES] {
    let mut body = [0; STATS_BYTES];
    let filter = 1u32 << (IFLA_STATS_LINK_64 - 1);
    body[8..].copy_from_slice(&filter.to_ne_bytes());
    body
}

/// The body of an [`RTM_GETNSID`] request for the namespace with this open file descriptor.
pub fn getnsid_body(descriptor: u32) -> [u8; GENERAL_BYTES + NUMBER_BYTES] {
    let mut body = [0; GENERAL_BYTES + NUMBER_BYTES];
    body[GENERAL_BYTES..].copy_from_slice(&attribute(NETNSA_FD, descriptor));
    body
}

/// The messages in a datagram, up to the first one that is not complete.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let message = NetlinkBuffer::new_checked(bytes).ok()?;
        let length = (message.length() as usize).next_multiple_of(usize::from(NLMSG_ALIGNTO));
        bytes = bytes.get(length..).unwrap_or_default();
        Some(Message(message))
    })
}

/// Parses the index and the counters of a link. `None` for other messages.
pub fn parse_link_counters(message: &Message<'_>) -> Option<(u32, LinkCounters)> {
    let body = message.body_of(RTM_NEWSTATS)?;
    let index = u32_at(body, 4)?;
    let counters = find(body.get(STATS_BYTES..)?, IFLA_STATS_LINK_64)?;
    // `struct rtnl_link_stats64` begins with these four.
    let at =
        |position: usize| Some(u64::from_ne_bytes(*counters.get(8 * position..)?.first_chunk()?));
    let traffic =
        LinkCounters { rx_packets: at(0)?, tx_packets: at(1)?, rx_bytes: at(2)?, tx_bytes: at(3)? };
    Some((index, traffic))
}

/// Parses the index of a veth device and the nsid of the namespace of its peer. `None` for other
/// messages, other kinds of links, and veth devices whose peer is in the same namespace.
pub fn parse_veth_peer(message: &Message<'_>) -> Option<(u32, i32)> {
    let body = message.body_of(RTM_NEWLINK)?;
    let index = u32_at(body, 4)?;
    let attributes = body.get(LINK_BYTES..)?;
    let kind = find(find(attributes, IFLA_LINKINFO)?, IFLA_INFO_KIND)?;
    let number = find(attributes, IFLA_LINK_NETNSID)?;
    (kind == b"veth\0").then_some((index, i32::from_ne_bytes(*number.first_chunk()?)))
}

/// Parses the nsid of a namespace. `None` for other messages, and if the namespace has no nsid.
pub fn parse_nsid(message: &Message<'_>) -> Option<i32> {
    let body = message.body_of(RTM_NEWNSID)?;
    let number = find(body.get(GENERAL_BYTES..)?, NETNSA_NSID)?;
    Some(i32::from_ne_bytes(*number.first_chunk()?)).filter(|number| *number >= 0)
}

/// An attribute with a 32-bit number.
fn attribute(kind: u16, value: u32) -> [u8; NUMBER_BYTES] {
    let mut bytes = [0; NUMBER_BYTES];
    bytes[..2].copy_from_slice(&(NUMBER_BYTES as u16).to_ne_bytes());
    bytes[2..NLA_HEADER_SIZE].copy_from_slice(&kind.to_ne_bytes());
    bytes[NLA_HEADER_SIZE..].copy_from_slice(&value.to_ne_bytes());
    bytes
}

/// The value of the first attribute of a kind.
fn find(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    // An attribute of a wrong length is the last one.
    let mut attributes = NlasIterator::new(attributes).flatten();
    let found = attributes.find(|attribute| attribute.kind() == kind)?;
    let end = usize::from(found.length());
    found.into_inner().get(NLA_HEADER_SIZE..end)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER_BYTES: usize = 16;

    fn with_attributes(header: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = header.to_vec();
        for (kind, value) in attributes {
            bytes.extend(((NLA_HEADER_SIZE + value.len()) as u16).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    /// Parses a message with this body.
    fn parsed<T>(kind: u16, body: &[u8], parse: impl Fn(&Message<'_>) -> T) -> T {
        let mut bytes = Vec::new();
        write_request(&mut bytes, kind, 0, 0, body);
        parse(&messages(&bytes).next().unwrap())
    }

    /// The header of a body, of any kind.
    fn header(length: usize, index: u32) -> Vec<u8> {
        let mut header = vec![0; length];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        header
    }

    fn link(kind: &[u8], number: Option<i32>) -> Vec<u8> {
        let info = with_attributes(&[], &[(IFLA_INFO_KIND, kind)]);
        let number = number.map(i32::to_ne_bytes);
        let mut attributes: Vec<(u16, &[u8])> = vec![(3, b"name\0"), (IFLA_LINKINFO, &info)];
        attributes.extend(number.as_ref().map(|number| (IFLA_LINK_NETNSID, &number[..])));
        with_attributes(&header(LINK_BYTES, 7), &attributes)
    }

    #[test]
    fn only_veths_with_a_peer_in_another_namespace_are_parsed() {
        let of = |kind: &[u8], number| parsed(RTM_NEWLINK, &link(kind, number), parse_veth_peer);
        assert_eq!(of(b"veth\0", Some(0)), Some((7, 0)));
        assert_eq!(of(b"veth\0", None), None);
        assert_eq!(of(b"macvlan\0", Some(3)), None);
    }

    #[test]
    fn counters_are_found_behind_padding() {
        let numbers: Vec<u8> = (1..=24u64).flat_map(u64::to_ne_bytes).collect();
        let attributes = [(0, &[][..]), (IFLA_STATS_LINK_64, &numbers)];
        let body = with_attributes(&header(STATS_BYTES, 9), &attributes);
        let counters = LinkCounters { rx_packets: 1, tx_packets: 2, rx_bytes: 3, tx_bytes: 4 };
        assert_eq!(parsed(RTM_NEWSTATS, &body, parse_link_counters), Some((9, counters)));
        let swapped = LinkCounters { rx_packets: 2, tx_packets: 1, rx_bytes: 4, tx_bytes: 3 };
        assert_eq!(counters.swapped(), swapped);
    }

    #[test]
    fn a_negative_nsid_is_none() {
        let of = |number: i32| {
            let attribute = (NETNSA_NSID, &number.to_ne_bytes()[..]);
            parsed(RTM_NEWNSID, &with_attributes(&[0; GENERAL_BYTES], &[attribute]), parse_nsid)
        };
        assert_eq!(of(0), Some(0));
        assert_eq!(of(-1), None);
    }

    #[test]
    fn written_messages_are_read_one_by_one() {
        let (mut first, mut bytes) = (Vec::new(), Vec::new());
        write_request(&mut first, RTM_GETSTATS, NLM_F_DUMP, 5, b"seven..");
        write_request(&mut bytes, NLMSG_DONE, NLM_F_MULTIPART, 6, &(-16i32).to_ne_bytes());
        first.resize(first.len().next_multiple_of(4), 0);
        first.extend(bytes);
        let read: Vec<_> = messages(&first).collect();
        let kind = read[0].0.message_type();
        assert_eq!((read.len(), kind, read[0].sequence()), (2, RTM_GETSTATS, 5));
        assert_eq!((read[0].0.payload(), read[0].role()), (&b"seven.."[..], Role::Whole));
        assert_eq!((read[1].sequence(), read[1].role()), (6, Role::Error(16)));
    }

    fn parse_all(bytes: &[u8]) {
        parsed(RTM_NEWSTATS, bytes, parse_link_counters);
        parsed(RTM_NEWLINK, bytes, parse_veth_peer);
        parsed(RTM_NEWNSID, bytes, parse_nsid);
        for message in messages(bytes) {
            message.role();
            parse_link_counters(&message);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(bytes: Vec<u8>) {
            parse_all(&bytes);
        }

        /// Lengths that nearly fit reach code that random bytes do not.
        #[test]
        fn any_lengths_are_accepted(parts in prop::collection::vec((0u16..40, 0u16..40), 0..12)) {
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
