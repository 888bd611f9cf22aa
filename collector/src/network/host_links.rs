//! The links of Tare's own network namespace, which on a host are the peers of the containers' veth
//! devices.
//!
//! Both ends of a veth pair count the same bytes and packets, with directions swapped
//! (`drivers/net/veth.c`, `veth_get_stats64`). So one dump shows which network namespaces
//! transferred something.

use std::{fs::File, os::fd::AsRawFd as _};

use tare_parsers::rtnetlink::{
    LinkCounters, NLM_F_DUMP, RTM_GETLINK, RTM_GETNSID, RTM_GETSTATS, getlink_body, getnsid_body,
    getstats_body, parse_link_counters, parse_nsid, parse_veth_peer,
};

use crate::network::route_socket::{Completeness, RouteSocket};

/// The nsid of a network namespace: the number by which our own namespace refers to it
/// (`net/core/net_namespace.c`). It does not change while both exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Nsid(i32);

/// The sum over all veth pairs between our own network namespace and another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerCounters {
    /// How many pairs there are.
    pub(super) pairs: usize,
    /// Their counters, from the view of the other namespace.
    pub(super) counters: LinkCounters,
}

/// The links of our own network namespace.
///
/// After an error of netlink no link is known until the next dump.
#[derive(Debug, Default)]
pub(super) struct HostLinks {
    socket: Option<RouteSocket>,
    /// The counters of each link at the last dump, sorted by index.
    counters: Vec<(u32, LinkCounters)>,
    /// The indexes of the links when `peers` was read.
    known_links: Vec<u32>,
    /// The namespace of each veth peer, with the index of the link here. Sorted.
    peers: Vec<(Nsid, u32)>,
    fault_logged: bool,
}

impl HostLinks {
    /// Dumps the counters of all links. Returns whether the set of links differs from that at the
    /// last [`HostLinks::dump_peers`].
    ///
    /// It allocates only when there are more links than ever before.
    pub(super) fn dump_counters(&mut self) -> bool {
        self.counters.clear();
        let Self { socket, counters, .. } = self;
        let dumped = with_socket(socket, |socket| {
            socket.request(RTM_GETSTATS, NLM_F_DUMP, &getstats_body(), |message| {
                counters.extend(parse_link_counters(message));
            })
        });
        if let Err(errno) = dumped {
            self.reset(errno);
        }
        self.counters.sort_unstable_by_key(|(index, _)| *index);
        !self.counters.iter().map(|(index, _)| index).eq(&self.known_links)
    }

    /// Dumps all links to learn which are veth devices and in which namespaces their peers are.
    pub(super) fn dump_peers(&mut self) {
        self.peers.clear();
        let Self { socket, peers, .. } = self;
        let dumped = with_socket(socket, |socket| {
            socket.request(RTM_GETLINK, NLM_F_DUMP, &getlink_body(), |message| {
                let peer = parse_veth_peer(message);
                peers.extend(peer.map(|(index, nsid)| (Nsid(nsid), index)));
            })
        });
        self.known_links.clear();
        match dumped {
            Ok(Completeness::Consistent) => {
                self.known_links.extend(self.counters.iter().map(|(index, _)| index));
            }
            // The next dump of counters finds unknown links, so the peers are dumped again.
            Ok(Completeness::Interrupted) => {}
            Err(errno) => self.reset(errno),
        }
        self.peers.sort_unstable();
        self.peers.dedup();
    }

    /// Forgets all counters, so that none is known until the next dump.
    pub(super) fn forget_counters(&mut self) {
        self.counters.clear();
    }

    /// The nsid of a namespace, from its open `/proc/PID/ns/net`. `None` if it has none. Then no
    /// link of the last [`HostLinks::dump_peers`] has its peer there.
    pub(super) fn nsid(&mut self, namespace: &File) -> Option<Nsid> {
        let descriptor = u32::try_from(namespace.as_raw_fd()).ok()?;
        let mut nsid = None;
        let socket = self.socket.as_mut()?;
        let answered = socket.request(RTM_GETNSID, 0, &getnsid_body(descriptor), |message| {
            nsid = parse_nsid(message).map(Nsid);
        });
        answered.ok().and(nsid)
    }

    /// Whether a namespace has veth devices whose peers are here.
    pub(super) fn has_peers_in(&self, nsid: Nsid) -> bool {
        !self.peers_in(nsid).is_empty()
    }

    /// The counters of all veth pairs into a namespace at the last dump. `None` if there are no
    /// pairs, or the counters of one are unknown.
    pub(super) fn peer_counters(&self, nsid: Nsid) -> Option<PeerCounters> {
        let peers = self.peers_in(nsid);
        let mut sum = LinkCounters::default();
        for (_, index) in peers {
            let at = self.counters.binary_search_by_key(index, |(index, _)| *index).ok()?;
            sum = sum.plus(self.counters[at].1.swapped());
        }
        (!peers.is_empty()).then_some(PeerCounters { pairs: peers.len(), counters: sum })
    }

    fn peers_in(&self, nsid: Nsid) -> &[(Nsid, u32)] {
        let from = self.peers.partition_point(|(other, _)| *other < nsid);
        let peers = &self.peers[from..];
        &peers[..peers.partition_point(|(other, _)| *other == nsid)]
    }

    fn reset(&mut self, errno: nix::Error) {
        if !self.fault_logged {
            tracing::debug!("cannot dump links, so every network namespace is read: {errno}");
            self.fault_logged = true;
        }
        self.socket = None;
        self.counters.clear();
        self.peers.clear();
        self.known_links.clear();
    }
}

/// Opens the socket unless it is open.
fn with_socket<T>(
    socket: &mut Option<RouteSocket>,
    request: impl FnOnce(&mut RouteSocket) -> nix::Result<T>,
) -> nix::Result<T> {
    match socket {
        Some(socket) => request(socket),
        None => request(socket.insert(RouteSocket::open()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(rx_bytes: u64, tx_bytes: u64) -> LinkCounters {
        LinkCounters { rx_bytes, rx_packets: 1, tx_bytes, tx_packets: 2 }
    }

    #[test]
    fn the_pairs_of_a_namespace_are_summed_from_its_view() {
        let links = HostLinks {
            counters: vec![(2, one(1, 2)), (5, one(10, 20)), (7, one(100, 200))],
            peers: vec![(Nsid(0), 5), (Nsid(3), 2), (Nsid(3), 7), (Nsid(4), 9)],
            ..HostLinks::default()
        };
        let both = LinkCounters { rx_bytes: 202, rx_packets: 4, tx_bytes: 101, tx_packets: 2 };
        assert_eq!(links.peer_counters(Nsid(3)), Some(PeerCounters { pairs: 2, counters: both }));
        assert_eq!(links.peer_counters(Nsid(0)).unwrap().pairs, 1);
        // A namespace without pairs, and a link that the dump did not return.
        assert!(!links.has_peers_in(Nsid(1)) && links.peer_counters(Nsid(1)).is_none());
        assert!(links.has_peers_in(Nsid(4)) && links.peer_counters(Nsid(4)).is_none());
    }

    #[test]
    fn the_same_links_are_known_the_second_time() {
        let mut links = HostLinks::default();
        assert!(links.dump_counters(), "the links of this namespace are not empty");
        links.dump_peers();
        // Other programs may make links at any time, but hardly ten times in a row.
        assert!((0..10).any(|_| {
            let changed = links.dump_counters();
            links.dump_peers();
            !changed
        }));
        let own = File::open("/proc/self/ns/net").unwrap();
        assert!(links.nsid(&own).is_none_or(|nsid| !links.has_peers_in(nsid)));
    }
}
