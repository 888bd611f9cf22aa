//! `tare run`: samples at a steady pace, keeps recent history and receipts, and serves them.
//!
//! The main thread samples and does nothing else; the server has a thread of its own
//! ([`server`](crate::server)). They share what is [`published`](crate::published).

mod bpf_stats_sampler;
mod budget;
mod capabilities;
mod notify;
mod reload;

use std::{
    collections::HashMap,
    ffi::OsString,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::{self, LocalSet},
    time::{self, MissedTickBehavior},
};

use self::{bpf_stats_sampler::BpfStatsSampler, budget::Budget};
use crate::{
    cgroup::find_hierarchies,
    collector::{Collector, Wakeup},
    config::{Common, Limits, Run},
    export::{self, Exporter},
    faces,
    logging::Logging,
    process::{keep_capabilities, release_free_memory, set_nice, share_one_heap},
    published::{ProcessSource, RUNTIME_WAIT, SharedState, own_usage},
    record::Recorder,
    sample::Sample,
    server::{Listeners, LiveConfig, Server},
    telemetry::SamplingStats,
};

/// What a reload of the configuration needs.
pub struct Control {
    /// The command line.
    pub arguments: Vec<OsString>,
    /// The log.
    pub logging: Logging,
}

/// The nice value of the sampling thread without `--nice`.
const DEFAULT_NICE: i8 = -20;

/// After so many samples all files are open and read, or there is memory for all samples that are
/// kept, and the memory that this took for a moment is returned.
const SETTLED_SAMPLES: [u64; 2] = [2, 6];

/// From one look at what runtimes say of ended containers to the next, within [`RUNTIME_WAIT`].
const RUNTIME_POLL: Duration = Duration::from_millis(50);

/// Runs until a signal ends it.
///
/// # Errors
///
/// If it cannot listen, or if there is nothing to read.
pub async fn run(common: &Common, run: &Run, control: &Control) -> Result<()> {
    share_one_heap();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let hangup = signal(SignalKind::hangup())?;
    // Wrong addresses and files are reported before anything is loaded.
    let listeners = Listeners::bind(&run.listen, &run.socket)?.with_docker(&run.docker_api)?;
    let config = watch::Sender::new(Arc::new(LiveConfig::load(run.clone())?));
    let hierarchies = find_hierarchies(&common.proc_root, common.cgroup_root.as_deref())?;
    let processes = ProcessSource { hierarchies, proc_root: common.proc_root.clone() };
    let shared = Arc::new(SharedState::new(run, processes));
    let exporter = Exporter::start(run, &shared)?;
    let recorder = run
        .record
        .as_ref()
        .map(|record| Recorder::start(&record.directory, record.limits, record.interval));
    let mut recorder = recorder.transpose()?;
    shared.set_recording(recorder.as_ref().map(|recorder| Arc::clone(recorder.counts())));
    let server = Server::spawn(listeners, Arc::clone(&shared), config.subscribe(), faces::router)?;
    let daemon = Daemon::start(common, config, shared)?;
    let work = daemon.work(control, &exporter, recorder.as_mut(), hangup);
    let done = tokio::select! {
        done = work => done,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    notify::notify(notify::STOPPING);
    exporter.stop();
    server.stop();
    if let Some(recorder) = recorder {
        recorder.stop();
    }
    done
}

/// Checks the configuration, the files that it names and whether each sink can be reached.
///
/// # Errors
///
/// The first thing that is wrong.
pub async fn check(run: &Run) -> Result<()> {
    LiveConfig::load(run.clone())?;
    let sinks = export::prepare(run, &HashMap::new())?;
    LocalSet::new().run_until(export::check(&sinks)).await?;
    println!("the configuration is valid; {} sinks can be reached", sinks.len());
    Ok(())
}

/// The sampling loop.
struct Daemon {
    collector: Collector,
    common: Common,
    config: watch::Sender<Arc<LiveConfig>>,
    shared: Arc<SharedState>,
    interval: Duration,
    older: Option<Arc<Sample>>,
    sampling: SamplingStats,
    budget: Budget,
    bpf_stats: BpfStatsSampler,
    /// The number of the first instance whose creation is not announced yet.
    unannounced: u64,
    receipts: PublishedReceipts,
}

/// What is known of the receipts that were published last.
#[derive(Default)]
struct PublishedReceipts {
    generation: u64,
    /// When to look again what runtimes say of the latest ends, and until when.
    next_look: Option<(time::Instant, time::Instant)>,
}

impl Daemon {
    fn start(
        common: &Common,
        config: watch::Sender<Arc<LiveConfig>>,
        shared: Arc<SharedState>,
    ) -> Result<Self> {
        let run = &config.borrow().run.clone();
        raise_priority(run.nice);
        let mut collector = Collector::start(common, run.scope.into())?;
        collector.name_host(run.hostname.as_ref());
        collector.sampler.with_pods = true;
        collector.sampler.with_per_cpu = run.docker_api.is_on();
        collector.count_perf_events(&run.perf_events, &common.sys_root);
        let runs = || collector.sampler.program_runs();
        let bpf_stats = BpfStatsSampler::start(run.bpf_stats_interval, &common.proc_root, runs);
        let sampling = SamplingStats {
            map_bytes: collector.map_bytes(),
            capabilities: keep_capabilities(&capabilities::sampling(common, run)),
            ..SamplingStats::default()
        };
        tracing::info!("remaining capabilities: {}", sampling.capabilities.join(", "));
        Ok(Self {
            collector,
            common: common.clone(),
            config,
            shared,
            interval: run.interval,
            older: None,
            sampling,
            budget: Budget::default(),
            bpf_stats,
            unannounced: 0,
            receipts: PublishedReceipts::default(),
        })
    }

    async fn work(
        mut self,
        control: &Control,
        exporter: &Exporter,
        mut recorder: Option<&mut Recorder>,
        mut hangup: Signal,
    ) -> Result<()> {
        self.sample(recorder.as_deref_mut());
        notify::notify(notify::READY);
        let _watchdog = notify::watchdog().map(|every| task::spawn(feed_watchdog(every)));
        let mut ticks = self.ticks();
        let mut last = Instant::now();
        loop {
            tokio::select! {
                wakeup = self.collector.wait_for_event_or_tick(&mut ticks) => {
                    if wakeup.context("the sampling loop")? == Wakeup::Events {
                        self.announce_created();
                        self.publish_ends();
                        continue;
                    }
                    let intervals = last.elapsed().as_secs_f64() / self.interval.as_secs_f64();
                    self.sampling.missed += (intervals.round() as u64).saturating_sub(1);
                    last = Instant::now();
                    self.sample(recorder.as_deref_mut());
                    if self.keep_to_budget() {
                        ticks = self.ticks();
                    }
                }
                () = self.receipts.due() => self.complete_ends(),
                () = self.bpf_stats.due() => {
                    let sampler = &self.collector.sampler;
                    if let Err(reason) = self.bpf_stats.advance(|| sampler.program_runs()) {
                        tracing::debug!("runs of BPF programs are not counted: {reason}");
                    }
                }
                _ = hangup.recv() => {
                    self.reload(control, exporter);
                    ticks = self.ticks();
                }
            }
        }
    }

    /// Gives up what costs too much, or takes it back; whether that changed anything.
    fn keep_to_budget(&mut self) -> bool {
        let limits = self.config.borrow().run.limits;
        if limits == Limits::default() {
            return false;
        }
        let (cpu, memory) = own_usage::cpu_and_memory();
        let now = Instant::now();
        let changed = self.budget.check(limits, self.interval, now, cpu, memory);
        if changed {
            let run = self.config.borrow().run.clone();
            self.set_intervals(&run);
        }
        changed
    }

    /// Sets the intervals and the history to what the options want, as far as the budget allows.
    fn set_intervals(&mut self, run: &Run) {
        self.interval = self.budget.interval(run.interval);
        self.collector.sampler.memory_stat_interval =
            self.budget.memory_stat_interval(self.common.memory_stat_interval, run.interval);
        let history = if self.budget.has_history() { run.history } else { Duration::ZERO };
        self.shared.history().limit(history, self.interval);
    }

    /// Ticks stay on their grid: a late sample delays no other one, and missed samples are not made
    /// up for.
    fn ticks(&self) -> time::Interval {
        let first = time::Instant::now() + self.interval;
        let mut ticks = time::interval_at(first, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    }

    /// Sends an event for each container whose cgroup was made since the last call.
    fn announce_created(&mut self) {
        let registry = &self.collector.sampler.registry;
        let unannounced = std::mem::replace(&mut self.unannounced, registry.generation().0);
        for created in registry.created_since(unannounced) {
            self.shared.events.created(created);
        }
    }

    /// Publishes receipts that were made since the last call.
    fn publish_ends(&mut self) {
        if self.receipts.have_grown_to(self.collector.sampler.receipts.generation()) {
            self.publish_receipts();
        }
    }

    /// Adds what runtimes have reported about the latest ends.
    fn complete_ends(&mut self) {
        let Some((due, until)) = self.receipts.next_look.take() else { return };
        if due < until {
            self.receipts.next_look = Some(((due + RUNTIME_POLL).min(until), until));
        }
        self.publish_receipts();
    }

    fn publish_receipts(&mut self) {
        let sampler = &mut self.collector.sampler;
        sampler.receipts.add_late_metadata(sampler.registry.resolver_mut());
        self.receipts.generation = sampler.receipts.generation();
        self.shared.publish_receipts(sampler.receipts.clone());
    }

    fn sample(&mut self, recorder: Option<&mut Recorder>) {
        let started = Instant::now();
        let newer = self.collector.sample();
        let pair = self.collector.pair(self.older.as_ref(), &newer);
        self.announce_created();
        if let Some(recorder) = recorder {
            recorder.offer(pair.clone());
        }
        let history_bytes = self.shared.history().record(self.older.as_deref(), &newer);
        self.older = Some(newer);
        let seconds = started.elapsed().as_secs_f64();
        let sampling = &mut self.sampling;
        sampling.samples += 1;
        sampling.last_seconds = seconds;
        sampling.seconds += seconds;
        sampling.interval_seconds = self.interval.as_secs_f64();
        sampling.memory_stat_interval_seconds =
            self.collector.sampler.memory_stat_interval.as_secs_f64();
        sampling.slots = self.collector.slots();
        sampling.lost_events = self.collector.lost_events();
        sampling.receipts = pair.receipts.count() as u64;
        sampling.receipts_dropped = pair.receipts.dropped;
        sampling.history_bytes = history_bytes as u64;
        sampling.budget_level = self.budget.level();
        sampling.histograms = self.budget.has_histograms();
        sampling.bpf_runs = self.bpf_stats.total();
        let samples = sampling.samples;
        self.shared.publish(pair, sampling.clone(), self.interval);
        self.receipts.have_grown_to(self.collector.sampler.receipts.generation());
        if SETTLED_SAMPLES.contains(&samples) {
            release_free_memory();
        }
    }
}

impl PublishedReceipts {
    /// Whether there are new receipts. What their runtimes say is looked at soon.
    fn have_grown_to(&mut self, generation: u64) -> bool {
        let have_grown = std::mem::replace(&mut self.generation, generation) != generation;
        if have_grown {
            let now = time::Instant::now();
            self.next_look = Some((now + RUNTIME_POLL, now + RUNTIME_WAIT + RUNTIME_POLL));
        }
        have_grown
    }

    /// Waits until runtimes may have said more.
    async fn due(&self) {
        match self.next_look {
            Some((due, _)) => time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}

/// Samples go before the other work of the host: the files of a container are gone some
/// milliseconds after its last process. Reading them takes a tenth of a millisecond.
fn raise_priority(nice: Option<i8>) {
    if let Err(error) = set_nice(nice.unwrap_or(DEFAULT_NICE)) {
        match nice {
            Some(nice) => tracing::warn!(%error, "cannot set the nice value {nice} (--nice)"),
            None => tracing::debug!(%error, "cannot raise the CPU priority (--nice)"),
        }
    }
}

/// Reports to the init system that the sampling thread is not stuck.
async fn feed_watchdog(every: Duration) {
    let mut ticks = time::interval(every);
    loop {
        ticks.tick().await;
        notify::notify(notify::WATCHDOG);
    }
}
