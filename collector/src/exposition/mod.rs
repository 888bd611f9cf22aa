//! What a metric is, and how samples are encoded in the formats of Prometheus.
//!
//! This module knows no particular metric. A table of [`Metric`]s imports only this module and the
//! model.

mod buffer;
mod labels;
mod metric;
mod points;
pub(crate) mod protobuf;
mod samples;
mod text;

use tare_model::Histogram;

pub(crate) use self::{
    buffer::{Position, SampleBuffer},
    labels::{LabelSetId, LabelSets, write_label},
    metric::{
        Collect, Metric, MetricGroup, MetricKind, Origin, ReportSummary, counter, counter_of,
        gauge, gauge_of, histogram, untyped,
    },
    points::{PointBuffer, PointValue},
    samples::{Digits, Encoding, Number, Samples, Value},
};

/// The buckets of a histogram with their upper bounds, the last one without: how many values are in
/// it or in one before.
pub(crate) fn cumulative_buckets<'a>(
    bounds: &'a [f64],
    histogram: &'a Histogram,
) -> impl Iterator<Item = (f64, u64)> + 'a {
    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
    bounds.zip(&histogram.buckets).scan(0_u64, |sum, (bound, count)| {
        *sum = sum.saturating_add(*count);
        Some((bound, *sum))
    })
}

/// A format of Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exposition {
    /// Prometheus text format 0.0.4.
    Text,
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
    /// Messages of `io.prometheus.client`. Only this format has native histograms.
    Protobuf,
}

impl Exposition {
    /// The value of the header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
        }
    }

    /// What precedes the samples of a metric, which take `samples_bytes` in this format.
    pub(crate) fn head(self, metric: &Metric, samples_bytes: usize) -> Vec<u8> {
        match self {
            Self::Text => text::head(metric),
            Self::OpenMetrics => text::open_metrics_head(metric),
            Self::Protobuf => protobuf::head(metric, samples_bytes),
        }
    }

    /// What ends a scrape.
    pub(crate) fn end(self) -> &'static [u8] {
        match self {
            Self::Text | Self::Protobuf => b"",
            Self::OpenMetrics => b"# EOF\n",
        }
    }
}
