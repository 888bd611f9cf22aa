//! What every command starts with: the kernel side, the registry and the files, and how samples
//! become reports.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tare_ebpf::Cell;
use tare_model::{Family, Report, Snapshot, Source, Sources};
use tokio::time;

use crate::{
    cgroup::{Hierarchies, Version, find_hierarchies},
    config::{Bpf, CgroupSource, Common, NetLevel, TaskPasses},
    devices::Devices,
    families::{
        perf_events::{PerfEvent, PerfEvents},
        source::SourceStatus,
    },
    host::{HostFacts, HostFiles},
    identity::{MetadataFilter, MetadataResolver},
    kernel::{self, EndedHierarchies, Events, Kernel, SocketLevel, Table},
    kernel_totals::Diskstats,
    network::{Namespaces, SocketStatesReader},
    output::Scope,
    reason::Reason,
    registry::{Counters, Follow, Registry, socket_ids},
    report::{self, ReportBuilder, ReportOptions},
    sample::{
        BlockReconciler, CgroupWalk, Receipts, Reconcilers, RetransmitReconciler, Sample, Sampler,
    },
    sources,
    telemetry::SlotUsage,
    timing::{self, timed},
};

/// How long a first report waits for names. Later names are shown when they arrive.
pub const NAMES_TIMEOUT: Duration = Duration::from_millis(500);

/// Everything that samples and reports need.
pub struct Collector {
    /// Takes the samples.
    pub sampler: Sampler,
    host: Arc<HostFacts>,
}

/// Two consecutive samples, with all else that a report is made of. It costs little to keep, and
/// another thread can make the report, if one is wanted.
#[derive(Clone)]
pub struct SamplePair {
    /// The sample before; `None` for the first one.
    pub older: Option<Arc<Sample>>,
    /// The sample.
    pub newer: Arc<Sample>,
    /// The receipts of ended containers.
    pub receipts: Receipts,
    host: Arc<HostFacts>,
    layout: &'static str,
    sources: Sources,
}

/// What a [`SamplePair`] is made of.
#[allow(missing_docs)]
pub struct PairParts {
    pub older: Option<Arc<Sample>>,
    pub newer: Arc<Sample>,
    pub receipts: Receipts,
    pub host: Arc<HostFacts>,
    pub layout: &'static str,
    pub sources: Sources,
}

/// Why a loop wakes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// It is time for a sample.
    Tick,
    /// The kernel reported that cgroups began or ended; the registry knows of it.
    Events,
}

impl SamplePair {
    /// Puts one together that was recorded.
    pub fn of(parts: PairParts) -> Self {
        let PairParts { older, newer, receipts, host, layout, sources } = parts;
        Self { older, newer, receipts, host, layout, sources }
    }

    /// Where each family of numbers comes from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Facts about the host.
    pub fn host_facts(&self) -> &HostFacts {
        &self.host
    }

    /// Which cgroup interfaces the host has: `v1`, `v2` or `hybrid`.
    pub fn layout(&self) -> &'static str {
        self.layout
    }

    /// Makes the report.
    pub fn report(&self) -> Report {
        self.builder(ReportOptions::WHOLE).report()
    }

    /// Makes a report up to its rows, which are made one by one on demand.
    pub fn builder(&self, options: ReportOptions) -> ReportBuilder<'_> {
        let Self { older, newer, receipts, host, layout, sources } = self;
        report::build(options, older.as_deref(), newer, receipts, host, layout, sources.clone())
    }

    /// The sample before, alone and without receipts.
    pub fn before(&self) -> Option<Self> {
        let newer = Arc::clone(self.older.as_ref()?);
        let receipts = Receipts::new(0, Duration::ZERO);
        Some(Self { older: None, newer, receipts, ..self.clone() })
    }

    /// The report, and what changed since the sample before.
    pub fn snapshot(&self) -> Snapshot {
        let before = self.before().map(|before| before.report());
        Snapshot::new(before.as_ref(), self.report())
    }
}

impl Collector {
    /// Loads the kernel side and opens what is read.
    ///
    /// # Errors
    ///
    /// If there is nothing to read, or if what `--bpf require` asks for is not there.
    pub fn start(common: &Common, follow: Follow) -> Result<Self> {
        let off = Reason::SwitchedOff { option: "--bpf off" };
        Self::open(common, follow, (common.bpf == Bpf::Off).then_some(off))
    }

    /// The same for a single sample, without BPF: counters in the kernel start at 0 when they are
    /// loaded, so a single reading would be empty.
    ///
    /// # Errors
    ///
    /// If there is nothing to read, or if the kernel side is required.
    pub fn start_for_one_sample(common: &Common, follow: Follow) -> Result<Self> {
        if common.bpf == Bpf::Require {
            bail!("--bpf require: a single sample uses no BPF; give it a --window");
        }
        if common.sources == CgroupSource::Walk {
            bail!("--sources walk: a single sample uses no BPF; give it a --window");
        }
        Self::open(common, follow, Some(Reason::SingleSample))
    }

    fn open(common: &Common, follow: Follow, no_bpf: Option<Reason>) -> Result<Self> {
        let sampler = timed("starting", || start(common, follow, no_bpf))?;
        let host = timed("reading the host's facts", || {
            HostFacts::read(&common.proc_root, &common.sys_root)
        });
        Ok(Self { sampler, host: Arc::new(host) })
    }

    /// Gives the host another name than the kernel's.
    pub fn name_host(&mut self, name: Option<&String>) {
        if let Some(name) = name {
            Arc::make_mut(&mut self.host).identity.hostname = Some(name.clone());
        }
    }

    /// Waits up to [`NAMES_TIMEOUT`] for the names of the containers in the first sample.
    pub async fn settle_names(&self) {
        self.settle_names_within(NAMES_TIMEOUT).await;
    }

    async fn settle_names_within(&self, timeout: Duration) {
        let begun = Instant::now();
        self.sampler.registry.resolver().wait_settled(timeout).await;
        timing::log("waiting for names", begun);
    }

    /// Waits for the next tick. Events of the kernel are handled meanwhile.
    ///
    /// # Errors
    ///
    /// If events of the kernel cannot be waited for.
    pub async fn wait(&mut self, ticks: &mut time::Interval) -> Result<()> {
        while self.wait_for_event_or_tick(ticks).await? != Wakeup::Tick {}
        Ok(())
    }

    /// Waits for the next tick or for events of the kernel, which are then handled.
    ///
    /// # Errors
    ///
    /// If events of the kernel cannot be waited for.
    pub async fn wait_for_event_or_tick(&mut self, ticks: &mut time::Interval) -> Result<Wakeup> {
        tokio::select! {
            biased;
            _ = ticks.tick() => Ok(Wakeup::Tick),
            events = self.sampler.wait_for_events() => {
                events.context("cannot wait for events of the kernel")?;
                self.sampler.drain_events();
                Ok(Wakeup::Events)
            }
        }
    }

    /// Takes a sample.
    pub fn sample(&mut self) -> Arc<Sample> {
        Arc::make_mut(&mut self.host).refresh();
        timed("a sample", || self.sampler.take())
    }

    /// Takes a first and only sample, with the names that arrive within `timeout`. Container
    /// daemons answer while files are read, if the runtime has a thread for them.
    pub async fn only_sample(&mut self, timeout: Duration) -> Arc<Sample> {
        let begun = Instant::now();
        timed("opening files", || self.sampler.look());
        timed("a sample", || self.sampler.measure());
        self.settle_names_within(timeout.saturating_sub(begun.elapsed())).await;
        self.sampler.name_last()
    }

    /// How the kernel's counter tables are filled.
    pub fn slots(&self) -> Vec<SlotUsage> {
        let Kernel { net, block, .. } = &self.sampler.kernel;
        let net = net.as_ref().map(|table| slots("network", table));
        let block = block.as_ref().ok().map(|block| slots("block", &block.table));
        net.into_iter().chain(block).collect()
    }

    /// Events of the kernel that were lost since the start, because the ring was full.
    pub fn lost_events(&self) -> Option<u64> {
        self.sampler.kernel.lifecycle.as_ref().ok().map(Events::lost)
    }

    /// Kernel memory of the maps in bytes; `None` if there are none or the kernel does not say.
    pub fn map_bytes(&self) -> Option<u64> {
        let Sampler { kernel, walk, .. } = &self.sampler;
        let bytes = kernel.maps.iter().map(|map| map.memory_bytes).sum::<Option<u64>>();
        let bytes = bytes.map(|bytes| bytes + walk.memory_bytes());
        bytes.filter(|bytes| *bytes > 0)
    }

    /// The report of two samples, or of one alone, without rates.
    pub fn report(&self, older: Option<&Arc<Sample>>, newer: &Arc<Sample>) -> Report {
        self.pair(older, newer).report()
    }

    /// Two samples, or one alone, with all else that a report is made of.
    pub fn pair(&self, older: Option<&Arc<Sample>>, newer: &Arc<Sample>) -> SamplePair {
        let Sampler { registry, receipts, .. } = &self.sampler;
        SamplePair {
            older: older.map(Arc::clone),
            newer: Arc::clone(newer),
            receipts: receipts.clone(),
            host: Arc::clone(&self.host),
            layout: registry.hierarchies().layout(),
            sources: self.sources(),
        }
    }

    /// Where each family of numbers comes from at present, for reports.
    pub fn sources(&self) -> Sources {
        let all = self.source_statuses();
        all.iter().map(|(family, status)| (*family, Source::from(status))).collect()
    }

    /// Has these events counted of each instance from now on.
    pub fn count_perf_events(&mut self, wanted: &[PerfEvent], sys_root: &Path) {
        let hierarchies = self.sampler.registry.hierarchies();
        self.sampler.perf_events = PerfEvents::start(hierarchies, sys_root, wanted);
    }

    /// The same with typed reasons.
    pub fn source_statuses(&self) -> BTreeMap<Family, SourceStatus> {
        sources::decide(&self.sampler)
    }
}

fn start(common: &Common, follow: Follow, no_bpf: Option<Reason>) -> Result<Sampler> {
    let hierarchies = find_hierarchies(&common.proc_root, common.cgroup_root.as_deref())?;
    if hierarchies.roots().next().is_none() {
        bail!(
            "no cgroup hierarchy is mounted; mount cgroup2 at /sys/fs/cgroup, or in a container the host's, and name it with --cgroup-root"
        );
    }
    let host = HostFiles::open(&common.proc_root).context("cannot read the host's usage")?;
    let diskstats = Diskstats::open(&common.proc_root).context("cannot read the disks' usage")?;
    let Common { labels, environment, writable_layers, .. } = common.clone();
    let allowed = MetadataFilter { labels, environment, writable_layers };
    let names = MetadataResolver::new(common.sockets.clone(), allowed);
    let unified = hierarchies.unified.clone();
    let socket_ids = socket_ids(&hierarchies);
    let namespaces = Namespaces::new(&common.proc_root);
    let registry = Registry::new(hierarchies, socket_ids, follow, namespaces, names);
    let kernel = Kernel::start(&kernel::Options {
        off: no_bpf.clone(),
        sys_root: common.sys_root.clone(),
        unified,
        socket_ids,
        socket_level: common.net_level.map(|level| match level {
            NetLevel::Payload => SocketLevel::Payload,
            NetLevel::L3 => SocketLevel::L3,
        }),
        slots: common.slots,
        watched_net: registry.hierarchy(Counters::Net),
        watched_block: registry.hierarchy(Counters::Block),
        tasks_off: (common.tasks == TaskPasses::Off)
            .then_some(Reason::SwitchedOff { option: "--tasks off" }),
        ended: ended_hierarchies(registry.hierarchies()),
    });
    if common.bpf == Bpf::Require {
        require(&kernel)?;
    }
    let receipts = Receipts::new(common.receipts, common.receipt_ttl);
    let reconcilers = Reconcilers {
        block: BlockReconciler::new(diskstats),
        retransmits: RetransmitReconciler::new(&common.proc_root),
    };
    let devices = Devices::new(&common.sys_root);
    let mut sampler = Sampler::new(registry, kernel, host, devices, reconcilers, receipts);
    sampler.memory_stat_interval = common.memory_stat_interval;
    sampler.socket_states = SocketStatesReader::new(&common.proc_root, common.namespace_sockets);
    let walk = start_walk(common.sources, no_bpf, &sampler);
    if common.sources == CgroupSource::Walk
        && let Err(reason) = walk.status().way
    {
        bail!("--sources walk: {reason}; `tare doctor` says more");
    }
    sampler.start_walk(walk);
    Ok(sampler)
}

/// The hierarchies that the last totals are of: those that files are read of.
fn ended_hierarchies(hierarchies: &Hierarchies) -> EndedHierarchies {
    let id = |root| hierarchies.id(root);
    let of = |controller| hierarchies.controller(controller).and_then(|found| id(found.root));
    let cpuacct = hierarchies.controller("cpuacct").filter(|found| found.version == Version::V1);
    let cpu = cpuacct.map(|found| found.root).or(hierarchies.unified.as_deref());
    EndedHierarchies { cpu: cpu.and_then(id), memory: of("memory"), pids: of("pids") }
}

/// Loads the walk over all cgroups, if it is wanted and possible.
fn start_walk(wanted: CgroupSource, no_bpf: Option<Reason>, sampler: &Sampler) -> CgroupWalk {
    if wanted == CgroupSource::Files {
        return CgroupWalk::off(Reason::SwitchedOff { option: "--sources files" });
    }
    match (no_bpf, &sampler.kernel.facts) {
        (Some(reason), _) => CgroupWalk::off(reason),
        (None, None) => CgroupWalk::off(Reason::NoObject),
        (None, Some(facts)) => timed("loading the walk of the cgroups", || {
            let by_default = wanted == CgroupSource::Auto;
            CgroupWalk::start(facts, sampler.registry.hierarchies(), by_default)
        }),
    }
}

impl From<Scope> for Follow {
    /// Exactly what is in scope: no fallback on a host without containers.
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Containers => Self::Containers,
            Scope::Services => Self::Services,
            Scope::All => Self::All,
        }
    }
}

fn slots<C: Cell>(name: &'static str, table: &Table<C>) -> SlotUsage {
    SlotUsage {
        table: name,
        used: table.used() as u64,
        limit: table.capacity() as u64,
        overflowed: table.overflow().words().iter().any(|count| *count != 0),
    }
}

/// Refuses to start without the kernel side (`--bpf require`).
fn require(kernel: &Kernel) -> Result<()> {
    let Kernel { sockets, block, lifecycle, .. } = kernel;
    let reason = sockets.as_ref().err();
    let reason = reason.or_else(|| block.as_ref().err()).or_else(|| lifecycle.as_ref().err());
    match reason {
        Some(reason) => bail!("--bpf require: {reason}; `tare doctor` says more"),
        None => Ok(()),
    }
}
