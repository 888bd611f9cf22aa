//! What a sample holds.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;
use tare_ebpf::{BlockCell, LatencyCell, NetCell};

use crate::{
    cgroup::{CgroupState, CpuUsage, IoUsage, MemoryUsage, Pressures, Seldom},
    devices::BlockDevice,
    host::HostUsage,
    identity::Metadata,
    kernel::Sockets,
    network::{Interfaces, NamespaceId},
    registry::{Member, OomKill, Serial, Startup, Tracked},
};

/// Everything at one instant.
#[derive(Debug)]
pub struct Sample {
    /// When it was taken, for people.
    pub time: Timestamp,
    /// When it was taken, for rates.
    pub taken_at: Instant,
    /// The host as a whole.
    pub host: HostUsage,
    /// How sockets were counted, if they were.
    pub sockets: Option<Sockets>,
    /// Whether TCP segments that are sent again were counted.
    pub retransmits: bool,
    /// Whether TCP connections were counted.
    pub connections: bool,
    /// Since when the kernel counts for us.
    pub counting_since: Timestamp,
    /// The host's own network namespace, if it can be told.
    pub host_namespace: Option<NamespaceId>,
    /// Devices of each network namespace in use.
    pub namespaces: HashMap<NamespaceId, Arc<Interfaces>>,
    /// The block devices that the usages name, by [`Key::device`](tare_ebpf::Key::device).
    pub block_devices: BTreeMap<u32, BlockDevice>,
    /// Whether block I/O is charged in a v1 hierarchy.
    pub block_is_v1: bool,
    /// Whether requests in flight are counted.
    pub flight: bool,
    /// Whether merges are counted.
    pub merges: bool,
    /// Everyone who was alive.
    pub usages: Vec<Usage>,
    /// CPU time and memory of the pods around them, if they are wanted.
    pub pods: Vec<Usage>,
}

/// What one member had used at that instant. `None` is unknown.
#[derive(Clone, Debug)]
pub struct Usage {
    /// Who it is.
    pub member: Arc<Member>,
    /// What its runtime told.
    pub details: Option<Arc<Metadata>>,
    /// Its network namespace.
    pub namespace: Option<NamespaceId>,
    /// CPU time.
    pub cpu: CpuUsage,
    /// Memory and swap.
    pub memory: MemoryUsage,
    /// Tasks: threads, not processes.
    pub pids: Option<u64>,
    /// Time lost to waiting.
    pub pressures: Pressures,
    /// Whether it lives and whether it is frozen.
    pub state: CgroupState,
    /// Settings, limits and peaks, some seconds old at most.
    pub seldom: Arc<Seldom>,
    /// Block I/O from cgroup files, read only where the kernel side does not count it.
    pub io: Option<IoUsage>,
    /// Sockets.
    pub net: Option<NetCell>,
    /// Block requests by device ([`Key::device`](tare_ebpf::Key::device)).
    pub block: Option<BTreeMap<u32, BlockCell>>,
    /// How it came to life.
    pub startup: Startup,
    /// The last process that the kernel killed for want of memory.
    pub oom_kill: Option<OomKill>,
    /// Their latencies, by device.
    pub latency: BTreeMap<u32, LatencyCell>,
    /// Whether bytes and operations in `block` are those of the cgroup's whole life, though it is
    /// older than us.
    pub block_is_whole: bool,
    /// Why block I/O is unknown, if it is.
    pub block_reason: Option<String>,
}

impl Default for Sample {
    /// Nobody and nothing.
    fn default() -> Self {
        Self {
            time: Timestamp::UNIX_EPOCH,
            taken_at: Instant::now(),
            host: HostUsage::default(),
            sockets: None,
            retransmits: false,
            connections: false,
            counting_since: Timestamp::UNIX_EPOCH,
            host_namespace: None,
            namespaces: HashMap::new(),
            block_devices: BTreeMap::new(),
            block_is_v1: false,
            flight: false,
            merges: false,
            usages: Vec::new(),
            pods: Vec::new(),
        }
    }
}

impl Sample {
    /// When it was at some instant before, for people.
    pub fn time_of(&self, instant: Instant) -> Timestamp {
        let age = self.taken_at.saturating_duration_since(instant);
        self.time.checked_sub(age).unwrap_or(self.time)
    }

    /// What someone had used.
    pub fn usage(&self, serial: Serial) -> Option<&Usage> {
        let at = self.usages.binary_search_by_key(&serial, |usage| usage.member.serial).ok()?;
        self.usages.get(at)
    }
}

impl Usage {
    /// Someone of whom nothing was read yet.
    pub fn unread(tracked: &Tracked) -> Self {
        Self {
            details: tracked.details.clone(),
            namespace: tracked.namespace,
            startup: tracked.startup,
            oom_kill: tracked.oom_kill.clone(),
            ..Self::of_nothing(Arc::clone(&tracked.member))
        }
    }

    /// Someone of whom nothing is known but who it is.
    pub(super) fn of_nothing(member: Arc<Member>) -> Self {
        Self {
            member,
            details: None,
            namespace: None,
            cpu: CpuUsage::default(),
            memory: MemoryUsage::default(),
            pids: None,
            pressures: Pressures::default(),
            state: CgroupState::default(),
            seldom: Arc::default(),
            io: None,
            net: None,
            block: None,
            latency: BTreeMap::new(),
            block_is_whole: false,
            block_reason: None,
            startup: Startup::default(),
            oom_kill: None,
        }
    }

    /// The same in the memory of an earlier reading, whose [`Usage::memory`], [`Usage::io`] and
    /// what the kernel's tables count are about to be overwritten.
    fn renew(&mut self, tracked: &Tracked) {
        self.member.clone_from(&tracked.member);
        self.details.clone_from(&tracked.details);
        self.namespace = tracked.namespace;
        self.cpu = CpuUsage::default();
        self.pids = None;
        self.pressures = Pressures::default();
        self.state = CgroupState::default();
        self.block_is_whole = false;
        self.startup = tracked.startup;
        if self.oom_kill != tracked.oom_kill {
            self.oom_kill.clone_from(&tracked.oom_kill);
        }
    }
}

/// Makes a list of usages that of the living, and has them unread; those who were there before
/// keep their memory. Both lists are sorted, since serials only grow.
pub(super) fn renew<'a>(usages: &mut Vec<Usage>, living: impl Iterator<Item = &'a Tracked>) {
    let mut length = 0;
    for tracked in living {
        let serial = tracked.member.serial;
        let ended = usages[length..].iter().take_while(|usage| usage.member.serial < serial);
        usages.drain(length..length + ended.count());
        match usages.get_mut(length) {
            Some(usage) if usage.member.serial == serial => usage.renew(tracked),
            _ => usages.insert(length, Usage::unread(tracked)),
        }
        length += 1;
    }
    usages.truncate(length);
}

#[cfg(test)]
impl Sample {
    /// A sample of a host where nothing happens.
    pub(crate) fn empty() -> Self {
        Self { flight: true, merges: true, retransmits: true, connections: true, ..Self::default() }
    }
}

#[cfg(test)]
impl Usage {
    /// A plain cgroup of which nothing is known.
    pub(crate) fn of_path(serial: u64, path: &str) -> Self {
        Self::of_nothing(Arc::new(Member {
            serial: Serial(serial),
            identity: None,
            path: path.to_owned(),
            cgroup_id: None,
            older_than_us: false,
        }))
    }
}
