//! `tare stats`: samples at a steady pace, shown as a table or written as JSON.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    libc,
    sys::resource::{Resource, getrlimit, setrlimit},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{self, MissedTickBehavior},
};

use crate::{
    cgroup::find_hierarchies,
    config::{Bpf, Common, NetLevel, Stats},
    devices::Devices,
    host::{HostFacts, HostFiles},
    identity::docker::DockerNames,
    kernel::{self, Kernel, Sockets},
    model::{self, Report},
    network::Namespaces,
    output::{Format, Scope, json, screen::Screen, select, table},
    registry::{Counters, Follow, Registry, socket_ids},
    sample::{Receipts, Sample, Sampler},
    sources::sources,
};

/// The first names are worth this wait; later ones arrive when they arrive.
const NAMES_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs until interrupted, or until the one report is out.
pub async fn run(common: &Common, stats: &Stats) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let work = report_forever(common, stats);
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

async fn report_forever(common: &Common, stats: &Stats) -> Result<()> {
    let mut sampler = start(common, stats)?;
    let host = HostFacts::read(&common.proc_root);
    let mut writer = Writer::new(stats);
    let mut older = sampler.take();
    let mut ticks = time::interval_at(time::Instant::now() + stats.interval, stats.interval);
    // A late report is late once; there is no use in making up for it.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sampler.registry.names().settled(NAMES_TIMEOUT).await;
    loop {
        wait(&mut sampler, &mut ticks).await?;
        let newer = sampler.take();
        let report = report(&sampler, &older, &newer, &host);
        writer.write(report)?;
        if !stats.stream {
            return Ok(());
        }
        older = newer;
    }
}

/// Waits for the next tick; news are heard as they come.
async fn wait(sampler: &mut Sampler, ticks: &mut time::Interval) -> Result<()> {
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => return Ok(()),
            news = sampler.news() => {
                news.context("cannot wait for events of the kernel")?;
                sampler.hear();
            }
        }
    }
}

fn start(common: &Common, stats: &Stats) -> Result<Sampler> {
    raise_descriptor_limit();
    raise_priority();
    let hierarchies = find_hierarchies(&common.proc_root, common.cgroup_root.as_deref())?;
    if hierarchies.roots().next().is_none() {
        bail!(
            "no cgroup hierarchy is mounted; in a container, mount the host's and name it with --cgroup-root"
        );
    }
    let host = HostFiles::open(&common.proc_root).context("cannot read the host's usage")?;
    let follow = match stats.table.scope {
        Scope::Containers => Follow::Containers,
        Scope::Services => Follow::Services,
        Scope::All => Follow::All,
    };
    let names = DockerNames::spawn(common.docker_socket.clone());
    let unified = hierarchies.unified.clone();
    let socket_ids = socket_ids(&hierarchies);
    let namespaces = Namespaces::new(&common.proc_root);
    let registry = Registry::new(hierarchies, socket_ids, follow, namespaces, names);
    let kernel = Kernel::start(&kernel::Options {
        enabled: common.bpf != Bpf::Off,
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
    Ok(Sampler::new(registry, kernel, host, Devices::new(&common.sys_root), receipts))
}

/// `--bpf require`: the kernel side must be there, in the way that this kernel allows.
fn require(kernel: &Kernel) -> Result<()> {
    let events = kernel.events_reason.as_ref().filter(|_| kernel.events.is_none());
    match kernel.sockets.as_ref().err().or(kernel.block_reason.as_ref()).or(events) {
        Some(reason) => bail!("--bpf require: {reason}"),
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

fn report(sampler: &Sampler, older: &Sample, newer: &Sample, host: &HostFacts) -> Report {
    let sources = sources(&sampler.registry, &sampler.kernel);
    let layout = sampler.registry.hierarchies().layout();
    model::report(Some(older), newer, &sampler.receipts, host, layout, sources)
}

/// Where reports go.
struct Writer<'a> {
    stats: &'a Stats,
    screen: Screen<io::Stdout>,
    reports: u64,
}

impl<'a> Writer<'a> {
    fn new(stats: &'a Stats) -> Self {
        Self { stats, screen: Screen::stdout(stats.stream), reports: 0 }
    }

    fn write(&mut self, mut report: Report) -> Result<()> {
        let found = select::select(&mut report, &self.stats.names);
        // A container that is asked for must be there at the start; it may end later.
        if self.reports == 0 {
            found?;
        }
        self.reports += 1;
        match self.stats.format {
            Format::Table => {
                self.screen.show(&table::render(&report, &self.stats.table))?;
            }
            Format::Json => {
                select::narrow(&mut report, self.stats.table.scope);
                let mut out = io::stdout().lock();
                json::write(&report, &mut out)?;
                out.flush()?;
            }
        }
        Ok(())
    }
}
