//! `tare run`: samples at a steady pace, keeps recent history and receipts, and serves them.
//!
//! This thread samples and does nothing else; another one serves. What passes between them is the
//! latest `Published`: reports are made and written only where somebody asks.

mod access;
mod answers;
mod budget;
mod connection;
mod events;
mod formatted;
mod history;
mod listen;
mod notify;
mod privileges;
mod process;
mod published;
mod query;
mod reload;
mod ring;
mod routes;
mod server;
mod settings;
mod tls;
mod windows;

use std::{
    ffi::OsString,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task,
    time::{self, MissedTickBehavior},
};

use self::{
    budget::Budget, listen::Listeners, published::State, server::Server, settings::Settings,
    windows::Windows,
};
use crate::{
    collector::{Collector, Woken, give_memory_back},
    config::{Common, Limits, Run},
    logging::Logging,
    sample::Sample,
    telemetry::SamplingStats,
};

/// What the daemon changes when it is told to read its configuration again.
pub struct Control {
    /// The command line.
    pub arguments: Vec<OsString>,
    /// The log.
    pub logging: Logging,
}

/// After so many samples everybody's files are open and read, and what that took for a moment can be
/// given back.
const SETTLED_SAMPLES: u64 = 2;

/// Runs until it is told to end.
///
/// # Errors
///
/// If it cannot listen, or if there is nothing to read.
pub async fn run(common: &Common, run: &Run, control: &Control) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let hangup = signal(SignalKind::hangup())?;
    // What is wrong with addresses and files is told before anything is loaded.
    let listeners = Listeners::bind(&run.listen, &run.socket)?;
    let settings = watch::Sender::new(Arc::new(Settings::load(run.clone())?));
    let state = Arc::new(State::new(run));
    let server = Server::spawn(listeners, Arc::clone(&state), settings.subscribe())?;
    let work = Daemon::start(common, settings, state)?.work(control, hangup);
    let done = tokio::select! {
        done = work => done,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    notify::notify(notify::STOPPING);
    server.stop();
    done
}

/// The sampling loop.
struct Daemon {
    collector: Collector,
    common: Common,
    settings: watch::Sender<Arc<Settings>>,
    state: Arc<State>,
    interval: Duration,
    older: Option<Arc<Sample>>,
    sampling: SamplingStats,
    budget: Budget,
    windows: Windows,
    /// The number of the first birth that was not told yet.
    untold: u64,
}

impl Daemon {
    fn start(
        common: &Common,
        settings: watch::Sender<Arc<Settings>>,
        state: Arc<State>,
    ) -> Result<Self> {
        let run = &settings.borrow().run.clone();
        let mut collector = Collector::start(common, run.scope)?;
        collector.sampler.with_pods = true;
        let kernel = &collector.sampler.kernel;
        let windows = Windows::start(run.bpf_stats_interval, &common.proc_root, kernel);
        let sampling = SamplingStats {
            map_bytes: collector.map_bytes(),
            capabilities: privileges::keep(&privileges::sampling(common, run)),
            ..SamplingStats::default()
        };
        tracing::info!("capabilities that are held: {}", sampling.capabilities.join(", "));
        let (common, interval) = (common.clone(), run.interval);
        let budget = Budget::new();
        Ok(Self {
            collector,
            common,
            settings,
            state,
            interval,
            older: None,
            sampling,
            budget,
            windows,
            untold: 0,
        })
    }

    async fn work(mut self, control: &Control, mut hangup: Signal) -> Result<()> {
        self.sample();
        notify::notify(notify::READY);
        let _watched = notify::watchdog().map(|every| task::spawn(watch(every)));
        let mut ticks = self.ticks();
        let mut last = Instant::now();
        loop {
            tokio::select! {
                woken = self.collector.wait_for_event_or_tick(&mut ticks) => {
                    if woken.context("the sampling loop")? == Woken::Event {
                        self.tell_births();
                        continue;
                    }
                    let intervals = last.elapsed().as_secs_f64() / self.interval.as_secs_f64();
                    self.sampling.missed += (intervals.round() as u64).saturating_sub(1);
                    last = Instant::now();
                    self.sample();
                    if self.keep_to_budget() {
                        ticks = self.ticks();
                    }
                }
                () = self.windows.due() => {
                    if let Err(reason) = self.windows.turn(&self.collector.sampler.kernel) {
                        tracing::debug!("runs of BPF programs are not counted: {reason}");
                    }
                }
                _ = hangup.recv() => {
                    self.reload(control);
                    ticks = self.ticks();
                }
            }
        }
    }

    /// Gives up what costs too much, or takes it back; whether that changed anything.
    fn keep_to_budget(&mut self) -> bool {
        let limits = self.settings.borrow().run.limits;
        if limits == Limits::default() {
            return false;
        }
        let (cpu, memory) = process::cpu_and_memory();
        let now = Instant::now();
        let changed = self.budget.judge(limits, self.interval, now, cpu, memory);
        if changed {
            let run = self.settings.borrow().run.clone();
            self.pace(&run);
        }
        changed
    }

    /// Sets the intervals and the history to what is wanted, as far as the budget allows.
    fn pace(&mut self, run: &Run) {
        self.interval = self.budget.interval(run.interval);
        self.collector.sampler.memory_stat_interval =
            self.budget.memory_stat_interval(self.common.memory_stat_interval, run.interval);
        let history = if self.budget.has_history() { run.history } else { Duration::ZERO };
        self.state.history().limit(history, self.interval);
    }

    /// Ticks stay on their grid: a sample that is late makes none later, and those that were missed
    /// are not made up for.
    fn ticks(&self) -> time::Interval {
        let first = time::Instant::now() + self.interval;
        let mut ticks = time::interval_at(first, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    }

    /// Tells those who listen whose cgroup was made since the last time.
    fn tell_births(&mut self) {
        let registry = &self.collector.sampler.registry;
        let untold = std::mem::replace(&mut self.untold, registry.generation().0);
        registry.born_since(untold).for_each(|born| self.state.events.created(born));
    }

    fn sample(&mut self) {
        let started = Instant::now();
        let newer = self.collector.sample();
        let pair = self.collector.pair(self.older.as_ref(), &newer);
        self.older = Some(Arc::clone(&newer));
        self.tell_births();
        let history_bytes = self.state.history().record(&newer);
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
        sampling.receipts = pair.receipts.len() as u64;
        sampling.receipts_dropped = pair.receipts.dropped;
        sampling.history_bytes = history_bytes as u64;
        sampling.budget_level = self.budget.level();
        sampling.histograms = self.budget.has_histograms();
        sampling.bpf_runs = self.windows.seen();
        let samples = sampling.samples;
        self.state.publish(pair, sampling.clone(), self.interval);
        if samples == SETTLED_SAMPLES {
            give_memory_back();
        }
    }
}

/// Tells the init system that this thread, which samples, is not stuck.
async fn watch(every: Duration) {
    let mut ticks = time::interval(every);
    loop {
        ticks.tick().await;
        notify::notify(notify::WATCHDOG);
    }
}
