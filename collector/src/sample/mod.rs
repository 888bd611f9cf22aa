//! One raw sample of everything at one instant: cumulative counters, no arithmetic.
//!
//! The only place where the kernel's tables, cgroup files, network devices and the registry come
//! together. It knows no rates and no formats.

mod baseline;
mod block_reconciler;
mod block_totals;
mod counters;
mod data;
mod device_number;
mod ended;
mod files;
mod in_flight;
mod lifecycle;
mod open_files;
mod overflow;
mod pods;
mod pool;
mod receipts;
mod reconcilers;
mod retransmit_reconciler;
mod tasks;
mod walk;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

pub use self::{
    block_reconciler::BlockReconciler,
    data::{Sample, Usage},
    receipts::{Families, Finality, Receipt, Receipts},
    reconcilers::{Reconcilers, Reconciliation},
    retransmit_reconciler::RetransmitReconciler,
    walk::CgroupWalk,
};
use self::{
    counters::CounterReader,
    ended::EndedUsages,
    lifecycle::Draining,
    open_files::OpenFileReader,
    pods::Pods,
    pool::{MemoryReturn, SamplePool},
    tasks::TaskReader,
};
use crate::{
    devices::Devices,
    families::{ReadContext, perf_events::PerfEvents},
    host::HostFiles,
    kernel::{Kernel, Runs},
    network::{NamespaceSockets, SocketStatesReader},
    process::release_free_memory,
    reason::Reason,
    registry::{InstanceId, Registry},
};

/// Takes samples.
pub struct Sampler {
    /// What is alive.
    pub registry: Registry,
    /// Our programs in the kernel and their counters.
    pub kernel: Kernel,
    /// The last totals of ended containers.
    pub receipts: Receipts,
    /// Whether our counters add up to the kernel's own.
    pub reconcilers: Reconcilers,
    /// The least time between two readings of `memory.stat`; 0 reads it in every sample.
    pub memory_stat_interval: Duration,
    /// The walk over all cgroups, which spares most files.
    pub walk: CgroupWalk,
    /// The sockets of network namespaces.
    pub socket_states: SocketStatesReader,
    /// Whether the cgroups of pods are read as well.
    pub with_pods: bool,
    /// Whether CPU time is read by CPU as well, in every sample.
    pub with_per_cpu: bool,
    /// Which events are counted of each instance.
    pub perf_events: Option<PerfEvents>,
    pods: Pods,
    host: HostFiles,
    devices: Devices,
    counters: CounterReader,
    tasks: TaskReader,
    open_files: OpenFileReader,
    /// Instances whose last process has ended, until their cgroup is removed.
    draining: HashMap<InstanceId, Draining>,
    /// What the kernel says that those had used whose cgroups are being removed.
    ended: EndedUsages,
    samples: SamplePool,
    memory_return: MemoryReturn,
    /// When the programs began to count.
    counting_since: Timestamp,
    buffer: Vec<u8>,
    lost_events: u64,
    walked_at: Option<Instant>,
}

impl Sampler {
    /// Ready for the first sample.
    pub fn new(
        registry: Registry,
        kernel: Kernel,
        host: HostFiles,
        devices: Devices,
        reconcilers: Reconcilers,
        receipts: Receipts,
    ) -> Self {
        let tasks = TaskReader::new(registry.namespaces().proc_root());
        Self {
            walk: CgroupWalk::off(Reason::SwitchedOff { option: "--sources files" }),
            registry,
            kernel,
            receipts,
            reconcilers,
            memory_stat_interval: Duration::ZERO,
            socket_states: SocketStatesReader::new(Path::new("/proc"), NamespaceSockets::Off),
            with_pods: false,
            with_per_cpu: false,
            perf_events: None,
            pods: Pods::default(),
            host,
            devices,
            counters: CounterReader::default(),
            tasks,
            open_files: OpenFileReader::new(),
            draining: HashMap::new(),
            ended: EndedUsages::new(),
            samples: SamplePool::default(),
            memory_return: MemoryReturn::default(),
            counting_since: Timestamp::now(),
            buffer: Vec::new(),
            lost_events: 0,
            walked_at: None,
        }
    }

    /// Has the cgroups walked before each sample.
    pub fn start_walk(&mut self, walk: CgroupWalk) {
        self.registry.spare_walked_files(walk.layout().map(Arc::clone));
        self.walk = walk;
    }

    /// Runs of each loaded program so far, by its name in the object.
    pub fn program_runs(&self) -> BTreeMap<String, Runs> {
        let mut runs = self.kernel.runs();
        runs.extend(self.walk.runs().map(|(name, walks)| (name.to_owned(), walks)));
        runs
    }

    /// Takes a sample. A reader that fails costs its own numbers only.
    pub fn take(&mut self) -> Arc<Sample> {
        self.look();
        self.measure()
    }

    /// Finds what is alive, opens its files and asks for its names.
    pub fn look(&mut self) {
        self.kernel.drain_log();
        self.drain_events();
        self.walk_if_due();
        self.find_devices();
        self.registry.settle();
        if self.with_pods {
            self.pods.follow(&mut self.registry);
        }
        // Before the clock is read, because it may wait.
        self.registry.namespaces_mut().dump_links();
    }

    /// Takes a sample of what is known, without looking for anything new.
    ///
    /// A sample before the last is overwritten once no reader holds it. Then, as long as nothing
    /// new is there, no memory is allocated.
    pub fn measure(&mut self) -> Arc<Sample> {
        let mut sample = self.samples.take_spare();
        if let Some(sample) = Arc::get_mut(&mut sample) {
            self.fill(sample);
        }
        self.samples.publish(&sample);
        let (started, living) = self.registry.generation();
        if self.memory_return.is_due(started.saturating_sub(living as u64), living) {
            self.shrink();
        }
        sample
    }

    /// Frees memory that those who ended have left.
    fn shrink(&mut self) {
        self.registry.shrink();
        self.walk.shrink();
        self.kernel.shrink();
        self.draining.shrink_to_fit();
        self.ended.shrink_to_fit();
        release_free_memory();
    }

    /// The last sample, with the names that became known since it was taken.
    pub fn name_last(&mut self) -> Arc<Sample> {
        self.registry.name();
        let registry = &self.registry;
        self.samples.update_last(|usage| {
            if let Some(tracked) = registry.get(usage.instance.id) {
                usage.metadata.clone_from(&tracked.metadata);
            }
        })
    }

    /// The phases of a sample, in the order in which each needs the ones before.
    fn fill(&mut self, sample: &mut Sample) {
        let Self { registry, kernel, host, pods, devices, counters, reconcilers, .. } = self;
        let Self { receipts, buffer, memory_stat_interval, counting_since, walk, .. } = self;
        let Self { socket_states, tasks, open_files, perf_events, .. } = self;
        let reads_per_cpu = self.with_per_cpu;
        sample.start(registry, kernel, *counting_since);
        let mut context = ReadContext {
            memory_stat_interval: *memory_stat_interval,
            reads_block: kernel.block.is_err(),
            reads_processes: kernel.tasks.is_err(),
            reads_per_cpu,
            perf_events: perf_events.as_ref(),
            time: sample.time,
            ..ReadContext::new(sample.taken_at, buffer)
        };
        let mut errors = files::read_host(host, context.buffer, &mut sample.host);
        let mut walked = walk.run(registry);
        errors.extend(if registry.walk_layout().is_some() {
            let walked = walked.as_mut();
            files::read_walked_cgroups(registry, walked, &mut context, &mut sample.usages)
        } else {
            files::read_cgroups(registry, &mut context, &mut sample.usages)
        });
        // Their containers are counted, and each counter costs.
        context.perf_events = None;
        errors.extend(pods.read(registry, walked.as_mut(), &mut context, &mut sample.pods));
        // The baseline is read at the moment of the counters that it is added to.
        errors.extend(counters.read_baseline(registry, kernel, &mut context, &mut sample.usages));
        counters.read(registry, kernel, &mut sample.usages);
        tasks.read(registry, kernel, sample.moment(), &mut sample.usages);
        open_files.read(registry, kernel, sample.moment(), &mut sample.usages);
        files::take_writable_layers(registry, &mut sample.usages);
        errors.extend(reconcilers.block.compare(kernel, devices, buffer));
        errors.extend(reconcilers.retransmits.compare(registry, kernel, &sample.usages));
        // In flight is what was issued and not completed: the baseline, which has neither, comes
        // after it.
        counters.correct_in_flight(reconcilers.block.in_progress(), &mut sample.usages);
        counters.add_baseline(devices, &mut sample.usages);
        sample.name_devices(devices, receipts);
        errors.extend(files::read_namespaces(registry, buffer, sample));
        errors.extend(files::read_socket_states(registry, socket_states, sample));
        errors.iter().for_each(|error| registry.report(error));
        receipts.expire(sample.taken_at);
        receipts.add_late_metadata(registry.resolver_mut());
    }

    /// Looks for block devices that came and went.
    fn find_devices(&mut self) {
        let Self { devices, kernel, .. } = self;
        devices.refresh();
        if kernel.block.is_ok() {
            kernel.count_bios(devices.bio_leaves().map(device_number::device_number));
        }
    }
}
