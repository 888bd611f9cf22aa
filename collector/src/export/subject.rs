//! What encoders get: one container, the host or Tare, with its points.

use std::sync::LazyLock;

use jiff::Timestamp;
use tare_model::{Container, Ended};

use crate::{
    exposition::{
        Digits, Metric, MetricGroup, Number, PointBuffer, PointValue, cumulative_buckets,
    },
    output::prometheus::groups,
};

/// A metric and the name of its family.
pub(super) struct Entry {
    pub(super) family: &'static str,
    pub(super) metric: &'static Metric,
}

/// All metrics, family by family.
pub(super) static CATALOG: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let of = |group: &'static MetricGroup| {
        group.metrics.iter().map(|metric| Entry { family: group.name, metric })
    };
    groups().flat_map(of).collect()
});

/// What points are about.
#[derive(Clone, Copy)]
pub(super) enum Row<'a> {
    Container(&'a Container),
    /// A cgroup above containers.
    Parent,
    /// The last totals of a container.
    Ended(&'a Ended),
    Host,
    /// Tare itself, and when it started.
    Tare(Timestamp),
}

/// Something that points are about, and the points that a sink wants of it.
pub(super) struct Subject<'a> {
    pub(super) row: Row<'a>,
    /// When the sample was taken, or when the container ended.
    pub(super) time: Timestamp,
    /// The labels that all points share, sorted by name. None of them is empty.
    pub(super) labels: &'a [(&'a str, &'a str)],
    /// The labels of the sink among them.
    pub(super) sink_labels: &'a [(String, String)],
    pub(super) points: &'a PointBuffer,
    /// Which entries of the catalogue the sink wants.
    pub(super) wanted: &'a [bool],
}

/// A point.
pub(super) struct Point<'a> {
    /// The place of its metric in the catalogue.
    pub(super) index: usize,
    pub(super) entry: &'static Entry,
    /// Its own labels. None of them is empty.
    pub(super) labels: &'a [(&'a str, &'a str)],
    pub(super) value: PointValue<'a>,
}

/// A point that is a number: a bucket of a histogram is one.
pub(super) struct NumberPoint<'a> {
    /// The place of its metric in the catalogue.
    pub(super) index: usize,
    pub(super) entry: &'static Entry,
    /// What follows the name of the metric.
    pub(super) suffix: &'static str,
    /// Its own labels. None of them is empty.
    pub(super) labels: &'a [(&'a str, &'a str)],
    pub(super) number: Number,
}

impl NumberPoint<'_> {
    /// The name, such as `container_fs_reads_total`.
    pub(super) fn write_name(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.entry.metric.name.as_bytes());
        out.extend_from_slice(self.suffix.as_bytes());
    }
}

impl Subject<'_> {
    /// Calls `each` with every wanted point.
    pub(super) fn for_each_point(&self, mut each: impl FnMut(&Point<'_>)) {
        let mut labels = Vec::new();
        for stored in self.points.points() {
            let index = usize::from(stored.metric);
            let Some(entry) = CATALOG.get(index).filter(|_| self.wanted.get(index) == Some(&true))
            else {
                continue;
            };
            labels.clear();
            labels.extend(self.points.labels(stored).filter(|(_, value)| !value.is_empty()));
            if let Some(value) = self.points.value(stored) {
                each(&Point { index, entry, labels: &labels, value });
            }
        }
    }

    /// The same as numbers only: a histogram becomes its cumulative buckets, its sum and its count.
    pub(super) fn for_each_number(&self, mut each: impl FnMut(&NumberPoint<'_>)) {
        self.for_each_point(|point| {
            let &Point { index, entry, labels, value } = point;
            let (bounds, histogram) = match value {
                PointValue::Number(number) => {
                    each(&NumberPoint { index, entry, suffix: "", labels, number });
                    return;
                }
                PointValue::Histogram(bounds, histogram) => (bounds, histogram),
            };
            let mut total = 0;
            let mut digits = Digits::new();
            for (end, count) in cumulative_buckets(bounds, histogram) {
                total = count;
                let mut with_bound = labels.to_vec();
                with_bound.push(("le", digits.text(Number::Float(end))));
                let number = Number::Integer(count);
                let (suffix, labels) = ("_bucket", with_bound.as_slice());
                each(&NumberPoint { index, entry, suffix, labels, number });
            }
            let number = Number::Float(histogram.sum_seconds);
            each(&NumberPoint { index, entry, suffix: "_sum", labels, number });
            let number = Number::Integer(total);
            each(&NumberPoint { index, entry, suffix: "_count", labels, number });
        });
    }
}
