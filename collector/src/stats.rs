//! `tare stats`: samples at a steady pace, shown as a table or written as JSON.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{self, MissedTickBehavior},
};

use crate::{
    cgroup::find_hierarchies,
    config::{Bpf, Common, Stats},
    devices::Devices,
    host::{HostFacts, HostFiles},
    identity::docker::DockerNames,
    kernel::{self, Kernel},
    model::{self, Report},
    network::Namespaces,
    output::{Format, Scope, json, screen::Screen, select, table},
    registry::{Follow, Registry},
    sample::{Sample, Sampler},
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
    sampler.discover();
    let mut older = sampler.take();
    let mut ticks = time::interval_at(time::Instant::now() + stats.interval, stats.interval);
    // A late report is late once; there is no use in making up for it.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sampler.registry.names().settled(NAMES_TIMEOUT).await;
    loop {
        ticks.tick().await;
        sampler.discover();
        let newer = sampler.take();
        let report = report(&sampler, &older, &newer, &host);
        writer.write(report)?;
        if !stats.stream {
            return Ok(());
        }
        older = newer;
    }
}

fn start(common: &Common, stats: &Stats) -> Result<Sampler> {
    raise_descriptor_limit();
    let hierarchies = find_hierarchies(&common.proc_root, common.cgroup_root.as_deref())?;
    if hierarchies.roots().next().is_none() {
        bail!(
            "no cgroup hierarchy is mounted; in a container, mount the host's and name it with --cgroup-root"
        );
    }
    let kernel = Kernel::start(&kernel::Options {
        enabled: common.bpf != Bpf::Off,
        sys_root: common.sys_root.clone(),
        unified: hierarchies.unified.clone(),
        slots: common.slots,
    });
    let host = HostFiles::open(&common.proc_root).context("cannot read the host's usage")?;
    let follow = match stats.table.scope {
        Scope::Containers => Follow::Containers,
        Scope::Services => Follow::Services,
        Scope::All => Follow::All,
    };
    let names = DockerNames::spawn(common.docker_socket.clone());
    let registry = Registry::new(hierarchies, follow, Namespaces::new(&common.proc_root), names);
    if common.bpf == Bpf::Require {
        require(&kernel)?;
    }
    Ok(Sampler::new(registry, kernel, host, Devices::new(&common.sys_root)))
}

/// `--bpf require`: the kernel side must be there, in the way that this kernel allows.
fn require(kernel: &Kernel) -> Result<()> {
    match kernel.sockets.as_ref().err().or(kernel.block_reason.as_ref()) {
        Some(reason) => bail!("--bpf require: {reason}"),
        None => Ok(()),
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
    model::report(Some(older), newer, host, layout, sources)
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
