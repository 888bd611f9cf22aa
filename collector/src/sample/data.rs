//! What a sample holds.

use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Instant};

use jiff::Timestamp;
use tare_ebpf::{BlockCell, LatencyCell, NetCell};

use crate::{
    cgroup::Version,
    clock::Moment,
    families::{
        Readings,
        block::{BlockContext, ByDevice},
        lifecycle::{OomKill, Startup},
        tasks::{OpenFilesReading, TasksReading},
    },
    hashing::HashMap,
    host::HostUsage,
    identity::{Metadata, WritableLayer},
    kernel::{Kernel, SocketLevel},
    network::{AllSocketStates, Interfaces, NamespaceId},
    reason::Reason,
    registry::{Instance, InstanceId, Registry, TrackedCgroup},
    seldom::Seldom,
};

/// Everything at one instant.
#[derive(Debug)]
pub struct Sample {
    /// When it was taken, as a time of day.
    pub time: Timestamp,
    /// When it was taken, for rates.
    pub taken_at: Instant,
    /// The host as a whole.
    pub host: HostUsage,
    /// The level at which sockets were counted, if they were.
    pub sockets: Option<SocketLevel>,
    /// Whether TCP retransmits were counted.
    pub retransmits: bool,
    /// Whether TCP connections were counted.
    pub connections: bool,
    /// When our programs began to count.
    pub counting_since: Timestamp,
    /// The host's own network namespace, if it is known.
    pub host_namespace: Option<NamespaceId>,
    /// Devices of each network namespace in use.
    pub namespaces: HashMap<NamespaceId, Arc<Interfaces>>,
    /// Sockets of network namespaces, as they were read last.
    pub socket_states: AllSocketStates,
    /// What is known of block I/O besides counters.
    pub block: BlockContext,
    /// Every instance that was alive.
    pub usages: Vec<Usage>,
    /// CPU time and memory of the pods around them, if they are wanted.
    pub pods: Vec<Usage>,
}

/// What one instance had used at that instant. `None` is unknown.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Usage {
    /// The instance.
    pub instance: Arc<Instance>,
    /// Name, image and labels from its runtime.
    pub metadata: Option<Arc<Metadata>>,
    /// Its network namespace.
    pub namespace: Option<NamespaceId>,
    /// The readings of its files. Samples share them while they stay the same.
    pub readings: Arc<Readings>,
    /// Tasks, some seconds old at most.
    pub tasks: Option<Arc<TasksReading>>,
    /// Their open files, some seconds old.
    pub open_files: Option<Arc<OpenFilesReading>>,
    /// What it has written, as its runtime told.
    pub writable_layer: Option<Box<WritableLayer>>,
    /// Sockets.
    pub net: Option<Seldom<NetCell>>,
    /// Block requests by device ([`Key::device`](tare_ebpf::Key::device)).
    pub block: Option<ByDevice<BlockCell>>,
    /// The steps of its start.
    pub startup: Seldom<Startup>,
    /// The last process that the kernel killed because memory ran out.
    pub oom_kill: Option<Arc<OomKill>>,
    /// Their latencies, by device.
    pub latency: ByDevice<LatencyCell>,
    /// Whether bytes and operations in `block` include what was done before our programs counted.
    pub block_has_baseline: bool,
    /// Why block I/O is unknown, if it is.
    #[serde(with = "crate::reason::recorded")]
    pub block_reason: Option<Reason>,
}

impl Default for Sample {
    /// An empty sample.
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
            namespaces: HashMap::default(),
            socket_states: AllSocketStates::default(),
            block: BlockContext::default(),
            usages: Vec::new(),
            pods: Vec::new(),
        }
    }
}

impl Sample {
    /// Sets what no reader sets, and makes a place for every instance that is alive.
    pub(super) fn start(
        &mut self,
        registry: &Registry,
        kernel: &Kernel,
        counting_since: Timestamp,
    ) {
        self.time = Timestamp::now();
        self.taken_at = Instant::now();
        self.host = HostUsage::default();
        self.sockets = kernel.sockets.as_ref().ok().map(|sockets| sockets.level);
        self.retransmits = kernel.retransmits.is_ok();
        self.connections = kernel.connections.is_ok();
        self.counting_since = counting_since;
        self.host_namespace = registry.namespaces().host();
        let controller = registry.hierarchies().controller("blkio");
        self.block.is_v1 = controller.is_some_and(|found| found.version == Version::V1);
        let block = kernel.block.as_ref().ok();
        self.block.counts_in_flight = block.is_some_and(|block| block.in_flight.is_ok());
        self.block.counts_merges = block.is_some_and(|block| block.merges.is_ok());
        renew(&mut self.usages, registry.tracked());
    }

    /// When it was taken.
    pub fn moment(&self) -> Moment {
        Moment { instant: self.taken_at, time: self.time }
    }

    /// The usage of an instance.
    pub fn usage(&self, id: InstanceId) -> Option<&Usage> {
        let at = self.usages.binary_search_by_key(&id, |usage| usage.instance.id).ok()?;
        self.usages.get(at)
    }
}

impl Usage {
    /// An instance of which nothing was read yet.
    pub fn unread(tracked: &TrackedCgroup) -> Self {
        Self {
            metadata: tracked.metadata.clone(),
            namespace: tracked.namespace,
            startup: tracked.startup.clone(),
            oom_kill: tracked.oom_kill.clone(),
            ..Self::of_nothing(Arc::clone(&tracked.instance))
        }
    }

    /// Its readings, to be changed for this usage alone.
    pub fn readings_mut(&mut self) -> &mut Readings {
        Arc::make_mut(&mut self.readings)
    }

    /// An instance of which only the identity is known.
    pub(super) fn of_nothing(instance: Arc<Instance>) -> Self {
        Self {
            instance,
            metadata: None,
            namespace: None,
            readings: Arc::default(),
            tasks: None,
            open_files: None,
            writable_layer: None,
            net: None,
            block: None,
            latency: ByDevice::new(),
            block_has_baseline: false,
            block_reason: None,
            startup: Seldom::default(),
            oom_kill: None,
        }
    }

    /// The same in the memory of an earlier sample, whose readings and kernel counts are about to
    /// be overwritten.
    fn renew(&mut self, tracked: &TrackedCgroup) {
        // Counting references would write to memory that is only read otherwise.
        if !Arc::ptr_eq(&self.instance, &tracked.instance) {
            self.instance.clone_from(&tracked.instance);
        }
        if self.metadata.as_ref().map(Arc::as_ptr) != tracked.metadata.as_ref().map(Arc::as_ptr) {
            self.metadata.clone_from(&tracked.metadata);
        }
        self.namespace = tracked.namespace;
        if tracked.readers.is_none() {
            self.readings = Arc::default();
        }
        self.block_has_baseline = false;
        self.startup.share(&tracked.startup);
        if self.oom_kill != tracked.oom_kill {
            self.oom_kill.clone_from(&tracked.oom_kill);
        }
    }
}

/// Makes the list of usages one of the instances that are alive, all unread. A usage that is in the
/// list keeps its memory. Both lists are sorted, because ids only grow.
fn renew<'a>(usages: &mut Vec<Usage>, living: impl Iterator<Item = &'a TrackedCgroup>) {
    let mut length = 0;
    for tracked in living {
        let id = tracked.instance.id;
        let ended = usages[length..].iter().take_while(|usage| usage.instance.id < id);
        usages.drain(length..length + ended.count());
        match usages.get_mut(length) {
            Some(usage) if usage.instance.id == id => usage.renew(tracked),
            _ => usages.insert(length, Usage::unread(tracked)),
        }
        length += 1;
    }
    usages.truncate(length);
    // After many have ended; a few that come and go do not move the others.
    if usages.capacity() / 4 > length.max(SPARE_USAGES) {
        usages.shrink_to(length * 2);
    }
}

/// A list for so many usages is not made smaller.
const SPARE_USAGES: usize = 64;

#[cfg(test)]
impl Sample {
    /// A sample of a host where nothing happens.
    pub(crate) fn empty() -> Self {
        let block =
            BlockContext { counts_in_flight: true, counts_merges: true, ..BlockContext::default() };
        Self { block, retransmits: true, connections: true, ..Self::default() }
    }
}

#[cfg(test)]
impl Usage {
    /// A plain cgroup of which nothing is known.
    pub(crate) fn of_path(id: u64, path: &str) -> Self {
        Self::of_nothing(Arc::new(Instance {
            id: InstanceId(id),
            identity: None,
            path: path.to_owned(),
            cgroup_id: None,
            preexisting: false,
        }))
    }
}
