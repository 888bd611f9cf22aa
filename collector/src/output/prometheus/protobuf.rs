//! Prometheus' protobuf exposition: messages of `io.prometheus.client` (`metrics.proto` of
//! prometheus/client_model), one for each family, each after its length.
//!
//! A message may come in pieces: the labels that a row has in all families are encoded once, and
//! what else a metric holds is put behind them.

use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};

use crate::{
    model,
    output::prometheus::family::{Family, Kind},
};

/// The number of the field `metric` of a family.
const METRIC: u32 = 4;

/// The number of the field `label` of a metric.
const LABEL: u32 = 1;

/// What a family is called, without its metrics.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FamilyHead {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    /// A value of `MetricType`.
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

/// A metric, or a part of one.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Metric {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<Label>,
    #[prost(message, optional, tag = "2")]
    pub(super) gauge: Option<Value>,
    #[prost(message, optional, tag = "3")]
    pub(super) counter: Option<Value>,
    #[prost(message, optional, tag = "5")]
    pub(super) untyped: Option<Value>,
    #[prost(int64, optional, tag = "6")]
    pub(super) timestamp_ms: Option<i64>,
    #[prost(message, optional, tag = "7")]
    pub(super) histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Label {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(double, optional, tag = "1")]
    pub(super) value: Option<f64>,
}

/// A histogram, both a classic and a native one: who asks for this format need not take native
/// ones.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    pub(super) count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub(super) sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    pub(super) buckets: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    pub(super) schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    pub(super) zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    pub(super) zero_count: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    pub(super) spans: Vec<Span>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    pub(super) deltas: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    pub(super) cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub(super) upper_bound: Option<f64>,
}

/// Buckets that follow each other.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    /// The number of the first one.
    #[prost(sint32, optional, tag = "1")]
    pub(super) offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) length: Option<u32>,
}

impl Label {
    pub(super) fn new(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), value: value.to_owned() }
    }

    /// Writes it as one of a metric's labels.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        prost::encoding::message::encode(LABEL, self, out);
    }
}

impl Metric {
    /// One that holds a number.
    pub(super) fn of_number(kind: Kind, number: f64) -> Self {
        let value = Some(Value { value: Some(number) });
        match kind {
            Kind::Counter => Self { counter: value, ..Self::default() },
            Kind::Gauge => Self { gauge: value, ..Self::default() },
            Kind::Untyped | Kind::Histogram => Self { untyped: value, ..Self::default() },
        }
    }
}

impl Histogram {
    /// `bounds` are powers of two, each twice the one before. A native bucket of schema 0 with the
    /// number `i` ends at 2 to the power of `i` and begins at half of it, so each of ours is one of
    /// those. What is not above the first bound counts as zero; what is above the last one counts as
    /// not above twice that.
    pub(super) fn new(bounds: &[f64], histogram: &model::Histogram) -> Self {
        let mut cumulative: u64 = 0;
        let ends = bounds.iter().copied().chain([f64::INFINITY]);
        let buckets = ends.zip(&histogram.buckets).map(|(end, count)| {
            cumulative = cumulative.saturating_add(*count);
            Bucket { cumulative_count: Some(cumulative), upper_bound: Some(end) }
        });
        let buckets = buckets.collect();
        let (zero, others) = histogram.buckets.split_first().unwrap_or((&0, &[]));
        let threshold = bounds.first().copied().unwrap_or_default();
        let (offset, counts) = trimmed(others);
        let offset = (threshold.log2().round() as i32 + 1).saturating_add(offset as i32);
        let span = Span { offset: Some(offset), length: Some(counts.len() as u32) };
        let before = [0].iter().chain(counts);
        let delta = |(before, count): (&u64, &u64)| count.wrapping_sub(*before) as i64;
        Self {
            count: Some(cumulative),
            sum: Some(histogram.sum_seconds),
            buckets,
            schema: Some(0),
            zero_threshold: Some(threshold),
            zero_count: Some(*zero),
            spans: if counts.is_empty() { Vec::new() } else { vec![span] },
            deltas: before.zip(counts).map(delta).collect(),
        }
    }
}

/// The counts from the first to the last that is not 0, and how many are before.
fn trimmed(counts: &[u64]) -> (usize, &[u64]) {
    let is_some = |count: &u64| *count != 0;
    let first = counts.iter().position(is_some).unwrap_or(counts.len());
    let end = counts.iter().rposition(is_some).map_or(first, |last| last + 1);
    (first, counts.get(first..end).unwrap_or_default())
}

/// What comes before the metrics of a family, which take so many bytes.
pub(super) fn head(family: &Family, metrics_bytes: usize) -> Vec<u8> {
    let kind = match family.kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Untyped => 3,
        Kind::Histogram => 4,
    };
    let Family { name, help, .. } = *family;
    let head = FamilyHead { name: name.to_owned(), help: help.to_owned(), kind: Some(kind) };
    let mut out = Vec::new();
    encode_varint((head.encoded_len() + metrics_bytes) as u64, &mut out);
    // There is room for everything in a vector.
    let _ = head.encode(&mut out);
    out
}

/// How long a metric of so many bytes is with what comes before it.
pub(super) fn framed_length(metric_bytes: usize) -> usize {
    key_len(METRIC) + encoded_len_varint(metric_bytes as u64) + metric_bytes
}

/// Writes what comes before a metric of so many bytes.
pub(super) fn frame(metric_bytes: usize, out: &mut Vec<u8>) {
    encode_key(METRIC, WireType::LengthDelimited, out);
    encode_varint(metric_bytes as u64, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(buckets: &[u64]) -> Histogram {
        let bounds: Vec<f64> = (-18..5).map(|exponent| 2_f64.powi(exponent)).collect();
        let count = buckets.iter().sum();
        let mut buckets = buckets.to_vec();
        buckets.resize(bounds.len() + 1, 0);
        Histogram::new(&bounds, &model::Histogram { buckets, count, sum_seconds: 0.5 })
    }

    #[test]
    fn native_buckets_are_those_that_were_counted() {
        let histogram = native(&[3, 0, 0, 5, 2, 0, 7]);
        // Bucket 3 ends at 2⁻¹⁵ s.
        let span = Span { offset: Some(-15), length: Some(4) };
        assert_eq!(
            (&histogram.spans[..], &histogram.deltas[..]),
            (&[span][..], &[5, -3, -2, 7][..])
        );
        assert_eq!((histogram.schema, histogram.count), (Some(0), Some(17)));
        let threshold = 2_f64.powi(-18);
        assert_eq!((histogram.zero_threshold, histogram.zero_count), (Some(threshold), Some(3)));
        assert_eq!(histogram.buckets.len(), 24);
        assert_eq!(histogram.buckets[4].cumulative_count, Some(10));
    }

    #[test]
    fn what_is_only_in_the_first_or_last_bucket_is_told() {
        let first = native(&[9]);
        assert_eq!((first.zero_count, first.spans.len(), first.deltas.len()), (Some(9), 0, 0));
        let mut buckets = [0; 24];
        buckets[23] = 4;
        let last = native(&buckets);
        assert_eq!(last.spans, [Span { offset: Some(5), length: Some(1) }]);
        assert_eq!((&last.deltas[..], last.zero_count), (&[4][..], Some(0)));
    }
}
