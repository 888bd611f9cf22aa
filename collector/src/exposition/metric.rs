//! A metric: its name, its help text, its kind, and the function that writes its samples.

use tare_model::{Container, Ended, Report};

use crate::{exposition::Samples, telemetry::Telemetry};

/// One metric: an entry in a table. Prometheus calls it a metric family.
pub(crate) struct Metric {
    /// The name. That of a counter ends with `_total`.
    pub(crate) name: &'static str,
    /// The help text, in one line.
    pub(crate) help: &'static str,
    pub(crate) kind: MetricKind,
    /// What it is read from.
    pub(crate) collect: Collect,
}

/// Metrics that are selected together in a scrape.
pub(crate) struct MetricGroup {
    pub(crate) name: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "the documents are made of it"))]
    pub(crate) origin: Origin,
    pub(crate) metrics: &'static [Metric],
}

/// Where the metrics of a group come from, for the documents.
#[cfg_attr(not(test), expect(dead_code, reason = "the documents are made of it"))]
pub(crate) struct Origin {
    /// The files or programs.
    pub(crate) source: &'static str,
    /// From which kernel on, and on which cgroup version, if not on all.
    pub(crate) kernel: &'static str,
    /// How often they are read, and what that costs.
    pub(crate) cost: &'static str,
    /// Metrics that come from elsewhere: name, source, kernel.
    pub(crate) exceptions: &'static [(&'static str, &'static str, &'static str)],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricKind {
    Counter,
    Gauge,
    Histogram,
    /// A counter whose name is cAdvisor's and does not end with `_total`.
    Untyped,
}

/// What a metric is read from, with the function that writes its samples. The function is called
/// once for each container, or once in a scrape.
#[derive(Clone, Copy)]
pub(crate) enum Collect {
    /// Each running container.
    Container(fn(&Container, &mut Samples)),
    /// One container of each network namespace.
    NetworkNamespace(fn(&Container, &mut Samples)),
    /// Each ended container whose receipt is kept.
    Ended(fn(&Ended, &mut Samples)),
    /// The host.
    Host(fn(&ReportSummary, &mut Samples)),
    /// Tare itself.
    Tare(fn(&Telemetry, &mut Samples)),
}

/// A report without its containers, which a scrape takes one by one.
pub(crate) struct ReportSummary<'a> {
    pub(crate) report: &'a Report,
    pub(crate) container_count: usize,
}

/// A counter of each container.
pub(crate) const fn counter(
    name: &'static str,
    help: &'static str,
    write: fn(&Container, &mut Samples),
) -> Metric {
    Metric { name, help, kind: MetricKind::Counter, collect: Collect::Container(write) }
}

/// A gauge of each container.
pub(crate) const fn gauge(
    name: &'static str,
    help: &'static str,
    write: fn(&Container, &mut Samples),
) -> Metric {
    Metric { name, help, kind: MetricKind::Gauge, collect: Collect::Container(write) }
}

/// A counter of each container whose name does not end with `_total`.
pub(crate) const fn untyped(
    name: &'static str,
    help: &'static str,
    write: fn(&Container, &mut Samples),
) -> Metric {
    Metric { name, help, kind: MetricKind::Untyped, collect: Collect::Container(write) }
}

/// A histogram of each container.
pub(crate) const fn histogram(
    name: &'static str,
    help: &'static str,
    write: fn(&Container, &mut Samples),
) -> Metric {
    Metric { name, help, kind: MetricKind::Histogram, collect: Collect::Container(write) }
}

/// A counter of something else.
pub(crate) const fn counter_of(name: &'static str, help: &'static str, collect: Collect) -> Metric {
    Metric { name, help, kind: MetricKind::Counter, collect }
}

/// A gauge of something else.
pub(crate) const fn gauge_of(name: &'static str, help: &'static str, collect: Collect) -> Metric {
    Metric { name, help, kind: MetricKind::Gauge, collect }
}
