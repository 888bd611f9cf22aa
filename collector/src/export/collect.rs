//! Samples and receipts → points, for all sinks that are due.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use jiff::Timestamp;
use tare_model::Container;

use crate::{
    collector::SamplePair,
    export::{
        RECEIPTS_MAX,
        active::ActiveSink,
        subject::{CATALOG, Row, Subject},
    },
    exposition::{Collect, Metric, MetricKind, PointBuffer, ReportSummary, Samples},
    output::{
        Scope,
        prometheus::{CADVISOR_PREFIX, Candidate, LabelSet, for_each_label, network_owners},
        select,
    },
    published::{Latest, Published, SharedState, is_complete},
    registry::InstanceId,
    report::{ReportOptions, kind},
    sample::{Receipt, Sample},
};

/// What applies to all sinks.
pub(super) struct Options {
    pub(super) scope: Scope,
    pub(super) label_set: LabelSet,
}

/// Receipts, each of which every sink gets once.
#[derive(Default)]
pub(super) struct Arrivals {
    /// The receipts that sinks have got.
    taken: HashSet<InstanceId>,
    /// What was alive in the last sample that was sent, and whether the metrics of a network
    /// namespace were its.
    pub(super) network_owners: HashMap<InstanceId, bool>,
}

impl Arrivals {
    /// Hands over new receipts. One that lacks what its runtime will say soon waits, unless a new
    /// instance has the same path: its points must not come first.
    pub(super) fn take(&mut self, latest: &Latest, sinks: &mut [ActiveSink]) {
        let running = latest.published.as_ref().map(|published| &published.pair.newer);
        let is_running_again = |receipt: &Receipt| {
            let path = &receipt.usage.instance.path;
            let mut usages = running.iter().flat_map(|sample| &sample.usages);
            usages.any(|usage| usage.instance.path == *path)
        };
        self.take_if(latest, sinks, |receipt| is_complete(receipt) || is_running_again(receipt));
    }

    /// Hands over all receipts.
    pub(super) fn take_all(&mut self, latest: &Latest, sinks: &mut [ActiveSink]) {
        self.take_if(latest, sinks, |_| true);
    }

    fn take_if(
        &mut self,
        latest: &Latest,
        sinks: &mut [ActiveSink],
        wanted: impl Fn(&Receipt) -> bool,
    ) {
        let mut present = HashSet::new();
        for receipt in latest.receipts.shared() {
            let id = receipt.usage.instance.id;
            present.insert(id);
            if self.taken.contains(&id) || !wanted(receipt) {
                continue;
            }
            self.taken.insert(id);
            for sink in &mut *sinks {
                if sink.ended.len() < RECEIPTS_MAX {
                    sink.ended.push(Arc::clone(receipt));
                } else {
                    sink.counters.overflowed_points.fetch_add(1, Relaxed);
                }
            }
        }
        self.taken.retain(|id| present.contains(id));
    }
}

/// Sends a sample to the sinks that are due, after the receipts that they have not got.
pub(super) fn sample(
    published: &Published,
    shared: &SharedState,
    options: &Options,
    mut due: Vec<&mut ActiveSink>,
    owners: &mut HashMap<InstanceId, bool>,
) {
    if due.is_empty() {
        return;
    }
    for sink in &mut due {
        send_receipts(published, options, sink, owners);
    }
    let parents = due.iter().any(|sink| sink.has_parents());
    *owners = owners_of(&published.pair.newer, options.scope);
    let mut points = Points::of_sinks(published, &due);
    let time =
        for_each_row(&published.pair, options, parents, owners, &mut points, |points, row, own| {
            points.send(row, own, &mut due);
        });
    if points.want(|metric| matches!(metric.collect, Collect::Tare(_))) {
        let telemetry = shared.telemetry(published);
        points.fill(time, |metric, out| {
            if let Collect::Tare(write) = metric.collect {
                write(&telemetry, out);
            }
        });
        points.send(Row::Tare(shared.started_at), &[], &mut due);
    }
    for sink in due {
        sink.seal(time);
    }
}

/// Calls `each` with every container, the cgroups above containers if they are wanted, and the
/// host, with their points and labels. Returns the time of the sample.
pub(super) fn for_each_row(
    pair: &SamplePair,
    options: &Options,
    parents: bool,
    owners: &HashMap<InstanceId, bool>,
    points: &mut Points,
    mut each: impl FnMut(&Points, Row<'_>, &[(String, String)]),
) -> Timestamp {
    let extent = ReportOptions { rates: false, neighbours: false, ended_max: 0, parents };
    let builder = pair.builder(extent);
    let time = builder.frame.time;
    let mut container_count = 0;
    for (id, container) in builder.rows(|kind| select::in_scope(kind, options.scope)) {
        container_count += 1;
        let is_owner = owners.get(&id) == Some(&true);
        points.fill(time, |metric, out| match metric.collect {
            Collect::Container(write) => write(&container, out),
            Collect::NetworkNamespace(write) if is_owner => write(&container, out),
            _ => {}
        });
        each(points, Row::Container(&container), &labels(&container, options));
    }
    for parent in &builder.frame.parents {
        points.fill(time, |metric, out| match metric.collect {
            Collect::Container(write) if metric.name.starts_with(CADVISOR_PREFIX) => {
                write(parent, out);
            }
            _ => {}
        });
        each(points, Row::Parent, &labels(parent, options));
    }
    let summary = ReportSummary { report: &builder.frame, container_count };
    points.fill(time, |metric, out| {
        if let Collect::Host(write) = metric.collect {
            write(&summary, out);
        }
    });
    each(points, Row::Host, &[]);
    time
}

/// Sends the receipts that sinks have not got.
pub(super) fn receipts(
    published: &Published,
    options: &Options,
    sinks: &mut [ActiveSink],
    owners: &HashMap<InstanceId, bool>,
) {
    for sink in sinks {
        send_receipts(published, options, sink, owners);
        sink.seal(published.pair.newer.time);
    }
}

/// The last totals of a container are the last point of each of its series, at the time of its end.
fn send_receipts(
    published: &Published,
    options: &Options,
    sink: &mut ActiveSink,
    owners: &HashMap<InstanceId, bool>,
) {
    let ended = std::mem::take(&mut sink.ended);
    if ended.is_empty() {
        return;
    }
    let mut due = vec![&mut *sink];
    let mut points = Points::of_sinks(published, &due);
    for_each_ended(&published.pair, &ended, options, owners, &mut points, |points, row, own| {
        points.send(row, own, &mut due);
    });
}

/// Calls `each` with containers that ended, with their points and labels.
pub(super) fn for_each_ended(
    pair: &SamplePair,
    receipts: &[Arc<Receipt>],
    options: &Options,
    owners: &HashMap<InstanceId, bool>,
    points: &mut Points,
    mut each: impl FnMut(&Points, Row<'_>, &[(String, String)]),
) {
    let builder = pair.builder(ReportOptions { parents: false, ..ReportOptions::FRAME });
    for receipt in receipts {
        if !select::in_scope(kind(&receipt.usage), options.scope) {
            continue;
        }
        let ended = builder.ended(receipt);
        let is_owner = owned_namespace(receipt, &pair.newer, owners);
        points.fill(ended.ended_at, |metric, out| match metric.collect {
            // It is not alive any more.
            Collect::Container(_) if metric.name == "container_last_seen" => {}
            Collect::Container(write) => write(&ended.container, out),
            Collect::NetworkNamespace(write) if is_owner => write(&ended.container, out),
            Collect::Ended(write) => write(&ended, out),
            _ => {}
        });
        each(points, Row::Ended(&ended), &labels(&ended.container, options));
    }
}

/// Points of one subject after the other.
pub(super) struct Points {
    buffer: PointBuffer,
    /// Which entries of the catalogue are wanted.
    wanted: Vec<bool>,
    /// When the sample was taken, or when the container ended.
    time: Timestamp,
}

impl Points {
    /// Points of these entries of the catalogue.
    pub(super) fn new(wanted: Vec<bool>) -> Self {
        Self { buffer: PointBuffer::default(), wanted, time: Timestamp::UNIX_EPOCH }
    }

    /// The present points and what they are about. The labels are sorted by name.
    pub(super) fn subject<'a>(
        &'a self,
        row: Row<'a>,
        labels: &'a [(&'a str, &'a str)],
    ) -> Subject<'a> {
        let Self { buffer, wanted, time } = self;
        Subject { row, time: *time, labels, sink_labels: &[], points: buffer, wanted }
    }

    fn of_sinks(published: &Published, due: &[&mut ActiveSink]) -> Self {
        let histograms = published.sampling.histograms;
        let wanted = CATALOG.iter().enumerate().map(|(at, entry)| {
            (histograms || entry.metric.kind != MetricKind::Histogram)
                && due.iter().any(|sink| sink.wanted.get(at) == Some(&true))
        });
        Self::new(wanted.collect())
    }

    /// Whether some sink wants a metric like this.
    fn want(&self, is_like: impl Fn(&Metric) -> bool) -> bool {
        let mut all = CATALOG.iter().zip(&self.wanted);
        all.any(|(entry, wanted)| *wanted && is_like(entry.metric))
    }

    /// Replaces the points by those that `write` makes of each wanted metric.
    fn fill(&mut self, time: Timestamp, write: impl Fn(&Metric, &mut Samples)) {
        self.buffer.clear();
        self.time = time;
        for (at, entry) in CATALOG.iter().enumerate().filter(|(at, _)| self.wanted[*at]) {
            // There are some hundred metrics.
            let at = u16::try_from(at).unwrap_or(u16::MAX);
            write(entry.metric, &mut Samples::points(at, time, &mut self.buffer));
        }
    }

    /// Gives the points to each sink, with the labels of the subject and those of the sink.
    fn send(&self, row: Row<'_>, own: &[(String, String)], due: &mut [&mut ActiveSink]) {
        for sink in due.iter_mut().filter(|sink| sink.has_parents() || !matches!(row, Row::Parent))
        {
            let sink_labels = std::mem::take(&mut sink.labels);
            let wanted = std::mem::take(&mut sink.wanted);
            let both = sink_labels.iter().chain(own);
            let mut labels: Vec<_> =
                both.map(|(name, value)| (name.as_str(), value.as_str())).collect();
            // Stable: of two with a name, that of the sink stays.
            labels.sort_by_key(|(name, _)| *name);
            labels.dedup_by_key(|(name, _)| *name);
            sink.add(&Subject {
                row,
                time: self.time,
                labels: &labels,
                sink_labels: &sink_labels,
                points: &self.buffer,
                wanted: &wanted,
            });
            (sink.labels, sink.wanted) = (sink_labels, wanted);
        }
    }
}

/// For each instance in scope, whether the metrics of its network namespace are its.
pub(super) fn owners_of(sample: &Sample, scope: Scope) -> HashMap<InstanceId, bool> {
    let usages = || sample.usages.iter().filter(|usage| select::in_scope(kind(usage), scope));
    let candidate = |usage| Candidate::of_usage(usage, sample.host_namespace);
    let candidates: Vec<_> = usages().map(candidate).collect();
    usages().map(|usage| usage.instance.id).zip(network_owners(&candidates)).collect()
}

/// Whether the devices of an ended container were counted as its. One that no sample saw is
/// counted if nothing that is alive shares its namespace.
fn owned_namespace(receipt: &Receipt, sample: &Sample, owners: &HashMap<InstanceId, bool>) -> bool {
    let usage = &receipt.usage;
    let namespace = usage.namespace;
    if namespace.is_none() || namespace == sample.host_namespace {
        return false;
    }
    let unshared = || !sample.usages.iter().any(|other| other.namespace == namespace);
    owners.get(&usage.instance.id).copied().unwrap_or_else(unshared)
}

fn labels(container: &Container, options: &Options) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    for_each_label(container, options.label_set, &mut |name, value| {
        if !value.is_empty() {
            labels.push((name.to_owned(), value.to_owned()));
        }
    });
    labels
}
