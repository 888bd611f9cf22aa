//! The messages of remote write, written as they come: a batch has some ten thousand series, and
//! an object for each of them would cost more than the rest.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, message},
};

use crate::{
    export::{
        messages::{io::prometheus::write::v2, prometheus as v1},
        subject::{NumberPoint, Row, Subject},
    },
    exposition::{Collect, MetricKind},
};

/// Tags of the fields of `WriteRequest`, `TimeSeries` and `Label`.
const SERIES_1: u32 = 1;
const LABELS: u32 = 1;
const SAMPLES: u32 = 2;
const LABEL_NAME: u32 = 1;
const LABEL_VALUE: u32 = 2;

/// Tags of the fields of `Request`.
const SYMBOLS: u32 = 4;
const SERIES_2: u32 = 5;

/// The value that says that a series has ended: one of the numbers that are no numbers.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// A `WriteRequest` in the making.
#[derive(Default)]
pub(super) struct Version1 {
    out: Vec<u8>,
    series: Vec<u8>,
}

impl Version1 {
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn add(&mut self, subject: &Subject<'_>) -> u64 {
        let mut count = 0;
        subject.for_each_number(|point| {
            count += 1;
            let name = name(point);
            self.series.clear();
            for (name, value) in sorted(&name, subject, point) {
                write_label(name, value, &mut self.series);
            }
            for (value, timestamp) in samples(subject, point) {
                message::encode(SAMPLES, &v1::Sample { value, timestamp }, &mut self.series);
            }
            encode_key(SERIES_1, WireType::LengthDelimited, &mut self.out);
            encode_varint(self.series.len() as u64, &mut self.out);
            self.out.extend_from_slice(&self.series);
        });
        count
    }

    pub(super) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

/// A `Request` in the making.
#[derive(Default)]
pub(super) struct Version2 {
    out: Vec<u8>,
    symbols: HashMap<String, u32>,
    /// The symbols as they are sent.
    encoded_symbols: Vec<u8>,
    series: v2::TimeSeries,
}

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
        let shared: Vec<_> = subject
            .labels
            .iter()
            .map(|(name, value)| (*name, self.symbol(name), self.symbol(value)))
            .collect();
        let name_symbol = self.symbol("__name__");
        subject.for_each_number(|point| {
            count += 1;
            let entry = point.entry.metric;
            let name = if point.suffix.is_empty() {
                self.symbol(entry.name)
            } else {
                self.symbol(&name(point))
            };
            let mut order = vec![("__name__", name_symbol, name)];
            order.extend_from_slice(&shared);
            for (name, value) in point.labels.iter().copied() {
                order.push((name, self.symbol(name), self.symbol(value)));
            }
            order.sort_by_key(|(name, ..)| *name);
            self.series.labels_refs.clear();
            self.series
                .labels_refs
                .extend(order.iter().flat_map(|(_, name, value)| [*name, *value]));
            self.series.samples.clear();
            let samples = samples(subject, point);
            let samples = samples.map(|(value, timestamp)| v2::Sample { value, timestamp });
            self.series.samples.extend(samples);
            let kind = metric_type(entry.kind) as i32;
            self.series.metadata =
                Some(v2::Metadata { r#type: kind, help_ref: self.symbol(entry.help) });
            message::encode(SERIES_2, &self.series, &mut self.out);
        });
        count
    }

    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.encoded_symbols);
        out.append(&mut self.out);
        self.symbols.clear();
        out
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

/// Makes a message of version 1 of one of version 2, both compressed.
pub(super) fn transcode(body: &[u8]) -> Result<Bytes> {
    let decompressed = snap::raw::Decoder::new().decompress_vec(body)?;
    let v2::Request { symbols, timeseries } = v2::Request::decode(&*decompressed)?;
    let text = |at: u32| symbols.get(at as usize).cloned().context("a symbol is missing");
    let mut request = v1::WriteRequest::default();
    for series in timeseries {
        let pairs = series.labels_refs.chunks_exact(2);
        let label = |pair: &[u32]| {
            let at = |index: usize| pair.get(index).copied().unwrap_or_default();
            Ok(v1::Label { name: text(at(0))?, value: text(at(1))? })
        };
        let labels = pairs.map(label).collect::<Result<_>>()?;
        let samples = series
            .samples
            .into_iter()
            .map(|v2::Sample { value, timestamp }| v1::Sample { value, timestamp });
        request.timeseries.push(v1::TimeSeries { labels, samples: samples.collect() });
    }
    Ok(snap::raw::Encoder::new().compress_vec(&request.encode_to_vec())?.into())
}

fn name(point: &NumberPoint<'_>) -> String {
    format!("{}{}", point.entry.metric.name, point.suffix)
}

/// All labels, sorted by name.
fn sorted<'a>(
    name: &'a str,
    subject: &Subject<'a>,
    point: &NumberPoint<'a>,
) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![("__name__", name)];
    all.extend_from_slice(subject.labels);
    all.extend_from_slice(point.labels);
    all.sort_by_key(|(name, _)| *name);
    all
}

/// The number with its time; behind the last number of an ended container the mark of an end.
fn samples(subject: &Subject<'_>, point: &NumberPoint<'_>) -> impl Iterator<Item = (f64, i64)> {
    let time = subject.time.as_millisecond();
    let is_series_of_live_container =
        matches!(point.entry.metric.collect, Collect::Container(_) | Collect::NetworkNamespace(_));
    let ends = matches!(subject.row, Row::Ended(_)) && is_series_of_live_container;
    let stale = ends.then_some((f64::from_bits(STALE), time + 1));
    [(point.number.into(), time)].into_iter().chain(stale)
}

fn metric_type(kind: MetricKind) -> v2::metadata::MetricType {
    match kind {
        MetricKind::Counter => v2::metadata::MetricType::Counter,
        MetricKind::Gauge => v2::metadata::MetricType::Gauge,
        MetricKind::Histogram => v2::metadata::MetricType::Histogram,
        MetricKind::Untyped => v2::metadata::MetricType::Unspecified,
    }
}

fn write_label(name: &str, value: &str, out: &mut Vec<u8>) {
    let field = |text: &str| 1 + encoded_len_varint(text.len() as u64) + text.len();
    encode_key(LABELS, WireType::LengthDelimited, out);
    encode_varint((field(name) + field(value)) as u64, out);
    write_text(LABEL_NAME, name, out);
    write_text(LABEL_VALUE, value, out);
}

fn write_text(tag: u32, text: &str, out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}
