//! `tare run`: samples at a steady pace, keeps recent history and receipts, and serves them.
//!
//! This thread samples and does nothing else; another one serves. What passes between them is the
//! latest [`Shot`]: reports are made and written only where somebody asks.

mod answers;
mod connection;
mod events;
mod formatted;
mod history;
mod listen;
mod process;
mod query;
mod ring;
mod routes;
mod server;
mod shot;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{self, MissedTickBehavior},
};

use self::{listen::Listeners, server::Server, shot::State};
use crate::{
    collector::Collector,
    config::{Common, Run},
    output::prometheus::Sampling,
    sample::Sample,
};

/// Runs until it is told to end.
///
/// # Errors
///
/// If it cannot listen, or if there is nothing to read.
pub async fn run(common: &Common, run: &Run) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // A wrong address is told before anything is loaded.
    let listeners = Listeners::bind(&run.listen, run.socket.as_deref())?;
    let state = Arc::new(State::new(run));
    let server = Server::spawn(listeners, Arc::clone(&state), run)?;
    let work = Daemon::start(common, run, state)?.work();
    let done = tokio::select! {
        done = work => done,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    server.stop();
    done
}

/// The sampling loop.
struct Daemon {
    collector: Collector,
    state: Arc<State>,
    interval: Duration,
    older: Option<Arc<Sample>>,
    sampling: Sampling,
}

impl Daemon {
    fn start(common: &Common, run: &Run, state: Arc<State>) -> Result<Self> {
        let collector = Collector::start(common, run.scope)?;
        let sampling = Sampling { map_bytes: collector.map_bytes(), ..Sampling::default() };
        Ok(Self { collector, state, interval: run.interval, older: None, sampling })
    }

    async fn work(mut self) -> Result<()> {
        self.sample();
        let mut ticks = self.ticks();
        loop {
            let due = Instant::now() + self.interval;
            self.collector.wait(&mut ticks).await.context("the sampling loop")?;
            let late = Instant::now().saturating_duration_since(due);
            self.sampling.missed += (late.as_nanos() / self.interval.as_nanos().max(1)) as u64;
            self.sample();
        }
    }

    /// Ticks stay on their grid: a sample that is late makes none later, and those that were missed
    /// are not made up for.
    fn ticks(&self) -> time::Interval {
        let first = time::Instant::now() + self.interval;
        let mut ticks = time::interval_at(first, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    }

    fn sample(&mut self) {
        let started = Instant::now();
        let newer = self.collector.sample();
        let picture = self.collector.picture(self.older.as_ref(), &newer);
        self.older = Some(Arc::clone(&newer));
        let history_bytes = self.state.history().record(&newer);
        let seconds = started.elapsed().as_secs_f64();
        let sampling = &mut self.sampling;
        sampling.samples += 1;
        sampling.last_seconds = seconds;
        sampling.seconds += seconds;
        sampling.interval_seconds = self.interval.as_secs_f64();
        sampling.slots = self.collector.slots();
        sampling.lost_events = self.collector.lost_events();
        sampling.receipts_dropped = picture.receipts.dropped;
        sampling.history_bytes = history_bytes as u64;
        self.state.publish(picture, sampling.clone(), self.interval);
    }
}
