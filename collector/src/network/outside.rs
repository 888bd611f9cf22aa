//! Containers' veth devices as the other ends of their pairs tell them, in our own namespace.
//!
//! Both ends of a pair count the same bytes and packets, with directions swapped
//! (`drivers/net/veth.c`, `veth_get_stats64`). So one dump tells which namespaces carried anything,
//! and which need not be read again.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use crate::network::{
    netlink::{Answer, RouteSocket},
    rtnetlink::{
        NLM_F_DUMP, RTM_GETLINK, RTM_GETNSID, RTM_GETSTATS, Traffic, every_count, every_link,
        number_of, parse_number, parse_stats, parse_veth,
    },
};

/// The number by which our own namespace knows another one (`net/core/net_namespace.c`). It stays
/// as long as both are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerNumber(i32);

/// What all pairs between our namespace and another one carried, from the other one's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// How many pairs.
    pub pairs: usize,
    /// What they carried together.
    pub traffic: Traffic,
}

/// The links of our own network namespace.
///
/// Where netlink fails it knows nothing, and tries again at the next look.
#[derive(Debug, Default)]
pub struct Outside {
    socket: Option<RouteSocket>,
    /// What each link had carried at the last look, sorted by index.
    links: Vec<(u32, Traffic)>,
    /// The links of which the pairs were told.
    described: Vec<u32>,
    /// Each pair by the namespace of its other end, and its link here; sorted.
    pairs: Vec<(PeerNumber, u32)>,
    fault_told: bool,
}

impl Outside {
    /// Looks what each link carried; whether other links are there than [`Outside::describe`] saw.
    ///
    /// With as many links as before nothing is allocated.
    pub fn look(&mut self) -> bool {
        self.links.clear();
        let Self { socket, links, .. } = self;
        let asked = with(socket, |socket| {
            socket.ask(RTM_GETSTATS, NLM_F_DUMP, &every_count(), |message| {
                links.extend(parse_stats(message));
            })
        });
        if let Err(errno) = asked {
            self.give_up(errno);
        }
        self.links.sort_unstable_by_key(|(index, _)| *index);
        !self.links.iter().map(|(index, _)| index).eq(&self.described)
    }

    /// Learns which links are ends of pairs, and in which namespaces their other ends are.
    pub fn describe(&mut self) {
        self.pairs.clear();
        let Self { socket, pairs, .. } = self;
        let asked = with(socket, |socket| {
            socket.ask(RTM_GETLINK, NLM_F_DUMP, &every_link(), |message| {
                let pair = parse_veth(message);
                pairs.extend(pair.map(|(index, number)| (PeerNumber(number), index)));
            })
        });
        self.described.clear();
        match asked {
            Ok(Answer::Consistent) => {
                self.described.extend(self.links.iter().map(|(index, _)| index));
            }
            // The next look finds links that were not described, and asks again.
            Ok(Answer::Interrupted) => {}
            Err(errno) => self.give_up(errno),
        }
        self.pairs.sort_unstable();
        self.pairs.dedup();
    }

    /// Forgets what the links carried: nothing is known until the next look.
    pub fn forget(&mut self) {
        self.links.clear();
    }

    /// The number of a namespace by its open `/proc/PID/ns/net`; `None` if it has none, which means
    /// that no described link has its other end there.
    pub fn number(&mut self, namespace: &File) -> Option<PeerNumber> {
        let descriptor = u32::try_from(namespace.as_raw_fd()).ok()?;
        let mut number = None;
        let socket = self.socket.as_mut()?;
        let asked = socket.ask(RTM_GETNSID, 0, &number_of(descriptor), |message| {
            number = parse_number(message).map(PeerNumber);
        });
        asked.ok().and(number)
    }

    /// Whether pairs lead into a namespace.
    pub fn reaches(&self, number: PeerNumber) -> bool {
        !self.pairs_into(number).is_empty()
    }

    /// What all pairs into a namespace had carried at the last look; `None` if there are none or it
    /// is not known of all.
    pub fn carried(&self, number: PeerNumber) -> Option<Carried> {
        let pairs = self.pairs_into(number);
        let mut traffic = Traffic::default();
        for (_, index) in pairs {
            let at = self.links.binary_search_by_key(index, |(index, _)| *index).ok()?;
            traffic = traffic.plus(self.links[at].1.swapped());
        }
        (!pairs.is_empty()).then_some(Carried { pairs: pairs.len(), traffic })
    }

    fn pairs_into(&self, number: PeerNumber) -> &[(PeerNumber, u32)] {
        let from = self.pairs.partition_point(|(other, _)| *other < number);
        let pairs = &self.pairs[from..];
        &pairs[..pairs.partition_point(|(other, _)| *other == number)]
    }

    fn give_up(&mut self, errno: nix::Error) {
        if !self.fault_told {
            tracing::debug!("cannot ask for links, so every network namespace is read: {errno}");
            self.fault_told = true;
        }
        self.socket = None;
        self.links.clear();
        self.pairs.clear();
        self.described.clear();
    }
}

/// Opens the socket unless it is open.
fn with<T>(
    socket: &mut Option<RouteSocket>,
    ask: impl FnOnce(&mut RouteSocket) -> nix::Result<T>,
) -> nix::Result<T> {
    match socket {
        Some(socket) => ask(socket),
        None => ask(socket.insert(RouteSocket::open()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(rx_bytes: u64, tx_bytes: u64) -> Traffic {
        Traffic { rx_bytes, rx_packets: 1, tx_bytes, tx_packets: 2 }
    }

    #[test]
    fn the_pairs_of_a_namespace_are_summed_from_its_view() {
        let number = PeerNumber;
        let outside = Outside {
            links: vec![(2, one(1, 2)), (5, one(10, 20)), (7, one(100, 200))],
            pairs: vec![(number(0), 5), (number(3), 2), (number(3), 7), (number(4), 9)],
            ..Outside::default()
        };
        let both = Traffic { rx_bytes: 202, rx_packets: 4, tx_bytes: 101, tx_packets: 2 };
        assert_eq!(outside.carried(number(3)), Some(Carried { pairs: 2, traffic: both }));
        assert_eq!(outside.carried(number(0)).unwrap().pairs, 1);
        // Nobody leads into it; and a link that the look did not find.
        assert!(!outside.reaches(number(1)) && outside.carried(number(1)).is_none());
        assert!(outside.reaches(number(4)) && outside.carried(number(4)).is_none());
    }

    #[test]
    fn the_same_links_are_described_once() {
        let mut outside = Outside::default();
        assert!(outside.look(), "the links of this namespace are not empty");
        outside.describe();
        // Others may make links at any time, but hardly ten times in a row.
        assert!((0..10).any(|_| {
            let other = outside.look();
            outside.describe();
            !other
        }));
        let own = File::open("/proc/self/ns/net").unwrap();
        assert!(outside.number(&own).is_none_or(|number| !outside.reaches(number)));
    }
}
