//! A scrape: collected container by container, sent metric by metric.

use std::{borrow::Borrow, io, sync::Arc};

use jiff::Timestamp;
use tare_model::{Container, Report};

use crate::{
    exposition::{
        Collect, Encoding, Exposition, LabelSetId, LabelSets, Metric, Position, ReportSummary,
        SampleBuffer, Samples,
    },
    output::prometheus::{
        METRICS, Options, ended,
        labels::for_each_label,
        network_owner::{Candidate, network_owners},
    },
    telemetry::Telemetry,
};

/// How the names of cAdvisor's metrics of containers begin. Cgroups above containers have these
/// too.
pub(crate) const CADVISOR_PREFIX: &str = "container_";

/// A scrape that is ready to be sent, in a fifth of the memory of its text.
pub struct Scrape {
    exposition: Exposition,
    labels: LabelSets,
    metrics: Vec<CollectedMetric>,
    length: usize,
}

/// A metric with its samples.
struct CollectedMetric {
    metric: &'static Metric,
    head: Vec<u8>,
    samples: SampleBuffer,
}

impl Scrape {
    /// Collects the metrics of the selection. Takes the containers one by one, so that they need
    /// not all be in memory.
    pub fn new<C: Borrow<Container>>(
        report: &Report,
        containers: impl Iterator<Item = C>,
        telemetry: &Telemetry,
        options: &Options,
        exposition: Exposition,
    ) -> Self {
        let mut collector = Collector::new(exposition, report.time, options);
        let timestamp = options.timestamps.then_some(report.time);
        let encoding = Encoding::new(exposition, options.histograms, timestamp);
        let mut candidates = Vec::new();
        for container in containers {
            let container = container.borrow();
            let candidate = Candidate::new(container);
            candidates.push(candidate);
            let labels = collector.add_labels(container, options);
            collector.collect(&encoding, labels, |metric, out| match metric.collect {
                Collect::Container(write) => write(container, out),
                Collect::NetworkNamespace(write) if candidate.has_namespace() => {
                    write(container, out);
                }
                _ => {}
            });
        }
        for parent in &report.parents {
            let labels = collector.add_labels(parent, options);
            collector.collect(&encoding, labels, |metric, out| match metric.collect {
                Collect::Container(write) if metric.name.starts_with(CADVISOR_PREFIX) => {
                    write(parent, out);
                }
                Collect::NetworkNamespace(write) => write(parent, out),
                _ => {}
            });
        }
        let encoding = Encoding::new(exposition, options.histograms, None);
        for ended in ended::latest(report, options.ended) {
            let labels = collector.add_labels(&ended.container, options);
            collector.collect(&encoding, labels, |metric, out| {
                if let Collect::Ended(write) = metric.collect {
                    write(ended, out);
                }
            });
        }
        let summary = ReportSummary { report, container_count: candidates.len() };
        collector.collect(&encoding, LabelSetId::NONE, |metric, out| match metric.collect {
            Collect::Host(write) => write(&summary, out),
            Collect::Tare(write) => write(telemetry, out),
            _ => {}
        });
        let mut owners = network_owners(&candidates);
        // Only the root has devices: the host's.
        owners.extend(report.parents.iter().map(|parent| parent.network.interfaces.is_some()));
        collector.finish(&owners)
    }
}

/// Collects the samples of a scrape.
struct Collector {
    exposition: Exposition,
    report_time: Timestamp,
    labels: LabelSets,
    metrics: Vec<(&'static Metric, SampleBuffer)>,
}

impl Collector {
    fn new(exposition: Exposition, report_time: Timestamp, options: &Options) -> Self {
        let all = METRICS.iter().enumerate();
        let selected = all.filter(|(position, _)| options.selection.has(*position));
        let metrics = selected.map(|(_, (_, metric))| (*metric, SampleBuffer::default())).collect();
        Self { exposition, report_time, labels: LabelSets::new(exposition), metrics }
    }

    fn add_labels(&mut self, container: &Container, options: &Options) -> LabelSetId {
        self.labels.add(|write| for_each_label(container, options.label_set, write))
    }

    /// Calls `write` for each metric; the samples that it writes have these labels.
    fn collect(
        &mut self,
        encoding: &Encoding,
        labels: LabelSetId,
        write: impl Fn(&Metric, &mut Samples),
    ) {
        for (metric, samples) in &mut self.metrics {
            let mut out = Samples::new(encoding, metric.kind, labels, self.report_time, samples);
            write(metric, &mut out);
        }
    }

    /// `network_owners` are those of the containers and their parents, whose labels were added
    /// first.
    fn finish(self, network_owners: &[bool]) -> Scrape {
        let Self { exposition, labels, metrics, .. } = self;
        let mut length = exposition.end().len();
        let collected = metrics.into_iter().map(|(metric, mut samples)| {
            if let Collect::NetworkNamespace(_) = metric.collect {
                samples.retain(|labels| network_owners.get(labels.index()) == Some(&true));
            }
            let mut head = Vec::new();
            if !samples.is_empty() {
                let samples_bytes = samples.length(exposition, metric, &labels);
                head = exposition.head(metric, samples_bytes);
                length += head.len() + samples_bytes;
            }
            CollectedMetric { metric, head, samples }
        });
        let metrics = collected.collect();
        Scrape { exposition, labels, metrics, length }
    }
}

/// The bytes of a scrape, made chunk by chunk as they are sent.
pub struct Chunks {
    scrape: Arc<Scrape>,
    /// The metric that is being sent.
    metric: usize,
    /// Its next sample; `None` before its head is sent.
    position: Option<Position>,
    /// Whether the end was written.
    ended: bool,
    /// How many bytes are left.
    length: usize,
}

impl Chunks {
    /// A chunk that has this many bytes is complete.
    pub(super) const BYTES: usize = 60 * 1024;

    /// The capacity that a chunk needs, unless its last sample is very long.
    pub const BYTES_MAX: usize = 64 * 1024;

    /// All of a scrape.
    pub fn new(scrape: Arc<Scrape>) -> Self {
        let length = scrape.length;
        Self { scrape, metric: 0, position: None, ended: false, length }
    }

    /// Writes all chunks.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write(mut self, out: &mut impl io::Write) -> io::Result<()> {
        let mut chunk = Vec::with_capacity(Self::BYTES_MAX);
        while self.next(&mut chunk) {
            out.write_all(&chunk)?;
            chunk.clear();
        }
        Ok(())
    }

    /// How many bytes are left.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Appends the next chunk. Returns whether there was one.
    pub fn next(&mut self, chunk: &mut Vec<u8>) -> bool {
        let Scrape { exposition, labels, metrics, .. } = &*self.scrape;
        let before = chunk.len();
        while chunk.len() < Self::BYTES
            && let Some(CollectedMetric { metric, head, samples }) = metrics.get(self.metric)
        {
            let position = self.position.get_or_insert_with(|| {
                chunk.extend_from_slice(head);
                Position::default()
            });
            if !samples.write(*exposition, metric, labels, position, Self::BYTES, chunk) {
                (self.metric, self.position) = (self.metric + 1, None);
            }
        }
        if self.metric == metrics.len() && !self.ended {
            chunk.extend_from_slice(exposition.end());
            self.ended = true;
        }
        let written = chunk.len() - before;
        self.length = self.length.saturating_sub(written);
        written > 0
    }
}
