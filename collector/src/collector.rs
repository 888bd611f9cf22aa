//! What every command starts with: the kernel side, the registry and the files, and how samples
//! become reports.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    libc,
    sys::resource::{Resource, getrlimit, setrlimit},
};
use tokio::time;

use crate::{
    cgroup::find_hierarchies,
    config::{Bpf, Common, NetLevel},
    devices::Devices,
    diskstats::Diskstats,
    host::{HostFacts, HostFiles},
    identity::Names,
    kernel::{self, Kernel, Sockets},
    model::{self, Report},
    network::Namespaces,
    output::Scope,
    registry::{Counters, Follow, Registry, socket_ids},
    sample::{BlockBooks, Receipts, Sample, Sampler, SegmentBooks},
    sources::{Sources, sources},
    timing::{self, timed},
};

/// The first names are worth this wait; later ones arrive when they arrive.
pub const NAMES_TIMEOUT: Duration = Duration::from_millis(500);

/// Everything that is needed to tell what containers use.
pub struct Collector {
    /// Takes the samples.
    pub sampler: Sampler,
    host: HostFacts,
}

impl Collector {
    /// Loads the kernel side and opens what is read.
    ///
    /// # Errors
    ///
    /// If there is nothing to read, or if what `--bpf require` asks for is not there.
    pub fn start(common: &Common, scope: Scope) -> Result<Self> {
        Self::open(common, scope, (common.bpf == Bpf::Off).then_some("switched off with --bpf off"))
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
        Self::open(
            common,
            scope,
            Some("not loaded for a single sample, in which it would count nothing"),
        )
    }

    fn open(common: &Common, scope: Scope, no_bpf: Option<&'static str>) -> Result<Self> {
        let sampler = timed("starting", || start(common, scope, no_bpf))?;
        let host = timed("reading the host's facts", || {
            HostFacts::read(&common.proc_root, &common.sys_root)
        });
        Ok(Self { sampler, host })
    }

    /// Waits for the names of the containers that the first sample found, but not for long.
    pub async fn settle_names(&self) {
        self.settle_names_within(NAMES_TIMEOUT).await;
    }

    async fn settle_names_within(&self, timeout: Duration) {
        let begun = Instant::now();
        self.sampler.registry.names().settled(timeout).await;
        timing::log("waiting for names", begun);
    }

    /// Waits for the next tick; news are heard as they come.
    ///
    /// # Errors
    ///
    /// If events of the kernel cannot be waited for.
    pub async fn wait(&mut self, ticks: &mut time::Interval) -> Result<()> {
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => return Ok(()),
                news = self.sampler.news() => {
                    news.context("cannot wait for events of the kernel")?;
                    self.sampler.hear();
                }
            }
        }
    }

    /// Takes a sample.
    pub fn sample(&mut self) -> Arc<Sample> {
        self.host.refresh();
        timed("a sample", || self.sampler.take())
    }

    /// Takes a first and only sample, with the names that are told within `timeout`.
    pub async fn only_sample(&mut self, timeout: Duration) -> Arc<Sample> {
        timed("opening files", || self.sampler.look());
        self.settle_names_within(timeout).await;
        self.sampler.registry.name();
        timed("a sample", || self.sampler.measure())
    }

    /// What two samples tell, or one alone.
    pub fn report(&self, older: Option<&Sample>, newer: &Sample) -> Report {
        let Sampler { registry, receipts, .. } = &self.sampler;
        let layout = registry.hierarchies().layout();
        model::report(older, newer, receipts, &self.host, layout, self.sources())
    }

    /// Where each family of numbers comes from now.
    pub fn sources(&self) -> Sources {
        let Sampler { registry, kernel, books, segments, .. } = &self.sampler;
        sources(registry, kernel, books.proof(), segments.proof())
    }
}

fn start(common: &Common, scope: Scope, no_bpf: Option<&'static str>) -> Result<Sampler> {
    raise_descriptor_limit();
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
    let names = Names::new(common.sockets.clone(), common.labels.clone());
    let unified = hierarchies.unified.clone();
    let socket_ids = socket_ids(&hierarchies);
    let namespaces = Namespaces::new(&common.proc_root);
    let registry = Registry::new(hierarchies, socket_ids, follow, namespaces, names);
    let kernel = Kernel::start(&kernel::Options {
        off: no_bpf,
        sys_root: common.sys_root.clone(),
        unified,
        socket_ids,
        sockets: common.net_level.map(|level| match level {
            NetLevel::Payload => Sockets::Payload,
            NetLevel::L3 => Sockets::L3,
        }),
        slots: common.slots,
        watched_net: registry.hierarchy(Counters::Net),
        watched_block: registry.hierarchy(Counters::Block),
    });
    if common.bpf == Bpf::Require {
        require(&kernel)?;
    }
    let receipts = Receipts::new(common.receipts, common.receipt_ttl);
    let books = (BlockBooks::new(diskstats), SegmentBooks::new(&common.proc_root));
    let devices = Devices::new(&common.sys_root);
    Ok(Sampler::new(registry, kernel, host, devices, books, receipts))
}

/// `--bpf require`: the kernel side must be there, in the way that this kernel allows.
fn require(kernel: &Kernel) -> Result<()> {
    let events = kernel.events_reason.as_ref().filter(|_| kernel.events.is_none());
    match kernel.sockets.as_ref().err().or(kernel.block_reason.as_ref()).or(events) {
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

/// A container takes about a dozen descriptors, and the usual soft limit is 1,024.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
