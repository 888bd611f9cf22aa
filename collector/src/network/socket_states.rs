//! The TCP and UDP sockets of network namespaces, by state, and their TCP counters.
//!
//! Read through `/proc/PID/net` of one process of each namespace: no namespace is entered. The
//! kernel walks its table of all connections of the host for each `tcp` and `tcp6`
//! (`net/ipv4/tcp_ipv4.c`, `established_get_first`), 3 ms for 262,144 buckets, however few of them
//! are the namespace's. So these files are left alone where `sockstat` says that there is no
//! socket, and all readings together are held to a share of one CPU.

use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use tare_parsers::{
    net_snmp::parse_tcp_counters,
    net_sockets::{SocketCounts, TcpStates, UdpSockets, parse_sockstat, parse_tcp, parse_udp},
};

use crate::{
    cgroup::{ReadError, error::is_gone},
    clock::Moment,
    hashing::HashMap,
    network::{NamespaceId, namespace_of},
    recurring::rest_after,
};

/// How soon a namespace is read again at the earliest.
const INTERVAL: Duration = Duration::from_secs(10);

/// After this time in one sample no further namespace is read.
const SLICE: Duration = Duration::from_millis(2);

/// In a namespace with more sockets of a protocol than this they are not counted by state: the
/// kernel formats a line of 150 bytes for each.
const SOCKETS_MAX: u64 = 20_000;

/// What is read of network namespaces besides their devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum NamespaceSockets {
    /// Nothing.
    #[default]
    Off,
    /// TCP and UDP sockets by state: 30 series of each namespace.
    States,
    /// Also the kernel's TCP counters, about 140 of each namespace.
    Counters,
}

/// The sockets of one network namespace. `None` is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct SocketStates {
    /// When they were read.
    pub read_at: Moment,
    /// TCP over IPv4.
    pub tcp: Option<TcpStates>,
    /// TCP over IPv6.
    pub tcp6: Option<TcpStates>,
    /// UDP over IPv4.
    pub udp: Option<UdpSockets>,
    /// UDP over IPv6.
    pub udp6: Option<UdpSockets>,
    /// The kernel's TCP counters by name, if they are wanted.
    pub tcp_counters: Vec<(String, i64)>,
}

/// The last readings of all namespaces, shared with samples.
pub type AllSocketStates = Arc<HashMap<NamespaceId, Arc<SocketStates>>>;

/// Reads the sockets of network namespaces, at a bounded pace.
#[derive(Debug)]
pub struct SocketStatesReader {
    proc_root: PathBuf,
    wanted: NamespaceSockets,
    latest: AllSocketStates,
    /// When the time that was spent is made up for.
    rested_at: Option<Instant>,
}

impl SocketStatesReader {
    /// Reads in this `/proc`.
    pub fn new(proc_root: &Path, wanted: NamespaceSockets) -> Self {
        Self {
            proc_root: proc_root.to_owned(),
            wanted,
            latest: AllSocketStates::default(),
            rested_at: None,
        }
    }

    /// The last readings.
    pub fn latest(&self) -> &AllSocketStates {
        &self.latest
    }

    /// Reads those namespaces that are due, the one that was read longest ago first, until it has
    /// taken enough time for this sample. `namespaces` are all that are in use; `pid` finds a
    /// process in one of them.
    pub fn refresh(
        &mut self,
        namespaces: impl Iterator<Item = NamespaceId>,
        mut pid: impl FnMut(NamespaceId) -> Option<u32>,
    ) -> Vec<ReadError> {
        let begun = Moment::now();
        let started = begun.instant;
        if self.wanted == NamespaceSockets::Off || self.rested_at.is_some_and(|at| started < at) {
            return Vec::new();
        }
        let mut last_readings: HashMap<NamespaceId, Option<Instant>> = HashMap::default();
        for id in namespaces {
            let read_at = || self.latest.get(&id).map(|states| states.read_at.instant);
            last_readings.entry(id).or_insert_with(read_at);
        }
        if self.latest.keys().any(|id| !last_readings.contains_key(id)) {
            Arc::make_mut(&mut self.latest).retain(|id, _| last_readings.contains_key(id));
        }
        let mut errors = Vec::new();
        for id in due(&last_readings, started) {
            let Some(pid) = pid(id) else { continue };
            match self.read(id, pid, begun) {
                Ok(Some(states)) => {
                    Arc::make_mut(&mut self.latest).insert(id, Arc::new(states));
                }
                Ok(None) | Err(ReadError::Vanished) => {}
                Err(error) => errors.push(error),
            }
            if started.elapsed() >= SLICE {
                break;
            }
        }
        let now = Instant::now();
        self.rested_at = Some(now + rest_after(now.duration_since(started)));
        errors
    }

    /// Reads the namespace of a process; `None` if the process ended or is in another one.
    fn read(
        &self,
        id: NamespaceId,
        pid: u32,
        now: Moment,
    ) -> Result<Option<SocketStates>, ReadError> {
        let directory = self.proc_root.join(pid.to_string()).join("net");
        let file = |name: &str| read_file(&directory.join(name));
        let (Some(v4), v6) = (file("sockstat")?, file("sockstat6")?) else { return Ok(None) };
        let v4 = parse_sockstat(&v4, "");
        // Without IPv6 there is no such file.
        let v6 =
            v6.map(|text| SocketCounts { time_wait: v4.time_wait, ..parse_sockstat(&text, "6") });
        let tcp = |name: &str, counts: SocketCounts| match counts.tcp.zip(counts.time_wait) {
            Some((0, 0)) => Ok(Some(TcpStates::default())),
            Some((open, waiting)) if open.saturating_add(waiting) > SOCKETS_MAX => Ok(None),
            _ => file(name).map(|text| parse_tcp(&text?)),
        };
        let udp = |name: &str, counts: SocketCounts| match counts.udp {
            Some(0) => Ok(Some(UdpSockets::default())),
            Some(SOCKETS_MAX..) => Ok(None),
            _ => file(name).map(|text| parse_udp(&text?)),
        };
        let mut states = SocketStates {
            read_at: now,
            tcp: tcp("tcp", v4)?,
            tcp6: v6.map_or(Ok(None), |counts| tcp("tcp6", counts))?,
            udp: udp("udp", v4)?,
            udp6: v6.map_or(Ok(None), |counts| udp("udp6", counts))?,
            tcp_counters: Vec::new(),
        };
        if self.wanted == NamespaceSockets::Counters
            && let (Some(snmp), Some(netstat)) = (file("snmp")?, file("netstat")?)
        {
            states.tcp_counters = parse_tcp_counters(&snmp, &netstat);
        }
        Ok((namespace_of(&self.proc_root, pid)? == Some(id)).then_some(states))
    }
}

/// The namespaces that are due, those first that were never read, then by the age of the reading.
fn due(last_readings: &HashMap<NamespaceId, Option<Instant>>, now: Instant) -> Vec<NamespaceId> {
    let is_due = |at: &Option<Instant>| at.is_none_or(|at| now.duration_since(at) >= INTERVAL);
    let mut due: Vec<_> = last_readings.iter().filter(|(_, at)| is_due(at)).collect();
    due.sort_unstable_by_key(|(id, at)| (**at, **id));
    due.into_iter().map(|(id, _)| *id).collect()
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(ReadError::from_io(path, error)),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, UdpSocket},
        process,
    };

    use super::*;

    #[test]
    fn the_oldest_reading_is_due_first_and_a_young_one_is_not() {
        let start = Instant::now();
        let now = start + INTERVAL * 3;
        let at = |age| Some(now.checked_sub(INTERVAL / 2 * age).unwrap());
        let readings = [(1, at(3)), (2, at(1)), (3, None), (4, at(5)), (5, at(2))];
        let readings = readings.map(|(id, at)| (NamespaceId(id), at));
        assert_eq!(due(&readings.into_iter().collect(), now), [3, 4, 1, 5].map(NamespaceId));
    }

    #[test]
    fn own_sockets_are_counted_and_the_time_is_made_up_for() {
        let _listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let pid = process::id();
        let proc = Path::new("/proc");
        let own = namespace_of(proc, pid).unwrap().unwrap();
        let mut reader = SocketStatesReader::new(proc, NamespaceSockets::Counters);
        let refresh = |reader: &mut SocketStatesReader, id| {
            let errors = reader.refresh([own].into_iter(), |_| id);
            assert!(errors.is_empty(), "{errors:?}");
            reader.latest().get(&own).cloned()
        };
        let states = refresh(&mut reader, Some(pid)).unwrap();
        assert!(states.tcp.is_some_and(|tcp| tcp.listen > 0), "{states:?}");
        assert!(states.udp.is_some_and(|udp| udp.sockets > 0), "{states:?}");
        let counter = |name: &str| states.tcp_counters.iter().find(|(known, _)| known == name);
        assert!(counter("PassiveOpens").is_some() && counter("TCPTimeouts").is_some());
        let again = refresh(&mut reader, None).unwrap();
        assert!(Arc::ptr_eq(&states, &again) && reader.rested_at.is_some());
    }

    #[test]
    fn a_process_in_another_namespace_is_not_read() {
        let proc = Path::new("/proc");
        let mut reader = SocketStatesReader::new(proc, NamespaceSockets::States);
        let other = NamespaceId(1);
        assert!(reader.refresh([other].into_iter(), |_| Some(process::id())).is_empty());
        assert!(reader.latest().is_empty());
        let mut off = SocketStatesReader::new(proc, NamespaceSockets::Off);
        off.refresh([other].into_iter(), |_| panic!("it is switched off"));
    }

    #[test]
    fn namespaces_that_are_gone_are_forgotten() {
        let proc = Path::new("/proc");
        let own = namespace_of(proc, process::id()).unwrap().unwrap();
        let mut reader = SocketStatesReader::new(proc, NamespaceSockets::States);
        reader.refresh([own].into_iter(), |_| Some(process::id()));
        assert_eq!(reader.latest().len(), 1);
        reader.rested_at = None;
        reader.refresh([].into_iter(), |_| None);
        assert!(reader.latest().is_empty());
    }
}
