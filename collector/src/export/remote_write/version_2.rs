//! `io.prometheus.write.v2.Request`, of remote write 2.0.

use std::collections::HashMap;

use prost::encoding::message;

use super::encode::{name, samples, write_text};
use crate::{
    export::{
        messages::io::prometheus::write::v2::{Metadata, Sample, TimeSeries, metadata::MetricType},
        subject::{CATALOG, NumberPoint, Subject},
    },
    exposition::MetricKind,
};

/// Tags of the fields of `Request`.
const SYMBOLS: u32 = 4;
const SERIES: u32 = 5;

/// The label with the name of a metric.
const NAME: &str = "__name__";

/// A `Request` in the making.
#[derive(Default)]
pub(super) struct Version2 {
    out: Vec<u8>,
    symbols: HashMap<String, u32>,
    /// The symbols as they are sent.
    encoded_symbols: Vec<u8>,
    /// For each entry of the catalogue, the symbols of its name and its help text.
    metrics: Vec<Option<(u32, u32)>>,
    series: TimeSeries,
}

/// A label and the symbols of its name and its value.
type Label<'a> = (&'a str, u32, u32);

impl Version2 {
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.out.len() + self.encoded_symbols.len()
    }

    pub(super) fn add(&mut self, subject: &Subject<'_>) -> u64 {
        if self.symbols.is_empty() {
            self.symbol("");
        }
        let mut count = 0;
        // The texts of the subject are the same in all of its series.
        let mut shared: Vec<Label<'_>> = vec![(NAME, self.symbol(NAME), 0)];
        for (name, value) in subject.labels {
            shared.push((name, self.symbol(name), self.symbol(value)));
        }
        shared.sort_by_key(|(name, ..)| *name);
        subject.for_each_number(|point| {
            count += 1;
            let (name, help) = self.metric(point);
            self.set_labels(&shared, name, point.labels);
            self.series.samples.clear();
            let samples = samples(subject, point);
            let samples = samples.map(|(value, timestamp)| Sample { value, timestamp });
            self.series.samples.extend(samples);
            let kind = metric_type(point.entry.metric.kind) as i32;
            self.series.metadata = Some(Metadata { r#type: kind, help_ref: help });
            message::encode(SERIES, &self.series, &mut self.out);
        });
        count
    }

    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.encoded_symbols);
        out.append(&mut self.out);
        self.symbols.clear();
        self.metrics.clear();
        out
    }

    /// Sets the labels of the series, sorted by name.
    fn set_labels(&mut self, shared: &[Label<'_>], metric: u32, own: &[(&str, &str)]) {
        let mut refs = std::mem::take(&mut self.series.labels_refs);
        refs.clear();
        let with_metric = |&(name, symbol, value): &Label<'_>| {
            [symbol, if name == NAME { metric } else { value }]
        };
        if own.is_empty() {
            refs.extend(shared.iter().flat_map(with_metric));
        } else {
            let mut order = shared.to_vec();
            for (name, value) in own {
                order.push((name, self.symbol(name), self.symbol(value)));
            }
            order.sort_by_key(|(name, ..)| *name);
            refs.extend(order.iter().flat_map(with_metric));
        }
        self.series.labels_refs = refs;
    }

    /// The symbols of name and help text. Looking them up by place costs less than by text.
    fn metric(&mut self, point: &NumberPoint<'_>) -> (u32, u32) {
        let entry = point.entry.metric;
        if !point.suffix.is_empty() {
            return (self.symbol(&name(point)), self.symbol(entry.help));
        }
        if self.metrics.is_empty() {
            self.metrics.resize(CATALOG.len(), None);
        }
        if let Some(Some(known)) = self.metrics.get(point.index) {
            return *known;
        }
        let symbols = (self.symbol(entry.name), self.symbol(entry.help));
        if let Some(place) = self.metrics.get_mut(point.index) {
            *place = Some(symbols);
        }
        symbols
    }

    fn symbol(&mut self, text: &str) -> u32 {
        if let Some(known) = self.symbols.get(text) {
            return *known;
        }
        let next = self.symbols.len() as u32;
        self.symbols.insert(text.to_owned(), next);
        write_text(SYMBOLS, text, &mut self.encoded_symbols);
        next
    }
}

fn metric_type(kind: MetricKind) -> MetricType {
    match kind {
        MetricKind::Counter => MetricType::Counter,
        MetricKind::Gauge => MetricType::Gauge,
        MetricKind::Histogram => MetricType::Histogram,
        MetricKind::Untyped => MetricType::Unspecified,
    }
}
