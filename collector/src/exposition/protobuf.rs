//! The protobuf format: messages of `io.prometheus.client` (`metrics.proto` of
//! `prometheus/client_model`), one `MetricFamily` for each metric, each after its length.
//!
//! The fields of a protobuf message may come in any order and in pieces. So the labels of a
//! container are encoded once, and the rest of a sample is appended to them.

use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};

use crate::exposition::{Metric, MetricKind, cumulative_buckets};

/// The number of the field `metric` of `MetricFamily`.
const METRIC_FIELD: u32 = 4;

/// The number of the field `label` of `Metric`.
const LABEL_FIELD: u32 = 1;

/// `MetricFamily` without its samples.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MetricFamilyHead {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    /// A value of `MetricType`.
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

/// `Metric`, which is one sample, or a part of it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MetricMessage {
    #[prost(message, repeated, tag = "1")]
    pub(crate) labels: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    pub(crate) gauge: Option<NumberMessage>,
    #[prost(message, optional, tag = "3")]
    pub(crate) counter: Option<NumberMessage>,
    #[prost(message, optional, tag = "5")]
    pub(crate) untyped: Option<NumberMessage>,
    #[prost(int64, optional, tag = "6")]
    pub(crate) timestamp_ms: Option<i64>,
    #[prost(message, optional, tag = "7")]
    pub(crate) histogram: Option<HistogramMessage>,
}

/// `LabelPair`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LabelPair {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

/// `Counter`, `Gauge` and `Untyped`, which are alike.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct NumberMessage {
    #[prost(double, optional, tag = "1")]
    pub(crate) value: Option<f64>,
}

/// `Histogram`, as a classic and as a native one: not each client that asks for this format reads
/// native ones.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct HistogramMessage {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub(crate) sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) buckets: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    pub(crate) schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    pub(crate) zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    pub(crate) zero_count: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) spans: Vec<BucketSpan>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    pub(crate) deltas: Vec<i64>,
}

/// `Bucket` of a classic histogram.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub(crate) upper_bound: Option<f64>,
}

/// `BucketSpan`: consecutive buckets of a native histogram.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BucketSpan {
    /// The number of the first bucket.
    #[prost(sint32, optional, tag = "1")]
    pub(crate) offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    pub(crate) length: Option<u32>,
}

impl LabelPair {
    pub(crate) fn new(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), value: value.to_owned() }
    }

    /// Writes it as the field of a `Metric`.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        prost::encoding::message::encode(LABEL_FIELD, self, out);
    }
}

impl MetricMessage {
    /// A sample with this value.
    pub(crate) fn of_number(kind: MetricKind, number: f64) -> Self {
        let value = Some(NumberMessage { value: Some(number) });
        match kind {
            MetricKind::Counter => Self { counter: value, ..Self::default() },
            MetricKind::Gauge => Self { gauge: value, ..Self::default() },
            MetricKind::Untyped | MetricKind::Histogram => {
                Self { untyped: value, ..Self::default() }
            }
        }
    }
}

impl HistogramMessage {
    /// `bounds` are powers of two, each twice the one before. In schema 0 the native bucket number
    /// `i` ends at 2 to the power of `i` and begins at half of that, so each of our buckets is a
    /// native one. Our first bucket becomes the zero bucket. Our last bucket, which has no bound,
    /// becomes the native one that ends at twice the last bound.
    pub(crate) fn new(bounds: &[f64], histogram: &tare_model::Histogram) -> Self {
        let mut total = 0;
        let buckets = cumulative_buckets(bounds, histogram).map(|(end, count)| {
            total = count;
            Bucket { cumulative_count: Some(count), upper_bound: Some(end) }
        });
        let buckets = buckets.collect();
        let (zero, others) = histogram.buckets.split_first().unwrap_or((&0, &[]));
        let threshold = bounds.first().copied().unwrap_or_default();
        let (offset, counts) = trimmed(others);
        let offset = (threshold.log2().round() as i32 + 1).saturating_add(offset as i32);
        let span = BucketSpan { offset: Some(offset), length: Some(counts.len() as u32) };
        let before = [0].iter().chain(counts);
        let delta = |(before, count): (&u64, &u64)| count.wrapping_sub(*before) as i64;
        Self {
            count: Some(total),
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

/// The counts from the first to the last that is not 0, and how many zeros precede them.
fn trimmed(counts: &[u64]) -> (usize, &[u64]) {
    let is_some = |count: &u64| *count != 0;
    let first = counts.iter().position(is_some).unwrap_or(counts.len());
    let end = counts.iter().rposition(is_some).map_or(first, |last| last + 1);
    (first, counts.get(first..end).unwrap_or_default())
}

/// What precedes the samples of a metric: its length and its fields without its samples, which take
/// `samples_bytes`.
pub(crate) fn head(metric: &Metric, samples_bytes: usize) -> Vec<u8> {
    let kind = match metric.kind {
        MetricKind::Counter => 0,
        MetricKind::Gauge => 1,
        MetricKind::Untyped => 3,
        MetricKind::Histogram => 4,
    };
    let Metric { name, help, .. } = *metric;
    let head = MetricFamilyHead { name: name.to_owned(), help: help.to_owned(), kind: Some(kind) };
    let mut out = Vec::new();
    encode_varint((head.encoded_len() + samples_bytes) as u64, &mut out);
    // A vector grows, so this cannot fail.
    let _ = head.encode(&mut out);
    out
}

/// The length of a sample of `sample_bytes` together with its frame.
pub(crate) fn framed_length(sample_bytes: usize) -> usize {
    key_len(METRIC_FIELD) + encoded_len_varint(sample_bytes as u64) + sample_bytes
}

/// Writes the frame of a sample of `sample_bytes`.
pub(crate) fn frame(sample_bytes: usize, out: &mut Vec<u8>) {
    encode_key(METRIC_FIELD, WireType::LengthDelimited, out);
    encode_varint(sample_bytes as u64, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(buckets: &[u64]) -> HistogramMessage {
        let bounds: Vec<f64> = (-18..5).map(|exponent| 2_f64.powi(exponent)).collect();
        let count = buckets.iter().sum();
        let mut buckets = buckets.to_vec();
        buckets.resize(bounds.len() + 1, 0);
        HistogramMessage::new(&bounds, &tare_model::Histogram { buckets, count, sum_seconds: 0.5 })
    }

    #[test]
    fn native_buckets_hold_the_counts_of_classic_ones() {
        let histogram = native(&[3, 0, 0, 5, 2, 0, 7]);
        // Bucket 3 ends at 2⁻¹⁵ s.
        let span = BucketSpan { offset: Some(-15), length: Some(4) };
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
    fn a_count_in_the_first_or_last_bucket_only_is_kept() {
        let first = native(&[9]);
        assert_eq!((first.zero_count, first.spans.len(), first.deltas.len()), (Some(9), 0, 0));
        let mut buckets = [0; 24];
        buckets[23] = 4;
        let last = native(&buckets);
        assert_eq!(last.spans, [BucketSpan { offset: Some(5), length: Some(1) }]);
        assert_eq!((&last.deltas[..], last.zero_count), (&[4][..], Some(0)));
    }
}
