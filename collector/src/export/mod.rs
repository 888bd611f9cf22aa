//! Sinks: receivers to which `tare run` sends its numbers.
//!
//! One thread, beside the sampling loop and the server, takes what is published. Every sample that
//! a sink is due for becomes batches in the sink's queue, and a task of its own delivers them. A
//! slow receiver fills its own queue and delays nothing else.
//!
//! To add a protocol:
//!
//! 1. Make a module with an [`Encoder`], which writes points into batches, and a [`Transport`],
//!    which delivers one; `http` has what protocols over HTTP share.
//! 2. List its [`Scheme`] in [`SCHEMES`], and describe it in `docs/sinks.md`.

mod active;
pub(crate) mod archive;
mod batch;
mod collect;
mod connect;
mod delivery;
#[cfg(test)]
mod fixture;
mod graphite;
mod http;
mod influx;
mod lines;
// Generated: see `tests/protobuf`.
#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::doc_markdown,
    clippy::doc_lazy_continuation,
    clippy::enum_variant_names
)]
mod messages;
mod otlp;
mod prepare;
mod queue;
mod remote_write;
mod spool;
mod statsd;
mod stdout;
mod subject;
#[cfg(test)]
mod tests;
mod url;

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::{
    runtime,
    sync::{mpsc, watch},
    task::{self, LocalSet},
    time,
};

pub(crate) use self::prepare::{check, prepare};
use self::{
    active::ActiveSink,
    collect::{Arrivals, Options},
    delivery::Transport,
    prepare::PreparedSink,
    subject::Subject,
    url::SinkUrl,
};
use crate::{
    config::{Run, Sink},
    process::{keep_capabilities, set_nice},
    published::{Latest, SharedState},
};

/// Every protocol.
const SCHEMES: &[Scheme] = &[
    influx::SCHEME,
    remote_write::SCHEME,
    otlp::SCHEME,
    statsd::SCHEME,
    graphite::SCHEME,
    stdout::SCHEME,
];

/// A batch with this many bytes, before compression, is complete.
const BATCH_BYTES: usize = 1 << 20;

/// The most receipts that wait for the next delivery of a sink.
const RECEIPTS_MAX: usize = 65_536;

/// How long a delivery may take, connecting included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long queues may take to become empty when the program ends.
const GRACE: Duration = Duration::from_secs(2);

/// A protocol and how its URLs begin.
pub(crate) struct Scheme {
    /// The part of the URL before the colon, one or more.
    names: &'static [&'static str],
    /// A complete URL.
    example: &'static str,
    /// The label that says which host it is.
    host_label: &'static str,
    /// Further labels of every point.
    labels: &'static [(&'static str, &'static str)],
    /// Whether cgroups above containers are sent: the root and pods. A sum over all rows counts
    /// their containers twice.
    parents: bool,
    make: fn(&Sink, &SinkUrl) -> Result<Protocol>,
}

/// What a protocol consists of.
pub(crate) struct Protocol {
    encoder: Box<dyn Encoder + Send>,
    transport: Box<dyn Transport + Send>,
}

/// Writes points into batches.
trait Encoder {
    /// Adds the wanted points of a subject to the present batch; returns how many they are.
    fn add(&mut self, subject: &Subject<'_>) -> u64;

    /// Bytes of the present batch, before compression.
    fn len(&self) -> usize;

    /// Ends the present batch and begins another one.
    fn finish(&mut self) -> Result<Bytes>;
}

/// The sinks at work.
pub(crate) struct Exporter {
    shared: Arc<SharedState>,
    running: RefCell<Option<Running>>,
    /// The schemes of all sinks, by name.
    present: RefCell<HashMap<String, &'static Scheme>>,
}

/// The thread of the sinks.
struct Running {
    thread: JoinHandle<()>,
    ending: watch::Sender<bool>,
    /// What replaces the sinks.
    replacements: mpsc::UnboundedSender<Vec<PreparedSink>>,
}

impl Exporter {
    /// Prepares the sinks of the configuration and starts to send what is published.
    ///
    /// # Errors
    ///
    /// If a sink is configured wrongly, or if no thread can be started.
    pub(crate) fn start(run: &Run, shared: &Arc<SharedState>) -> Result<Self> {
        let exporter = Self {
            shared: Arc::clone(shared),
            running: RefCell::default(),
            present: RefCell::default(),
        };
        exporter.replace(run, exporter.prepare(run)?)?;
        Ok(exporter)
    }

    /// Prepares the sinks of another configuration.
    ///
    /// # Errors
    ///
    /// If a sink is configured wrongly.
    pub(crate) fn prepare(&self, run: &Run) -> Result<Vec<PreparedSink>> {
        prepare(run, &self.present.borrow())
    }

    /// Replaces all sinks. One of the same name keeps its queue and its counters.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub(crate) fn replace(&self, run: &Run, sinks: Vec<PreparedSink>) -> Result<()> {
        let present = sinks.iter().map(|sink| (sink.name.clone(), sink.scheme)).collect();
        let mut running = self.running.borrow_mut();
        if running.is_none() && !sinks.is_empty() {
            *running = Some(Running::spawn(run, Arc::clone(&self.shared))?);
        }
        if let Some(running) = &*running {
            // An error means that the thread has panicked, which the log says at the end.
            let _ = running.replacements.send(sinks);
        }
        *self.present.borrow_mut() = present;
        Ok(())
    }

    /// Sends what is left within [`GRACE`], and ends the thread.
    pub(crate) fn stop(self) {
        let Some(Running { thread, ending, .. }) = self.running.into_inner() else { return };
        ending.send_replace(true);
        if thread.join().is_err() {
            tracing::error!("the thread of the sinks has panicked");
        }
    }
}

impl Running {
    /// The thread gives up all capabilities and the priority of the sampling loop.
    fn spawn(run: &Run, shared: Arc<SharedState>) -> Result<Self> {
        let (ending, end) = watch::channel(false);
        let (replacements, replaced) = mpsc::unbounded_channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let options = Options { scope: run.scope, label_set: run.metrics.label_set };
        let run = move || {
            keep_capabilities(&[]);
            let _ = set_nice(0);
            LocalSet::new().block_on(&runtime, export(replaced, options, shared, end));
            // A write to standard output may be stuck.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("export".to_owned()).spawn(run);
        let thread = thread.context("cannot start the thread of the sinks")?;
        Ok(Self { thread, ending, replacements })
    }
}

async fn export(
    mut replaced: mpsc::UnboundedReceiver<Vec<PreparedSink>>,
    options: Options,
    shared: Arc<SharedState>,
    mut end: watch::Receiver<bool>,
) {
    let mut sinks = Vec::new();
    let mut watched = shared.watch();
    let mut arrivals = Arrivals::default();
    let mut known = 0;
    loop {
        tokio::select! {
            biased;
            Some(wanted) = replaced.recv() => {
                active::replace(&mut sinks, wanted, &shared);
                continue;
            }
            changed = watched.changed() => if changed.is_err() { break },
            _ = end.wait_for(|end| *end) => break,
        }
        let latest: Latest = watched.borrow_and_update().clone();
        arrivals.take(&latest, &mut sinks);
        let Some(published) = latest.published else { continue };
        let number = published.sampling.samples;
        if std::mem::replace(&mut known, number) == number {
            continue;
        }
        let due: Vec<_> =
            sinks.iter_mut().filter_map(|sink| sink.is_due(number).then_some(sink)).collect();
        collect::sample(&published, &shared, &options, due, &mut arrivals.network_owners);
        // Deliveries begin before the next sample.
        task::yield_now().await;
    }
    let latest = shared.watch().borrow().clone();
    arrivals.take_all(&latest, &mut sinks);
    if let Some(published) = latest.published {
        collect::receipts(&published, &options, &mut sinks, &arrivals.network_owners);
    }
    let _ = time::timeout(GRACE, async {
        for sink in &sinks {
            sink.delivered().await;
        }
    })
    .await;
    sinks.iter().for_each(ActiveSink::warn_of_loss);
}
