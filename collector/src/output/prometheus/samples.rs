//! Lines of a family: its head before the first sample, names, labels, numbers.

use std::io;

use jiff::Timestamp;

use crate::{
    model::Histogram,
    output::prometheus::{
        Exposition, Options,
        family::{Family, Kind},
        labels::write_label,
    },
};

/// A number of a sample; `None` is unknown and not written.
pub(super) struct Value(Option<Number>);

#[derive(Clone, Copy)]
enum Number {
    Integer(u64),
    Float(f64),
}

/// Where samples are written.
pub(super) struct Samples<'a> {
    /// The family so far.
    out: Vec<u8>,
    exposition: Exposition,
    histograms: bool,
    timestamps: bool,
    /// The family, until its head is written.
    head: Option<&'static Family>,
    name: &'static str,
    /// The labels of whoever the next samples are about.
    base: &'a str,
    stamp: Option<Timestamp>,
    integers: itoa::Buffer,
    floats: zmij::Buffer,
}

impl<'a> Samples<'a> {
    pub(super) fn new(exposition: Exposition, options: &Options) -> Self {
        Self {
            out: Vec::new(),
            exposition,
            histograms: options.histograms,
            timestamps: options.timestamps,
            head: None,
            name: "",
            base: "",
            stamp: None,
            integers: itoa::Buffer::new(),
            floats: zmij::Buffer::new(),
        }
    }

    /// The next samples belong to this family. Its head is written when there is one.
    pub(super) fn begin(&mut self, family: &'static Family) {
        (self.head, self.name, self.base, self.stamp) = (Some(family), family.name, "", None);
    }

    /// Writes the family where it belongs, and keeps the buffer for the next one.
    pub(super) fn pass_on(&mut self, out: &mut impl io::Write) -> io::Result<()> {
        out.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// The next samples carry this time, if times are wanted.
    pub(super) fn stamp(&mut self, time: Timestamp) {
        self.stamp = self.timestamps.then_some(time);
    }

    /// The next samples are about whoever has these labels.
    pub(super) fn label(&mut self, labels: &'a str) {
        self.base = labels;
    }

    /// A sample without labels of its own.
    pub(super) fn value(&mut self, value: impl Into<Value>) {
        self.with(&[], value);
    }

    /// A sample with labels of its own.
    pub(super) fn with(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) {
        if let Value(Some(number)) = value.into() {
            self.line("", labels, None, number);
        }
    }

    /// A classic histogram: cumulative buckets, their sum, their count. One in which nothing was
    /// ever counted is left out.
    pub(super) fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        bounds: &[f64],
        histogram: &Histogram,
    ) {
        if !self.histograms || histogram.count == 0 {
            return;
        }
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        let mut cumulative: u64 = 0;
        for (bound, bucket) in bounds.zip(&histogram.buckets) {
            cumulative = cumulative.saturating_add(*bucket);
            self.line("_bucket", labels, Some(bound), Number::Integer(cumulative));
        }
        self.line("_sum", labels, None, Number::Float(histogram.sum_seconds));
        self.line("_count", labels, None, Number::Integer(cumulative));
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<f64>, number: Number) {
        if let Some(family) = self.head.take() {
            self.write_head(family);
        }
        self.text(self.name);
        self.text(suffix);
        if !self.base.is_empty() || !labels.is_empty() || bound.is_some() {
            self.out.push(b'{');
            self.out.extend_from_slice(self.base.as_bytes());
            let mut first = self.base.is_empty();
            for (name, value) in labels {
                write_label(&mut self.out, &mut first, name, value);
            }
            if let Some(bound) = bound {
                self.text(if first { "le=\"" } else { ",le=\"" });
                self.number(Number::Float(bound));
                self.out.push(b'"');
            }
            self.out.push(b'}');
        }
        self.out.push(b' ');
        self.number(number);
        if let Some(stamp) = self.stamp {
            self.out.push(b' ');
            let milliseconds = stamp.as_millisecond();
            match self.exposition {
                Exposition::Text => self.text_of_integer(milliseconds),
                Exposition::OpenMetrics => self.number(Number::Float(milliseconds as f64 / 1e3)),
            }
        }
        self.out.push(b'\n');
    }

    fn write_head(&mut self, family: &Family) {
        // OpenMetrics calls a counter's family by the name without the ending.
        let name = match (self.exposition, family.kind) {
            (Exposition::OpenMetrics, Kind::Counter) => {
                family.name.strip_suffix("_total").unwrap_or(family.name)
            }
            _ => family.name,
        };
        for part in ["# HELP ", name, " ", family.help, "\n# TYPE ", name, " "] {
            self.text(part);
        }
        self.text(match (self.exposition, family.kind) {
            (Exposition::OpenMetrics, Kind::Untyped) => "unknown",
            (_, kind) => kind.as_str(),
        });
        self.out.push(b'\n');
    }

    fn number(&mut self, number: Number) {
        match number {
            Number::Integer(number) => {
                self.out.extend_from_slice(self.integers.format(number).as_bytes());
            }
            Number::Float(f64::INFINITY) => self.text("+Inf"),
            Number::Float(number) => {
                self.out.extend_from_slice(self.floats.format(number).as_bytes());
            }
        }
    }

    fn text_of_integer(&mut self, number: i64) {
        self.out.extend_from_slice(self.integers.format(number).as_bytes());
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
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
