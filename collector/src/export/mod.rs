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
    rc::Rc,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::{
    runtime,
    sync::watch,
    task::{self, LocalSet},
    time,
};

pub(crate) use self::prepare::{check, prepare};
use self::{
    collect::{Arrivals, Options},
    delivery::Transport,
    prepare::PreparedSink,
    queue::{Batch, Queue},
    subject::Subject,
    url::SinkUrl,
};
use crate::{
    config::{Run, Sink},
    process::{keep_capabilities, set_nice},
    published::{Latest, SharedState, SinkCounters},
    sample::Receipt,
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

/// The thread of the sinks.
pub(crate) struct Exporter {
    thread: JoinHandle<()>,
    ending: watch::Sender<bool>,
}

impl Exporter {
    /// Prepares the sinks of the configuration and starts to send what is published; `None` if
    /// there are no sinks.
    ///
    /// # Errors
    ///
    /// If a sink is configured wrongly, or if no thread can be started.
    pub(crate) fn start(run: &Run, shared: &Arc<SharedState>) -> Result<Option<Self>> {
        let sinks = prepare(run)?;
        let start = || Self::spawn(sinks, run, Arc::clone(shared));
        if run.sinks.is_empty() { Ok(None) } else { start().map(Some) }
    }

    /// The thread gives up all capabilities and the priority of
    /// the sampling loop.
    fn spawn(sinks: Vec<PreparedSink>, run: &Run, shared: Arc<SharedState>) -> Result<Self> {
        let (ending, end) = watch::channel(false);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        for sink in &sinks {
            shared.add_sink(Arc::clone(&sink.counters));
        }
        let options = Options { scope: run.scope, label_set: run.metrics.label_set };
        let run = move || {
            keep_capabilities(&[]);
            let _ = set_nice(0);
            LocalSet::new().block_on(&runtime, export(sinks, options, shared, end));
            // A write to standard output may be stuck.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("export".to_owned()).spawn(run);
        Ok(Self { thread: thread.context("cannot start the thread of the sinks")?, ending })
    }

    /// Sends what is left within [`GRACE`], and ends the thread.
    pub(crate) fn stop(self) {
        self.ending.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the thread of the sinks has panicked");
        }
    }
}

/// A sink at work.
struct ActiveSink {
    name: String,
    /// It is due every so many samples.
    every: u64,
    /// The number of the last sample that it got.
    last: u64,
    labels: Vec<(String, String)>,
    /// Which entries of the catalogue it wants.
    wanted: Vec<bool>,
    parents: bool,
    encoder: Box<dyn Encoder + Send>,
    /// Points of the present batch.
    points: u64,
    queue: Rc<Queue>,
    counters: Arc<SinkCounters>,
    /// Receipts that were not sent yet.
    ended: Vec<Arc<Receipt>>,
}

impl ActiveSink {
    fn start(sink: PreparedSink) -> Self {
        let PreparedSink { name, every, labels, wanted, parents, protocol, spool, .. } = sink;
        let PreparedSink { counters, queue_bytes, .. } = sink;
        let queue = Queue::new(name.clone(), queue_bytes, spool, Arc::clone(&counters));
        let queue = Rc::new(queue);
        let Protocol { encoder, transport } = protocol;
        task::spawn_local(delivery::deliver_all(
            name.clone(),
            Rc::clone(&queue),
            transport,
            Arc::clone(&counters),
        ));
        Self {
            name,
            every,
            last: 0,
            labels,
            wanted,
            parents,
            encoder,
            points: 0,
            queue,
            counters,
            ended: Vec::new(),
        }
    }

    /// Whether a sample is for it. Samples that it should have got before are counted.
    fn is_due(&mut self, number: u64) -> bool {
        let due = number / self.every;
        let last = std::mem::replace(&mut self.last, number) / self.every;
        let missed = if last == 0 { 0 } else { due.saturating_sub(last + 1) };
        self.counters.missed_samples.fetch_add(missed, std::sync::atomic::Ordering::Relaxed);
        due > last
    }

    fn add(&mut self, subject: &Subject<'_>) {
        self.points += self.encoder.add(subject);
        if self.encoder.len() >= BATCH_BYTES {
            self.seal(subject.time);
        }
    }

    /// Puts the present batch into the queue.
    fn seal(&mut self, made_at: jiff::Timestamp) {
        let points = std::mem::take(&mut self.points);
        match self.encoder.finish() {
            Ok(payload) if points > 0 => self.queue.push(Batch { payload, points, made_at }),
            Ok(_) => {}
            Err(error) => {
                tracing::error!(sink = self.name, "a batch cannot be made: {error:#}");
                let dropped = &self.counters.rejected_points;
                dropped.fetch_add(points, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }
}

async fn export(
    sinks: Vec<PreparedSink>,
    options: Options,
    shared: Arc<SharedState>,
    mut end: watch::Receiver<bool>,
) {
    let mut sinks: Vec<_> = sinks.into_iter().map(ActiveSink::start).collect();
    let mut watched = shared.watch();
    let mut arrivals = Arrivals::default();
    let mut known = 0;
    loop {
        tokio::select! {
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
        while sinks.iter().any(|sink| !sink.queue.is_empty()) {
            time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
