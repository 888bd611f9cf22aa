//! One raw sample of everything at one instant: cumulative counters, no arithmetic.
//!
//! The only place where the kernel's tables, cgroup files, network devices and the registry come
//! together. It knows no rates and no formats.

mod block;
mod data;
mod flight;
mod ledger;
mod lifecycle;
mod pods;
mod receipts;
mod reconcile;
mod segments;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque, hash_map::Entry},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tare_ebpf::{BlockCell, Cell, Key};

use self::{block::OverflowTracker, data::renew, flight::Flights, lifecycle::Draining, pods::Pods};
pub use self::{
    data::{Sample, Usage},
    ledger::Tally,
    receipts::{Families, Finality, Receipt, Receipts},
    reconcile::{BlockReconciler, Reconciliation},
    segments::SegmentReconciler,
};
use crate::{
    cgroup::ReadError,
    devices::Devices,
    families::{ReadContext, Readers},
    host::{HostFiles, HostUsage},
    kernel::{BlockPrograms, Kernel},
    registry::{Counters, InstanceId, Registry},
};

/// How often the trees are walked where the kernel tells of births and deaths: the walk only
/// repairs what nobody knows to be broken.
const REPAIR_INTERVAL: Duration = Duration::from_secs(30);

/// Samples to be overwritten that are kept at most. The last one is being read still, and so is the
/// one before it where rates are made of them on another thread.
const SPARES_MAX: usize = 2;

/// Takes samples.
pub struct Sampler {
    /// Who is alive.
    pub registry: Registry,
    /// What the kernel counts for us.
    pub kernel: Kernel,
    /// How often `memory.stat` is read; 0 is in each sample.
    pub memory_stat_interval: Duration,
    /// Whether the cgroups of pods are read as well.
    pub with_pods: bool,
    pods: Pods,
    host: HostFiles,
    devices: Devices,
    counting_since: Timestamp,
    buffer: Vec<u8>,
    /// What members had done before the kernel side counted, by device.
    baseline: HashMap<InstanceId, BTreeMap<u32, BlockCell>>,
    missed: OverflowTracker,
    flights: Flights,
    /// Whether the kernel side counts all there is of block I/O.
    pub books: BlockReconciler,
    /// The same of TCP segments that are sent again.
    pub segments: SegmentReconciler,
    /// What ended containers had used.
    pub receipts: Receipts,
    /// Members whose last process has ended.
    closing: HashMap<InstanceId, Draining>,
    last: Option<Arc<Sample>>,
    /// The samples before it, the oldest first: to be overwritten when nobody holds them.
    spares: VecDeque<Arc<Sample>>,
    lost_events: u64,
    walked: Option<Instant>,
}

impl Sampler {
    /// Ready for the first sample.
    pub fn new(
        registry: Registry,
        kernel: Kernel,
        host: HostFiles,
        devices: Devices,
        (books, segments): (BlockReconciler, SegmentReconciler),
        receipts: Receipts,
    ) -> Self {
        Self {
            registry,
            kernel,
            memory_stat_interval: Duration::ZERO,
            with_pods: false,
            pods: Pods::default(),
            host,
            devices,
            counting_since: Timestamp::now(),
            buffer: Vec::new(),
            baseline: HashMap::new(),
            missed: OverflowTracker::default(),
            flights: Flights::default(),
            books,
            segments,
            receipts,
            closing: HashMap::new(),
            last: None,
            spares: VecDeque::new(),
            lost_events: 0,
            walked: None,
        }
    }

    /// Takes a sample. A reader that fails costs its own numbers only.
    pub fn take(&mut self) -> Arc<Sample> {
        self.look();
        self.measure()
    }

    /// Looks who is there, opens their files and asks for their names.
    pub fn look(&mut self) {
        self.kernel.drain_log();
        self.drain_events();
        self.discover();
        self.discover_devices();
        self.registry.settle();
        if self.with_pods {
            self.pods.follow(&mut self.registry);
        }
        // Before the clock is read, because it may wait.
        self.registry.namespaces_mut().dump_links();
    }

    /// Takes a sample of those who are known, without looking for others.
    ///
    /// A sample before the last is overwritten if nobody holds it any more. Then, as long as
    /// nobody and nothing new is there, no memory is allocated.
    pub fn measure(&mut self) -> Arc<Sample> {
        let free = self.spares.iter_mut().position(|sample| Arc::get_mut(sample).is_some());
        let mut sample = free.and_then(|free| self.spares.remove(free)).unwrap_or_default();
        if let Some(sample) = Arc::get_mut(&mut sample) {
            self.fill(sample);
        }
        self.spares.extend(self.last.replace(Arc::clone(&sample)));
        // Whoever holds an older one for long keeps it to himself.
        while self.spares.len() > SPARES_MAX {
            self.spares.pop_front();
        }
        sample
    }

    /// The last sample, with the names that were told since it was taken.
    pub fn name_last(&mut self) -> Arc<Sample> {
        self.registry.name();
        let mut sample = self.last.take().unwrap_or_default();
        // Whoever else holds it keeps it as it was taken.
        for usage in Arc::get_mut(&mut sample).into_iter().flat_map(|sample| &mut sample.usages) {
            if let Some(tracked) = self.registry.get(usage.instance.id) {
                usage.details.clone_from(&tracked.details);
            }
        }
        self.last = Some(Arc::clone(&sample));
        sample
    }

    fn fill(&mut self, sample: &mut Sample) {
        self.begin(sample);
        self.read_files(sample);
        self.read_pods(sample);
        self.reset_tables(&mut sample.usages);
        self.read_io_baseline(&mut sample.usages);
        self.read_tables(&mut sample.usages);
        self.missed.sampled();
        self.reconcile(&mut sample.usages);
        self.reconcile_segments(&sample.usages);
        self.add_io_baseline(&mut sample.usages);
        self.name_devices(sample);
        self.read_namespaces(sample);
        self.receipts.expire(sample.taken_at);
        self.receipts.learn(self.registry.names_mut());
    }

    /// Sets what no reader sets, and makes a place for everyone who is known.
    fn begin(&self, sample: &mut Sample) {
        let Self { registry, kernel, .. } = self;
        sample.time = Timestamp::now();
        sample.taken_at = Instant::now();
        sample.host = HostUsage::default();
        sample.sockets = kernel.sockets.as_ref().ok().map(|sockets| sockets.level);
        sample.retransmits = kernel.retransmits.is_ok();
        sample.connections = kernel.connections.is_ok();
        sample.counting_since = self.counting_since;
        sample.host_namespace = registry.namespaces().host();
        sample.block.is_v1 = self.block_is_v1();
        let block = kernel.block.as_ref().ok();
        sample.block.counts_in_flight = block.is_some_and(|block| block.in_flight.is_ok());
        sample.block.counts_merges = block.is_some_and(|block| block.merges.is_ok());
        renew(&mut sample.usages, registry.tracked());
    }

    /// Walks the trees, where that is due, and retires the counters of cgroups that are gone.
    fn discover(&mut self) {
        let told = self.kernel.lifecycle.is_ok();
        let late = self.walked.is_none_or(|walked| walked.elapsed() >= REPAIR_INTERVAL);
        if told && !late && !self.registry.needs_walk() {
            return;
        }
        // Only what was there before the walk can be proved gone by it.
        let before: HashSet<_> = self.cgroups_with_counts();
        self.registry.walk();
        self.walked = Some(Instant::now());
        self.close_ended();
        self.retire(|registry, counters, cgroup_id| {
            before.contains(&(counters, cgroup_id)) && registry.is_gone(counters, cgroup_id)
        });
        self.registry.prune(|counters, cgroup_id| before.contains(&(counters, cgroup_id)));
        let registry = &self.registry;
        self.baseline.retain(|id, _| registry.get(*id).is_some());
        self.missed.retain(|id| registry.get(id).is_some());
        self.flights.retain(|id| registry.get(id).is_some());
    }

    fn cgroups_with_counts(&self) -> HashSet<(Counters, u64)> {
        let mut cgroups = HashSet::new();
        if let Some(net) = &self.kernel.net {
            net.for_each(|_, key, _| {
                cgroups.insert((Counters::Net, key.cgroup_id));
            });
        }
        if let Ok(block) = &self.kernel.block {
            block.table.for_each(|_, key, _| {
                cgroups.insert((Counters::Block, key.cgroup_id));
            });
        }
        cgroups
    }

    /// Stops counting for cgroups that are gone.
    fn retire(&mut self, is_gone: impl Fn(&Registry, Counters, u64) -> bool) {
        let Self { registry, kernel: Kernel { net, block, .. }, .. } = self;
        if let Some(net) = net {
            net.retire(|key| is_gone(registry, Counters::Net, key.cgroup_id));
        }
        if let Ok(block) = block {
            block.table.retire(|key| is_gone(registry, Counters::Block, key.cgroup_id));
        }
    }

    /// Adds what removed sub-cgroups had counted to their owners, and frees the slots.
    fn release(&mut self) {
        let Self { registry, kernel, books, segments, .. } = self;
        let Kernel { net, block, .. } = kernel;
        if let Some(net) = net {
            net.release(|_, key, cell| {
                segments.released(cell);
                let owner = registry.owner(Counters::Net, key.cgroup_id);
                if let Some(tracked) = owner.and_then(|owner| registry.get_mut(owner)) {
                    tracked.former_net.add(cell);
                }
            });
        }
        if let Ok(BlockPrograms { table, latency, .. }) = block {
            table.release(|slot, key, cell| {
                books.released(key.device, cell);
                let times = latency.finish(slot);
                let owner = registry.owner(Counters::Block, key.cgroup_id);
                if let Some(tracked) = owner.and_then(|owner| registry.get_mut(owner)) {
                    tracked.former_block.entry(key.device).or_default().add(cell);
                    let former = tracked.former_latency.entry(key.device).or_default();
                    former.add(&times);
                }
            });
        }
    }

    /// Reads the files of all cgroups, family by family.
    fn read_files(&mut self, sample: &mut Sample) {
        let Self { registry, kernel, host, buffer, memory_stat_interval, .. } = self;
        let mut faults = Vec::new();
        let mut vanished = HashSet::new();
        match host.read_host(buffer) {
            Ok(usage) => sample.host = usage,
            Err(fault) => faults.push(fault),
        }
        let mut context = ReadContext {
            memory_stat_interval: *memory_stat_interval,
            reads_block: kernel.block.is_err(),
            ..ReadContext::new(sample.taken_at, buffer)
        };
        for step in Readers::STEPS {
            for (usage, tracked) in sample.usages.iter_mut().zip(registry.tracked_mut()) {
                let Some(readers) = &mut tracked.readers else { continue };
                match step(readers, &mut context, &mut usage.readings) {
                    Ok(()) => {}
                    Err(ReadError::Vanished) => drop(vanished.insert(usage.instance.id)),
                    Err(fault) => faults.push(fault),
                }
            }
        }
        // A cgroup that was removed meanwhile is not in this sample; the next walk reaps it.
        sample.usages.retain(|usage| !vanished.contains(&usage.instance.id));
        for fault in faults {
            registry.tell(&fault);
        }
    }

    fn read_pods(&mut self, sample: &mut Sample) {
        let Self { pods, registry, buffer, memory_stat_interval, .. } = self;
        let faults = pods.read(*memory_stat_interval, sample.taken_at, buffer, &mut sample.pods);
        faults.iter().for_each(|fault| registry.tell(fault));
    }

    /// Sets what the kernel counts to what removed sub-cgroups had counted. Where the kernel counts
    /// and has no slot for a member, there was nothing else to count.
    fn reset_tables(&self, usages: &mut [Usage]) {
        let Self { registry, kernel, .. } = self;
        for usage in usages {
            if let Some(tracked) = registry.get(usage.instance.id) {
                let charged = block::charge(tracked, kernel, &mut usage.block_reason);
                let net = kernel.net.is_some() && tracked.has_sockets;
                usage.net = net.then_some(tracked.former_net);
                if kernel.block.is_ok() && charged {
                    block::reset(usage.block.get_or_insert_default(), &tracked.former_block);
                } else {
                    usage.block = None;
                }
                block::reset(&mut usage.latency, &tracked.former_latency);
            }
        }
    }

    /// Sums the kernel's counters by owner. No system call is made.
    fn read_tables(&mut self, usages: &mut [Usage]) {
        let Self { registry, kernel, missed, .. } = self;
        missed.begin(block::overflows(kernel), usages);
        // Serials only grow, so the usages are sorted by them.
        let find = |usages: &mut [Usage], counters, key: Key| {
            let owner = registry.owner(counters, key.cgroup_id)?;
            usages.binary_search_by_key(&owner, |usage| usage.instance.id).ok()
        };
        if let Some(net) = &kernel.net {
            net.for_each(|_, key, cell| {
                if let Some(at) = find(usages, Counters::Net, key)
                    && let Some(sum) = &mut usages[at].net
                {
                    missed.found(Counters::Net, at);
                    sum.add(cell);
                }
            });
        }
        if let Ok(BlockPrograms { table, latency, .. }) = &kernel.block {
            table.for_each(|slot, key, cell| {
                if let Some(at) = find(usages, Counters::Block, key)
                    && let Some(devices) = &mut usages[at].block
                {
                    missed.found(Counters::Block, at);
                    devices.entry(key.device).or_default().add(cell);
                    let sum = usages[at].latency.entry(key.device).or_default();
                    sum.add(&latency.of(slot));
                }
            });
        }
        missed.strike(usages);
    }

    fn read_namespaces(&mut self, sample: &mut Sample) {
        let Self { registry, buffer, .. } = self;
        let mut faults = Vec::new();
        // Before anything is read: what nobody holds any more is read into again.
        sample.namespaces.clear();
        for namespace in sample.usages.iter().filter_map(|usage| usage.namespace) {
            if let Entry::Vacant(entry) = sample.namespaces.entry(namespace) {
                match registry.namespaces_mut().latest(namespace, buffer) {
                    Ok(interfaces) => drop(entry.insert(interfaces)),
                    Err(fault) => faults.push(fault),
                }
            }
        }
        for fault in faults {
            registry.tell(&fault);
        }
    }
}
