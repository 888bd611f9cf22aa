//! A sink at work, from its start to its removal from the configuration.

use std::{
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{task, time};

use crate::{
    export::{
        BATCH_BYTES, Encoder, GRACE, Protocol, Scheme,
        batch::Batch,
        delivery::{Replacement, deliver_all},
        prepare::PreparedSink,
        queue::Queue,
        subject::Subject,
    },
    published::{SharedState, SinkCounters},
    sample::Receipt,
};

/// A sink.
pub(super) struct ActiveSink {
    name: String,
    scheme: &'static Scheme,
    /// It is due every so many samples.
    every: u64,
    /// The number of the last sample that it got.
    last: u64,
    pub(super) labels: Vec<(String, String)>,
    /// Which entries of the catalogue it wants.
    pub(super) wanted: Vec<bool>,
    encoder: Box<dyn Encoder + Send>,
    /// Points of the present batch.
    points: u64,
    queue: Rc<Queue>,
    pub(super) counters: Arc<SinkCounters>,
    /// Receipts that were not sent yet.
    pub(super) ended: Vec<Arc<Receipt>>,
    deliveries: task::JoinHandle<()>,
    replacement: Rc<Replacement>,
}

/// Replaces the sinks: starts new ones, gives a new configuration to those of the same name, and
/// ends the rest.
pub(super) fn replace(
    sinks: &mut Vec<ActiveSink>,
    wanted: Vec<PreparedSink>,
    shared: &SharedState,
) {
    let mut former = std::mem::take(sinks);
    for sink in wanted {
        match former.iter().position(|known| known.name == sink.name) {
            Some(at) => sinks.push(former.remove(at).with(sink)),
            None => sinks.push(ActiveSink::start(sink)),
        }
    }
    for sink in former {
        task::spawn_local(sink.end());
    }
    shared.set_sinks(sinks.iter().map(|sink| Arc::clone(&sink.counters)).collect());
}

impl ActiveSink {
    pub(super) fn start(sink: PreparedSink) -> Self {
        let PreparedSink { name, scheme, every, labels, wanted, protocol, spool, .. } = sink;
        let counters = Arc::new(SinkCounters::new(name.clone(), sink.queue_bytes as u64));
        let queue = Queue::new(name.clone(), sink.queue_bytes, spool, Arc::clone(&counters));
        let queue = Rc::new(queue);
        let Protocol { encoder, transport } = protocol;
        let replacement = Rc::new(Replacement::default());
        let deliveries = task::spawn_local(deliver_all(
            name.clone(),
            Rc::clone(&queue),
            transport,
            Arc::clone(&counters),
            Rc::clone(&replacement),
        ));
        Self {
            name,
            scheme,
            every,
            last: 0,
            labels,
            wanted,
            encoder,
            points: 0,
            queue,
            counters,
            ended: Vec::new(),
            deliveries,
            replacement,
        }
    }

    /// Takes over another configuration. What is in the queue is delivered by it too.
    fn with(self, sink: PreparedSink) -> Self {
        let PreparedSink { scheme, every, labels, wanted, protocol, queue_bytes, .. } = sink;
        let Protocol { encoder, transport } = protocol;
        self.replacement.set(transport);
        self.queue.limit(queue_bytes);
        self.counters.queue_bytes_max.store(queue_bytes as u64, Relaxed);
        Self { scheme, every, labels, wanted, encoder, ..self }
    }

    /// Delivers what is left within [`GRACE`].
    async fn end(self) {
        let _ = time::timeout(GRACE, self.delivered()).await;
        self.deliveries.abort();
        self.warn_of_loss();
    }

    /// Says what is not delivered when the sink ends. What is in the spool is delivered when a sink
    /// of the same name starts.
    pub(super) fn warn_of_loss(&self) {
        let (lost, spooled) = self.queue.points();
        let sink = &self.name;
        if lost > 0 {
            tracing::warn!(sink, "ends, and {lost} points are lost that were not delivered");
        }
        if spooled > 0 {
            tracing::info!(sink, "ends, and {spooled} points stay in the spool");
        }
    }

    /// Waits until the queue is empty.
    pub(super) async fn delivered(&self) {
        while !self.queue.is_empty() {
            time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether it sends cgroups above containers.
    pub(super) fn has_parents(&self) -> bool {
        self.scheme.parents
    }

    /// Whether a sample is for it. Samples that it should have got before are counted.
    pub(super) fn is_due(&mut self, number: u64) -> bool {
        let due = number / self.every;
        let last = std::mem::replace(&mut self.last, number) / self.every;
        let missed = if last == 0 { 0 } else { due.saturating_sub(last + 1) };
        self.counters.missed_samples.fetch_add(missed, Relaxed);
        due > last
    }

    /// Adds the points of a subject to the present batch.
    pub(super) fn add(&mut self, subject: &Subject<'_>) {
        self.points += self.encoder.add(subject);
        if self.encoder.len() >= BATCH_BYTES {
            self.seal(subject.time);
        }
    }

    /// Puts the present batch into the queue.
    pub(super) fn seal(&mut self, made_at: Timestamp) {
        let points = std::mem::take(&mut self.points);
        match self.encoder.finish() {
            Ok(payload) if points > 0 => self.queue.push(Batch { payload, points, made_at }),
            Ok(_) => {}
            Err(error) => {
                tracing::error!(sink = self.name, "a batch cannot be made: {error:#}");
                self.counters.rejected_points.fetch_add(points, Relaxed);
            }
        }
    }
}
