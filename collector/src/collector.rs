//! What every command starts with: the kernel side, the registry and the files, and how samples
//! become reports.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{FromRawFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
    sys::resource::{Resource, getrlimit, setrlimit},
};
use tare_ebpf::Cell;
use tokio::time;

use crate::{
    cgroup::find_hierarchies,
    config::{Bpf, Common, NetLevel},
    devices::Devices,
    families::source::SourceStatus,
    host::{HostFacts, HostFiles},
    identity::{MetadataFilter, MetadataResolver},
    kernel::{self, Events, Kernel, SocketLevel, Table},
    kernel_totals::Diskstats,
    model::{Family, Report, Snapshot, Source, Sources},
    network::Namespaces,
    output::Scope,
    reason::Reason,
    registry::{Counters, Follow, Registry, socket_ids},
    report::{self, ReportBuilder, ReportOptions},
    sample::{BlockReconciler, Receipts, Reconcilers, RetransmitReconciler, Sample, Sampler},
    sources,
    telemetry::SlotUsage,
    timing::{self, timed},
};

/// The first names are worth this wait; later ones arrive when they arrive.
pub const NAMES_TIMEOUT: Duration = Duration::from_millis(500);

/// Descriptors that the kernel's table has room for from the start: those of about 300 containers,
/// in 32 KiB.
const DESCRIPTORS_AT_START: i32 = 4096;

/// Everything that is needed to tell what containers use.
pub struct Collector {
    /// Takes the samples.
    pub sampler: Sampler,
    host: Arc<HostFacts>,
}

/// All that a report is made of, at one instant. It costs little to keep, and the report can be
/// made of it on another thread, if it is wanted at all.
#[derive(Clone)]
pub struct SamplePair {
    /// The sample before; `None` for the first one.
    pub older: Option<Arc<Sample>>,
    /// The sample.
    pub newer: Arc<Sample>,
    /// What ended containers had used.
    pub receipts: Receipts,
    host: Arc<HostFacts>,
    layout: &'static str,
    sources: Sources,
}

/// What a loop was woken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// It is time for a sample.
    Tick,
    /// Somebody was born or ended.
    Event,
}

impl SamplePair {
    /// Makes the report.
    pub fn report(&self) -> Report {
        self.draft(ReportOptions::WHOLE).report()
    }

    /// Makes so much of the report, without its containers.
    pub fn draft(&self, extent: ReportOptions) -> ReportBuilder<'_> {
        let Self { older, newer, receipts, host, layout, sources } = self;
        report::build(extent, older.as_deref(), newer, receipts, host, layout, sources.clone())
    }

    /// The report, and what changed since the sample before.
    pub fn snapshot(&self) -> Snapshot {
        let before = self.older.as_ref().map(|older| {
            let newer = Arc::clone(older);
            Self { older: None, newer, receipts: Receipts::new(0, Duration::ZERO), ..self.clone() }
                .report()
        });
        Snapshot::new(before.as_ref(), self.report())
    }
}

impl Collector {
    /// Loads the kernel side and opens what is read.
    ///
    /// # Errors
    ///
    /// If there is nothing to read, or if what `--bpf require` asks for is not there.
    pub fn start(common: &Common, scope: Scope) -> Result<Self> {
        let off = Reason::SwitchedOff { option: "--bpf off" };
        Self::open(common, scope, (common.bpf == Bpf::Off).then_some(off))
    }

    /// The same for a single sample. Counters in the kernel start at 0 when they are loaded, so
    /// they would tell nothing; without them it takes a fraction of the time.
    ///
    /// # Errors
    ///
    /// If there is nothing to read, or if the kernel side is required.
    pub fn start_for_one_sample(common: &Common, scope: Scope) -> Result<Self> {
        if common.bpf == Bpf::Require {
            bail!("--bpf require: a single sample uses no BPF; give it a --window");
        }
        Self::open(common, scope, Some(Reason::SingleSample))
    }

    fn open(common: &Common, scope: Scope, no_bpf: Option<Reason>) -> Result<Self> {
        let sampler = timed("starting", || start(common, scope, no_bpf))?;
        let host = timed("reading the host's facts", || {
            HostFacts::read(&common.proc_root, &common.sys_root)
        });
        Ok(Self { sampler, host: Arc::new(host) })
    }

    /// Waits for the names of the containers that the first sample found, but not for long.
    pub async fn settle_names(&self) {
        self.settle_names_within(NAMES_TIMEOUT).await;
    }

    async fn settle_names_within(&self, timeout: Duration) {
        let begun = Instant::now();
        self.sampler.registry.names().wait_settled(timeout).await;
        timing::log("waiting for names", begun);
    }

    /// Waits for the next tick; news are heard as they come.
    ///
    /// # Errors
    ///
    /// If events of the kernel cannot be waited for.
    pub async fn wait(&mut self, ticks: &mut time::Interval) -> Result<()> {
        while self.wait_for_event_or_tick(ticks).await? != Woken::Tick {}
        Ok(())
    }

    /// Waits for the next tick, or for news, which are heard then.
    ///
    /// # Errors
    ///
    /// If events of the kernel cannot be waited for.
    pub async fn wait_for_event_or_tick(&mut self, ticks: &mut time::Interval) -> Result<Woken> {
        tokio::select! {
            biased;
            _ = ticks.tick() => Ok(Woken::Tick),
            news = self.sampler.wait_for_events() => {
                news.context("cannot wait for events of the kernel")?;
                self.sampler.drain_events();
                Ok(Woken::Event)
            }
        }
    }

    /// Takes a sample.
    pub fn sample(&mut self) -> Arc<Sample> {
        Arc::make_mut(&mut self.host).refresh();
        timed("a sample", || self.sampler.take())
    }

    /// Takes a first and only sample, with the names that are told within `timeout`. Daemons
    /// answer while files are read, if the runtime has a thread for them.
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

    /// Events of the kernel that found no room, since the start.
    pub fn lost_events(&self) -> Option<u64> {
        self.sampler.kernel.lifecycle.as_ref().ok().map(Events::lost)
    }

    /// Kernel memory of the maps; `None` if there are none or the kernel does not tell.
    pub fn map_bytes(&self) -> Option<u64> {
        let maps = &self.sampler.kernel.maps;
        let bytes = maps.iter().map(|map| map.memory_bytes).sum::<Option<u64>>();
        bytes.filter(|_| !maps.is_empty())
    }

    /// What two samples tell, or one alone.
    pub fn report(&self, older: Option<&Arc<Sample>>, newer: &Arc<Sample>) -> Report {
        self.pair(older, newer).report()
    }

    /// The same, before it is made a report of.
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

    /// Where each family of numbers comes from now, for reports.
    pub fn sources(&self) -> Sources {
        let all = self.source_statuses();
        all.iter().map(|(family, status)| (*family, Source::from(status))).collect()
    }

    /// The same with typed reasons.
    pub fn source_statuses(&self) -> BTreeMap<Family, SourceStatus> {
        let Sampler { registry, kernel, reconcilers, .. } = &self.sampler;
        let Reconcilers { block, retransmits } = reconcilers;
        sources::decide(registry, kernel, block.result(), retransmits.result())
    }
}

fn start(common: &Common, scope: Scope, no_bpf: Option<Reason>) -> Result<Sampler> {
    raise_priority();
    let hierarchies = find_hierarchies(&common.proc_root, common.cgroup_root.as_deref())?;
    if hierarchies.roots().next().is_none() {
        bail!(
            "no cgroup hierarchy is mounted; mount cgroup2 at /sys/fs/cgroup, or in a container the host's, and name it with --cgroup-root"
        );
    }
    let host = HostFiles::open(&common.proc_root).context("cannot read the host's usage")?;
    let diskstats = Diskstats::open(&common.proc_root).context("cannot read the disks' usage")?;
    let follow = match scope {
        Scope::Containers => Follow::Containers,
        Scope::Services => Follow::Services,
        Scope::All => Follow::All,
    };
    let Common { labels, environment, .. } = common.clone();
    let allowed = MetadataFilter { labels, environment };
    let names = MetadataResolver::new(common.sockets.clone(), allowed);
    let unified = hierarchies.unified.clone();
    let socket_ids = socket_ids(&hierarchies);
    let namespaces = Namespaces::new(&common.proc_root);
    let registry = Registry::new(hierarchies, socket_ids, follow, namespaces, names);
    let kernel = Kernel::start(&kernel::Options {
        off: no_bpf,
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
    });
    if common.bpf == Bpf::Require {
        require(&kernel)?;
    }
    // The kernel's type information took some MiB.
    give_memory_back();
    let receipts = Receipts::new(common.receipts, common.receipt_ttl);
    let reconcilers = Reconcilers {
        block: BlockReconciler::new(diskstats),
        retransmits: RetransmitReconciler::new(&common.proc_root),
    };
    let devices = Devices::new(&common.sys_root);
    let mut sampler = Sampler::new(registry, kernel, host, devices, reconcilers, receipts);
    sampler.memory_stat_interval = common.memory_stat_interval;
    Ok(sampler)
}

fn slots<C: Cell>(name: &'static str, table: &Table<C>) -> SlotUsage {
    SlotUsage {
        table: name,
        used: table.used() as u64,
        limit: table.capacity() as u64,
        overflowed: table.overflow().words().iter().any(|count| *count != 0),
    }
}

/// `--bpf require`: the kernel side must be there, in the way that this kernel allows.
fn require(kernel: &Kernel) -> Result<()> {
    let Kernel { sockets, block, lifecycle, .. } = kernel;
    match sockets.as_ref().err().or(block.as_ref().err()).or(lifecycle.as_ref().err()) {
        Some(reason) => bail!("--bpf require: {reason}; `tare doctor` tells more"),
        None => Ok(()),
    }
}

/// The files of a container are gone some milliseconds after its last process. They are read in
/// time on a busy host too if nobody is served before us; it takes a tenth of a millisecond.
fn raise_priority() {
    const NICEST: i32 = -20;
    // SAFETY: changes this process's own nice value, which is memory-safe in any case.
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICEST) };
    if done != 0 {
        let error = io::Error::last_os_error();
        tracing::debug!(%error, "cannot raise the priority: receipts may be less exact");
    }
}

/// Gives free memory of the allocator back to the kernel, after much of it was needed for a moment.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: memory in use is not touched.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A container takes about a dozen descriptors, and the usual soft limit is 1,024. Call it before
/// there are threads: where some share the table of descriptors, the kernel waits some
/// milliseconds each time it grows (`fs/file.c`, `expand_fdtable`).
pub fn prepare_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    // Where the limit is lower, the table cannot grow so large either.
    if let Ok(last) = fcntl(io::stdin(), FcntlArg::F_DUPFD_CLOEXEC(DESCRIPTORS_AT_START - 1)) {
        // SAFETY: the descriptor was made just now and is nobody else's.
        drop(unsafe { OwnedFd::from_raw_fd(last) });
    }
}
