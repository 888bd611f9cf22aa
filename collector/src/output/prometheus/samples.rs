//! Samples: their own labels, their numbers, their times.

use jiff::Timestamp;
use prost::Message as _;

use crate::{
    model::Histogram,
    output::prometheus::{
        Exposition, FAMILIES,
        labels::write_label,
        lines::{Lines, NOBODY, Suffix},
        protobuf::{self, Label, Metric},
    },
};

/// A number of a sample; `None` is unknown and not written.
pub(super) struct Value(Option<Number>);

#[derive(Clone, Copy)]
enum Number {
    Integer(u64),
    Float(f64),
}

/// Where samples are written, one family beside the other.
pub(super) struct Samples {
    families: Vec<Lines>,
    exposition: Exposition,
    histograms: bool,
    /// The family that the next samples belong to.
    family: usize,
    /// The row that they are about.
    row: u32,
    /// The time that they carry.
    time: Option<Timestamp>,
    /// The same as text, with what comes before it.
    stamp: Vec<u8>,
    integers: itoa::Buffer,
    floats: zmij::Buffer,
}

impl Samples {
    pub(super) fn new(exposition: Exposition, histograms: bool) -> Self {
        Self {
            families: FAMILIES.iter().map(|_| Lines::default()).collect(),
            exposition,
            histograms,
            family: 0,
            row: NOBODY,
            time: None,
            stamp: Vec::new(),
            integers: itoa::Buffer::new(),
            floats: zmij::Buffer::new(),
        }
    }

    /// The next samples belong to this one of [`FAMILIES`].
    pub(super) fn begin(&mut self, family: usize) {
        self.family = family;
    }

    /// The next samples are about the row of this number, or about nobody.
    pub(super) fn about(&mut self, row: u32) {
        self.row = row;
    }

    /// The next samples carry this time.
    pub(super) fn stamp(&mut self, time: Option<Timestamp>) {
        self.time = time;
        self.stamp = time.map_or_else(Vec::new, |time| {
            let milliseconds = time.as_millisecond();
            let text = match self.exposition {
                Exposition::OpenMetrics => self.floats.format(milliseconds as f64 / 1e3),
                Exposition::Text | Exposition::Protobuf => self.integers.format(milliseconds),
            };
            [b" ", text.as_bytes()].concat()
        });
    }

    /// What was written of each of [`FAMILIES`].
    pub(super) fn finish(self) -> Vec<Lines> {
        self.families
    }

    /// A sample without labels of its own.
    pub(super) fn value(&mut self, value: impl Into<Value>) {
        self.with(&[], value);
    }

    /// A sample with labels of its own.
    pub(super) fn with(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) {
        let Value(Some(number)) = value.into() else { return };
        if self.exposition == Exposition::Protobuf {
            let Some(family) = FAMILIES.get(self.family) else { return };
            self.metric(labels, Metric::of_number(family.kind, number.into()));
        } else {
            self.line(Suffix::None, labels, None, number);
        }
    }

    /// A histogram: cumulative buckets, their sum, their count; in protobuf a native one as well. One
    /// in which nothing was ever counted is left out.
    pub(super) fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        bounds: &[f64],
        histogram: &Histogram,
    ) {
        if !self.histograms || histogram.count == 0 {
            return;
        }
        if self.exposition == Exposition::Protobuf {
            let histogram = Some(protobuf::Histogram::new(bounds, histogram));
            self.metric(labels, Metric { histogram, ..Metric::default() });
            return;
        }
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        let mut cumulative: u64 = 0;
        for (bound, bucket) in bounds.zip(&histogram.buckets) {
            cumulative = cumulative.saturating_add(*bucket);
            self.line(
                Suffix::Bucket,
                labels,
                Some(Number::Float(bound)),
                Number::Integer(cumulative),
            );
        }
        self.line(Suffix::Sum, labels, None, Number::Float(histogram.sum_seconds));
        self.line(Suffix::Count, labels, None, Number::Integer(cumulative));
    }

    fn metric(&mut self, labels: &[(&str, &str)], metric: Metric) {
        let labels = labels.iter().map(|(name, value)| Label::new(name, value)).collect();
        let timestamp_ms = self.time.map(Timestamp::as_millisecond);
        let metric = Metric { labels, timestamp_ms, ..metric };
        if let Some(lines) = self.families.get_mut(self.family) {
            lines.add(self.row, Suffix::None, |out| out.extend(metric.encode_to_vec()));
        }
    }

    fn line(
        &mut self,
        suffix: Suffix,
        labels: &[(&str, &str)],
        bound: Option<Number>,
        number: Number,
    ) {
        let Self { families, family, row, stamp, integers, floats, .. } = self;
        let Some(lines) = families.get_mut(*family) else { return };
        lines.add(*row, suffix, |out| {
            // The labels of the row come before these.
            let mut first = *row == NOBODY;
            if first && !labels.is_empty() {
                out.push(b'{');
            }
            for (name, value) in labels {
                write_label(out, &mut first, name, value);
            }
            if let Some(bound) = bound {
                write_label(out, &mut first, "le", text_of(bound, integers, floats));
            }
            out.extend_from_slice(if first { b" " } else { b"} " });
            out.extend_from_slice(text_of(number, integers, floats).as_bytes());
            out.extend_from_slice(stamp);
            out.push(b'\n');
        });
    }
}

fn text_of<'a>(
    number: Number,
    integers: &'a mut itoa::Buffer,
    floats: &'a mut zmij::Buffer,
) -> &'a str {
    match number {
        Number::Integer(number) => integers.format(number),
        Number::Float(f64::INFINITY) => "+Inf",
        Number::Float(number) => floats.format(number),
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
