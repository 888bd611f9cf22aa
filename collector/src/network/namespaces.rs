//! The network namespaces of containers, and the counters of their devices.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tare_model::NamespaceId;
use tare_parsers::{
    net_dev::{Interfaces, parse_net_dev},
    rtnetlink::LinkCounters,
};

use crate::{
    cgroup::{KeptFile, ReadError, error::is_gone},
    hashing::HashMap,
    network::host_links::{HostLinks, Nsid, PeerCounters},
};

/// The longest time that a reading is reused. The host's links show neither drops and errors of
/// the peers nor new devices.
const READING_AGE_MAX: Duration = Duration::from_secs(10);

/// Below this number of namespaces a dump costs more than it saves (`docs/cost.md`).
const NAMESPACES_MIN: usize = 3;

/// A line has a name of at most 15 bytes and 16 padded numbers (`net/core/net-procfs.c`,
/// `dev_seq_printf_stats`). The kernel writes the two header lines as one record.
const LINE_BYTES_MAX: usize = 512;

/// The network namespaces of running containers.
///
/// For each of them `/proc/PID/net/dev` of one process is kept open. It can be read after the
/// process ended, and it keeps the namespace and its devices alive: call [`Namespaces::retain`]
/// when a container ends.
///
/// If all devices of a namespace are veth devices with a peer in our own namespace, it is read when
/// the counters of the peers changed, and at least every 10 s. Other namespaces are read in every
/// sample.
#[derive(Debug)]
pub struct Namespaces {
    proc_root: PathBuf,
    host: Option<NamespaceId>,
    open: HashMap<NamespaceId, OpenNamespace>,
    host_links: HostLinks,
    /// Whether the peers must be dumped again, because a namespace or its devices are new.
    peers_outdated: bool,
    /// Whether enough namespaces have peers here that a dump of counters pays.
    dump_pays: bool,
}

#[derive(Debug)]
struct OpenNamespace {
    net_dev: KeptFile,
    /// Its `/proc/PID/ns/net`, until its nsid is known.
    handle: Option<File>,
    nsid: Option<Nsid>,
    last: Option<Reading>,
    /// The reading before the last, whose memory is reused.
    spare: Option<Arc<Interfaces>>,
}

/// The last reading of a namespace.
#[derive(Debug)]
struct Reading {
    interfaces: Arc<Interfaces>,
    /// The counters of the peers just before, if they equal those of all devices.
    peers: Option<PeerCounters>,
    /// Whether `peers` was the same at the reading before. A device counts a packet as received
    /// before it drops it, so one more reading is needed to see the drop.
    settled: bool,
    /// When the namespace must be read again. It moves in steps of [`READING_AGE_MAX`].
    due: Instant,
}

impl Namespaces {
    /// No namespace yet.
    pub fn new(proc_root: &Path) -> Self {
        Self {
            proc_root: proc_root.to_owned(),
            host: host_namespace(proc_root),
            open: HashMap::default(),
            host_links: HostLinks::default(),
            peers_outdated: false,
            dump_pays: false,
        }
    }

    /// Where the host's `/proc` is mounted.
    pub fn proc_root(&self) -> &Path {
        &self.proc_root
    }

    /// Finds the network namespace of a process, and opens its `/proc/PID/net/dev` unless one is
    /// open. `None` if the process ended, or changed its namespace meanwhile.
    ///
    /// A runtime creates a container's cgroup before it moves the first process into the
    /// container's namespace. Called too early, this returns the namespace of the runtime.
    ///
    /// # Errors
    ///
    /// Processes of other users need `CAP_SYS_PTRACE` (`fs/proc/namespaces.c`,
    /// `proc_ns_get_link`).
    pub fn track(&mut self, pid: u32) -> Result<Option<NamespaceId>, ReadError> {
        let Some(id) = namespace_of(&self.proc_root, pid)? else { return Ok(None) };
        if self.open.contains_key(&id) {
            return Ok(Some(id));
        }
        let process = self.proc_root.join(pid.to_string());
        let handle = File::open(process.join("ns/net")).ok();
        let handle = handle.filter(|file| file.metadata().is_ok_and(|data| data.ino() == id.0));
        let Some(net_dev) = KeptFile::open_held(&process.join("net/dev"))? else { return Ok(None) };
        // `net/dev` is of the namespace that the process was in when it was opened.
        if namespace_of(&self.proc_root, pid)?.is_some_and(|now| now != id) {
            return Ok(None);
        }
        let namespace = OpenNamespace { net_dev, handle, nsid: None, last: None, spare: None };
        self.open.insert(id, namespace);
        self.peers_outdated = true;
        Ok(Some(id))
    }

    /// Dumps the counters of the host's links. Call it before each round of
    /// [`Namespaces::latest`]. It waits while another process configures a network device.
    pub fn dump_links(&mut self) {
        if !self.peers_outdated && !self.dump_pays {
            self.host_links.forget_counters();
            return;
        }
        let links_changed = self.host_links.dump_counters();
        if self.peers_outdated || links_changed {
            self.dump_peers();
        }
    }

    /// The counters of a namespace's devices, without `lo`: the last reading if the devices
    /// transferred nothing since, or a new one.
    ///
    /// # Errors
    ///
    /// [`ReadError::Vanished`] for a namespace that is not open.
    pub fn latest(
        &mut self,
        id: NamespaceId,
        buffer: &mut Vec<u8>,
    ) -> Result<Arc<Interfaces>, ReadError> {
        let namespace = self.open.get_mut(&id).ok_or(ReadError::Vanished)?;
        let now = Instant::now();
        let peers = namespace.nsid.and_then(|nsid| self.host_links.peer_counters(nsid));
        if let Some(reading) = &namespace.last
            && reading.is_current(peers, now)
        {
            return Ok(Arc::clone(&reading.interfaces));
        }
        let interfaces = namespace.read_reusing(buffer)?;
        let last = namespace.last.take();
        if let Some(last) = &last {
            namespace.spare = Some(Arc::clone(&last.interfaces));
        }
        // Devices were added or removed, and not all of them are known peers.
        self.peers_outdated |= peers.is_none_or(|peers| peers.pairs != interfaces.len())
            && last.as_ref().is_none_or(|last| last.interfaces.len() != interfaces.len());
        let reading = Reading::new(id, Arc::clone(&interfaces), peers, last, now);
        namespace.last = Some(reading);
        Ok(interfaces)
    }

    /// Reads the counters of a namespace's devices, without `lo`.
    ///
    /// # Errors
    ///
    /// As [`Namespaces::latest`].
    pub fn read(&self, id: NamespaceId, buffer: &mut Vec<u8>) -> Result<Interfaces, ReadError> {
        self.open.get(&id).ok_or(ReadError::Vanished)?.read(buffer)
    }

    /// Closes the namespaces that are not used.
    pub fn retain(&mut self, mut is_used: impl FnMut(NamespaceId) -> bool) {
        self.open.retain(|id, _| is_used(*id));
    }

    /// The network namespace of the host. `None` if it is unknown.
    pub fn host(&self) -> Option<NamespaceId> {
        self.host
    }

    fn dump_peers(&mut self) {
        self.host_links.dump_peers();
        let mut with_peers = 0;
        for namespace in self.open.values_mut() {
            if let Some(handle) = &namespace.handle {
                namespace.nsid = self.host_links.nsid(handle);
            }
            if let Some(nsid) = namespace.nsid {
                namespace.handle = None;
                with_peers += usize::from(self.host_links.has_peers_in(nsid));
            }
        }
        self.peers_outdated = false;
        self.dump_pays = with_peers >= NAMESPACES_MIN;
        let open = self.open.len();
        tracing::debug!("{with_peers} of {open} network namespaces have veth peers here");
    }
}

impl OpenNamespace {
    fn read(&self, buffer: &mut Vec<u8>) -> Result<Interfaces, ReadError> {
        let mut interfaces = Vec::new();
        parse_net_dev(self.net_dev.read_records(buffer, LINE_BYTES_MAX)?, &mut interfaces);
        Ok(interfaces)
    }

    /// Reads into the memory of the reading before the last, unless a sample still holds it.
    fn read_reusing(&mut self, buffer: &mut Vec<u8>) -> Result<Arc<Interfaces>, ReadError> {
        let text = self.net_dev.read_records(buffer, LINE_BYTES_MAX)?;
        let mut spare = self.spare.take();
        if let Some(interfaces) = spare.as_mut().and_then(Arc::get_mut) {
            parse_net_dev(text, interfaces);
            return Ok(spare.unwrap_or_default());
        }
        let mut interfaces = Interfaces::default();
        parse_net_dev(text, &mut interfaces);
        Ok(Arc::new(interfaces))
    }
}

impl Reading {
    fn new(
        id: NamespaceId,
        interfaces: Arc<Interfaces>,
        peers: Option<PeerCounters>,
        last: Option<Self>,
        now: Instant,
    ) -> Self {
        // Packets that a BPF program redirects into the device (`bpf_redirect_peer`) are not
        // counted by the peer. Then the two differ for ever.
        let own = PeerCounters { pairs: interfaces.len(), counters: sum(&interfaces) };
        let peers = peers.filter(|peers| *peers == own);
        let settled = last.as_ref().is_some_and(|last| last.peers == peers);
        let due = last.map_or_else(|| now + phase(id), |last| last.due);
        let due = if due > now { due } else { now.max(due + READING_AGE_MAX) };
        Self { interfaces, peers, settled, due }
    }

    /// Whether a new reading would have the same counters.
    fn is_current(&self, peers: Option<PeerCounters>, now: Instant) -> bool {
        self.peers.is_some() && self.peers == peers && self.settled && now < self.due
    }
}

/// The sum of the counters of several devices.
fn sum(interfaces: &Interfaces) -> LinkCounters {
    let each = interfaces.iter().map(|(_, counters)| LinkCounters {
        rx_bytes: counters.rx_bytes,
        rx_packets: counters.rx_packets,
        tx_bytes: counters.tx_bytes,
        tx_packets: counters.tx_packets,
    });
    each.fold(LinkCounters::default(), LinkCounters::plus)
}

/// When a namespace is read again for the first time. The golden ratio spreads neighbouring
/// numbers, so that not all namespaces are due at once.
fn phase(id: NamespaceId) -> Duration {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let part = id.0.wrapping_mul(GOLDEN) >> 32;
    READING_AGE_MAX.mul_f64(part as f64 / f64::from(u32::MAX))
}

/// The network namespace of process 1, or of kthreadd, which stays readable where a security module
/// hides process 1.
fn host_namespace(proc_root: &Path) -> Option<NamespaceId> {
    let of = |pid| namespace_of(proc_root, pid).ok().flatten();
    of(1).or_else(|| {
        let name = fs::read_to_string(proc_root.join("2/comm")).ok()?;
        of(2).filter(|_| name.trim_end() == "kthreadd")
    })
}

/// The network namespace of a process. `None` if the process ended.
///
/// # Errors
///
/// As [`Namespaces::track`].
pub fn namespace_of(proc_root: &Path, pid: u32) -> Result<Option<NamespaceId>, ReadError> {
    let path = proc_root.join(pid.to_string()).join("ns/net");
    match fs::metadata(&path) {
        Ok(metadata) => Ok(Some(NamespaceId(metadata.ino()))),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(ReadError::from_io(&path, error)),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{self, Command};

    use tare_parsers::net_dev::InterfaceCounters;

    use super::*;

    const ID: NamespaceId = NamespaceId(4_026_532_000);

    /// A device that received this many bytes, and the counters of its peer.
    fn device(rx_bytes: u64) -> (Arc<Interfaces>, Option<PeerCounters>) {
        let counters = InterfaceCounters { rx_bytes, ..InterfaceCounters::default() };
        let peer = LinkCounters { rx_bytes, ..LinkCounters::default() };
        let interfaces = Arc::new(vec![("eth0".to_owned(), counters)]);
        (interfaces, Some(PeerCounters { pairs: 1, counters: peer }))
    }

    #[test]
    fn a_reading_is_current_while_the_counters_of_the_peer_are_the_same() {
        let now = Instant::now();
        let (interfaces, peers) = device(100);
        let read = |last| Reading::new(ID, Arc::clone(&interfaces), peers, last, now);
        let first = read(None);
        assert!(!first.is_current(peers, now), "drops may follow");
        let second = read(Some(first));
        assert!(second.is_current(peers, now));
        assert!(!second.is_current(device(101).1, now) && !second.is_current(None, now));
        assert!(second.due <= now + READING_AGE_MAX && !second.is_current(peers, second.due));
        // After it was due it is current again, for another 10 s.
        let (due, at) = (second.due, second.due + Duration::from_secs(1));
        let third = Reading::new(ID, interfaces, peers, Some(second), at);
        assert!(third.is_current(peers, at) && third.due == due + READING_AGE_MAX);
    }

    #[test]
    fn a_reading_that_differs_from_the_peers_is_never_current() {
        let now = Instant::now();
        let (interfaces, _) = device(100);
        let peers = device(60).1;
        let more = device(100).1.map(|one| PeerCounters { pairs: 2, ..one });
        for peers in [peers, more, None] {
            let first = Reading::new(ID, Arc::clone(&interfaces), peers, None, now);
            let second = Reading::new(ID, Arc::clone(&interfaces), peers, Some(first), now);
            assert!(!second.is_current(peers, now), "{peers:?}");
        }
    }

    #[test]
    fn namespaces_are_due_at_different_times() {
        let phases = (0..100).map(|number| phase(NamespaceId(ID.0 + number)).as_secs());
        let mut turns = [0; 10];
        for second in phases {
            turns[second as usize % 10] += 1;
        }
        assert!(turns.iter().all(|turn| (5..=15).contains(turn)), "{turns:?}");
    }

    #[test]
    fn a_namespace_is_read_until_it_is_not_used() {
        let mut namespaces = Namespaces::new(Path::new("/proc"));
        let id = namespaces.track(process::id()).unwrap().unwrap();
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(own.to_str(), Some(format!("net:[{}]", id.0).as_str()));
        let mut buffer = Vec::new();
        let devices = namespaces.read(id, &mut buffer).unwrap();
        let table = fs::read_to_string("/proc/self/net/dev").unwrap();
        assert_eq!(devices.len(), table.lines().skip(2).filter(|l| !l.contains("lo:")).count());

        namespaces.retain(|used| used == id);
        namespaces.latest(id, &mut buffer).unwrap();
        namespaces.retain(|_| false);
        let error = namespaces.latest(id, &mut buffer).unwrap_err();
        assert!(matches!(error, ReadError::Vanished));
    }

    #[test]
    fn the_namespace_of_an_ended_process_is_still_read() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let mut namespaces = Namespaces::new(Path::new("/proc"));
        let id = namespaces.track(child.id()).unwrap().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(namespaces.track(child.id()).unwrap(), None);
        namespaces.read(id, &mut Vec::new()).unwrap();
    }

    #[test]
    fn the_namespace_of_an_unreadable_host_is_unknown() {
        assert_eq!(Namespaces::new(Path::new("/nonexistent")).host(), None);
    }
}
