//! The writer of samples.

use jiff::Timestamp;
use prost::Message as _;
use tare_model::Histogram;

use crate::exposition::{
    Exposition, LabelSetId, MetricKind, PointBuffer, SampleBuffer,
    buffer::Suffix,
    cumulative_buckets,
    protobuf::{HistogramMessage, LabelPair, MetricMessage},
    write_label,
};

/// The value of a sample. An unknown value is not written.
pub(crate) struct Value(Option<Number>);

/// A known value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Integer(u64),
    Float(f64),
}

/// How samples are encoded.
pub(crate) struct Encoding {
    exposition: Exposition,
    histograms: bool,
    timestamp: Option<Timestamp>,
    /// The same as text, after a space.
    timestamp_text: String,
}

impl Encoding {
    /// `histograms` says whether they are written, `timestamp` is written with each sample.
    pub(crate) fn new(
        exposition: Exposition,
        histograms: bool,
        timestamp: Option<Timestamp>,
    ) -> Self {
        let text = |time: Timestamp| match exposition {
            Exposition::OpenMetrics => {
                let seconds = time.as_millisecond() as f64 / 1e3;
                format!(" {}", zmij::Buffer::new().format(seconds))
            }
            Exposition::Text | Exposition::Protobuf => format!(" {}", time.as_millisecond()),
        };
        let timestamp_text = timestamp.map(text).unwrap_or_default();
        Self { exposition, histograms, timestamp, timestamp_text }
    }
}

/// Where the function of a metric writes its samples.
pub(crate) struct Samples<'a> {
    /// When the report was made.
    pub(crate) report_time: Timestamp,
    target: Target<'a>,
}

enum Target<'a> {
    Encoded(Encoded<'a>),
    /// Numbers of the metric at this place in the list of a [`PointBuffer`].
    Points(&'a mut PointBuffer, u16),
}

/// Samples that are encoded at once.
struct Encoded<'a> {
    encoding: &'a Encoding,
    kind: MetricKind,
    /// The labels of the container.
    labels: LabelSetId,
    buffer: &'a mut SampleBuffer,
}

impl<'a> Samples<'a> {
    /// Writes samples of a metric of this kind, about the container with these labels, to `buffer`.
    pub(crate) fn new(
        encoding: &'a Encoding,
        kind: MetricKind,
        labels: LabelSetId,
        report_time: Timestamp,
        buffer: &'a mut SampleBuffer,
    ) -> Self {
        Self { report_time, target: Target::Encoded(Encoded { encoding, kind, labels, buffer }) }
    }

    /// Keeps samples as numbers in `buffer`, where `metric` identifies their metric.
    pub(crate) fn points(metric: u16, report_time: Timestamp, buffer: &'a mut PointBuffer) -> Self {
        Self { report_time, target: Target::Points(buffer, metric) }
    }

    /// Writes a sample that has the container's labels only.
    pub(crate) fn value(&mut self, value: impl Into<Value>) {
        self.with(&[], value);
    }

    /// Writes a sample with these labels behind those of the container.
    pub(crate) fn with(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) {
        let Value(Some(number)) = value.into() else { return };
        match &mut self.target {
            Target::Encoded(encoded) => encoded.number(labels, number),
            Target::Points(points, metric) => points.add_number(*metric, labels, number),
        }
    }

    /// Writes a histogram: cumulative buckets, their sum, their count; in protobuf a native one
    /// too. A histogram that has counted nothing is left out.
    pub(crate) fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        bounds: &[f64],
        histogram: &Histogram,
    ) {
        if histogram.count == 0 {
            return;
        }
        match &mut self.target {
            Target::Encoded(encoded) => encoded.histogram(labels, bounds, histogram),
            Target::Points(points, metric) => {
                points.add_histogram(*metric, labels, bounds, histogram);
            }
        }
    }
}

impl Encoded<'_> {
    fn number(&mut self, labels: &[(&str, &str)], number: Number) {
        if self.encoding.exposition == Exposition::Protobuf {
            self.message(labels, MetricMessage::of_number(self.kind, number.into()));
        } else {
            self.line(Suffix::None, labels, None, number);
        }
    }

    fn histogram(&mut self, labels: &[(&str, &str)], bounds: &[f64], histogram: &Histogram) {
        if !self.encoding.histograms {
            return;
        }
        if self.encoding.exposition == Exposition::Protobuf {
            let histogram = Some(HistogramMessage::new(bounds, histogram));
            self.message(labels, MetricMessage { histogram, ..MetricMessage::default() });
            return;
        }
        let mut total = 0;
        for (bound, count) in cumulative_buckets(bounds, histogram) {
            total = count;
            self.line(Suffix::Bucket, labels, Some(bound), Number::Integer(count));
        }
        self.line(Suffix::Sum, labels, None, Number::Float(histogram.sum_seconds));
        self.line(Suffix::Count, labels, None, Number::Integer(total));
    }

    fn message(&mut self, labels: &[(&str, &str)], message: MetricMessage) {
        let labels = labels.iter().map(|(name, value)| LabelPair::new(name, value)).collect();
        let timestamp_ms = self.encoding.timestamp.map(Timestamp::as_millisecond);
        let message = MetricMessage { labels, timestamp_ms, ..message };
        self.buffer.add(self.labels, Suffix::None, |out| out.extend(message.encode_to_vec()));
    }

    fn line(
        &mut self,
        suffix: Suffix,
        labels: &[(&str, &str)],
        bound: Option<f64>,
        number: Number,
    ) {
        let mut digits = Digits::new();
        self.buffer.add(self.labels, suffix, |out| {
            // The labels of the container precede these.
            let mut first = self.labels == LabelSetId::NONE;
            if first && !labels.is_empty() {
                out.push(b'{');
            }
            for (name, value) in labels {
                write_label(out, &mut first, name, value);
            }
            if let Some(bound) = bound {
                write_label(out, &mut first, "le", digits.text(Number::Float(bound)));
            }
            out.extend_from_slice(if first { b" " } else { b"} " });
            out.extend_from_slice(digits.text(number).as_bytes());
            out.extend_from_slice(self.encoding.timestamp_text.as_bytes());
            out.push(b'\n');
        });
    }
}

/// Where a number is formatted.
pub(crate) struct Digits {
    integer: itoa::Buffer,
    float: zmij::Buffer,
}

impl Digits {
    /// Nothing is formatted yet.
    pub(crate) fn new() -> Self {
        Self { integer: itoa::Buffer::new(), float: zmij::Buffer::new() }
    }

    /// The shortest text that gives the number back.
    pub(crate) fn text(&mut self, number: Number) -> &str {
        match number {
            Number::Integer(number) => self.integer.format(number),
            Number::Float(f64::INFINITY) => "+Inf",
            Number::Float(number) => self.float.format(number),
        }
    }
}

impl From<Number> for f64 {
    fn from(number: Number) -> Self {
        match number {
            Number::Integer(number) => number as Self,
            Number::Float(number) => number,
        }
    }
}

impl From<Option<u64>> for Value {
    fn from(number: Option<u64>) -> Self {
        Self(number.map(Number::Integer))
    }
}

impl From<Option<f64>> for Value {
    fn from(number: Option<f64>) -> Self {
        Self(number.filter(|number| number.is_finite()).map(Number::Float))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Some(number).into()
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Some(number).into()
    }
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        Some(time).into()
    }
}

/// Seconds since 1970.
impl From<Option<Timestamp>> for Value {
    fn from(time: Option<Timestamp>) -> Self {
        time.map(|time| time.as_millisecond() as f64 / 1e3).into()
    }
}
