//! Containers as resources with their metrics.

#[cfg(test)]
mod tests;

use anyhow::Result;
use bytes::Bytes;
use jiff::Timestamp;
use prost::encoding::message;
use tare_model::Histogram;

use crate::{
    export::{
        Encoder,
        messages::opentelemetry::proto::{
            common::v1::InstrumentationScope,
            metrics::v1::{
                AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge,
                Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
                exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
            },
            resource::v1::Resource,
        },
        otlp::{
            compressed,
            names::{NAMES, OtelKind, OtelName},
            resource::{attribute, resource, start},
        },
        subject::{CATALOG, Point, Subject},
    },
    exposition::{Number, PointValue},
};

/// The tag of the field of `ExportMetricsServiceRequest`.
const RESOURCE_METRICS: u32 = 1;

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// An `ExportMetricsServiceRequest` in the making.
#[derive(Default)]
pub(super) struct Resources {
    out: Vec<u8>,
    /// For each entry of the catalogue, the place of its metric in the present resource.
    places: Vec<Option<usize>>,
}

impl Encoder for Resources {
    fn add(&mut self, subject: &Subject<'_>) -> u64 {
        let mut count = 0;
        let mut metrics: Vec<Metric> = Vec::new();
        self.places.clear();
        self.places.resize(CATALOG.len(), None);
        subject.for_each_point(|point| {
            let Some(name) = NAMES.get(point.index) else { return };
            let Some(place) = self.places.get_mut(name.group) else { return };
            let place = *place.get_or_insert_with(|| {
                metrics.push(metric(name));
                metrics.len() - 1
            });
            if let Some(metric) = metrics.get_mut(place) {
                add_point(metric, name, subject, point);
                count += 1;
            }
        });
        if count > 0 {
            let scope = InstrumentationScope {
                name: "tare".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            };
            let resource = Resource { attributes: resource(subject) };
            let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics }];
            let metrics = ResourceMetrics { resource: Some(resource), scope_metrics };
            message::encode(RESOURCE_METRICS, &metrics, &mut self.out);
        }
        count
    }

    fn len(&self) -> usize {
        self.out.len()
    }

    fn finish(&mut self) -> Result<Bytes> {
        let payload = compressed(&self.out)?;
        self.out.clear();
        Ok(payload)
    }
}

fn metric(name: &OtelName) -> Metric {
    let data_points = Vec::new();
    Metric {
        name: name.name.clone().into_owned(),
        // The same text in every request would be most of it.
        description: String::new(),
        unit: name.unit.to_owned(),
        data: Some(match name.kind {
            OtelKind::Counter | OtelKind::UpDownCounter => Data::Sum(Sum {
                data_points,
                aggregation_temporality: CUMULATIVE,
                is_monotonic: name.kind == OtelKind::Counter,
            }),
            OtelKind::Gauge => Data::Gauge(Gauge { data_points }),
            OtelKind::Histogram => Data::ExponentialHistogram(ExponentialHistogram {
                data_points: Vec::new(),
                aggregation_temporality: CUMULATIVE,
            }),
        }),
    }
}

fn add_point(metric: &mut Metric, name: &OtelName, subject: &Subject<'_>, point: &Point<'_>) {
    let own = point.labels.iter().map(|(label, value)| {
        let renamed = name.renamed.filter(|(known, _)| known == label);
        attribute(renamed.map_or(*label, |(_, other)| other), value)
    });
    let fixed = name.attribute.map(|(key, value)| attribute(key, value));
    let attributes = own.chain(fixed).collect();
    let start_time_unix_nano = match name.kind {
        OtelKind::Gauge => 0,
        _ => start(subject, point.entry.family).map_or(0, nanoseconds),
    };
    let time_unix_nano = nanoseconds(subject.time);
    match (&mut metric.data, point.value) {
        (
            Some(Data::Sum(Sum { data_points, .. }) | Data::Gauge(Gauge { data_points })),
            PointValue::Number(number),
        ) => {
            data_points.push(NumberDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                value: Some(value(number)),
            });
        }
        (Some(Data::ExponentialHistogram(histogram)), PointValue::Histogram(bounds, counts)) => {
            let point = exponential(bounds, counts);
            histogram.data_points.push(ExponentialHistogramDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                ..point
            });
        }
        _ => {}
    }
}

fn value(number: Number) -> number_data_point::Value {
    match number {
        Number::Integer(number) => match i64::try_from(number) {
            Ok(number) => number_data_point::Value::AsInt(number),
            Err(_) => number_data_point::Value::AsDouble(number as f64),
        },
        Number::Float(number) => number_data_point::Value::AsDouble(number),
    }
}

/// `bounds` are powers of two, each twice the one before. At scale 0 the bucket with index `i` ends
/// at 2 to the power of `i + 1`. Our first bucket becomes the zero bucket, and our last one, which
/// has no bound, the one that ends at twice the last bound.
fn exponential(bounds: &[f64], histogram: &Histogram) -> ExponentialHistogramDataPoint {
    let (zero, others) = histogram.buckets.split_first().unwrap_or((&0, &[]));
    let threshold = bounds.first().copied().unwrap_or_default();
    let end = others.iter().rposition(|count| *count != 0).map_or(0, |last| last + 1);
    let first = others.iter().position(|count| *count != 0).unwrap_or(0);
    ExponentialHistogramDataPoint {
        count: histogram.buckets.iter().sum(),
        sum: Some(histogram.sum_seconds),
        scale: 0,
        zero_count: *zero,
        zero_threshold: threshold,
        positive: Some(Buckets {
            offset: threshold.log2().round() as i32 + first as i32,
            bucket_counts: others.get(first..end).unwrap_or_default().to_vec(),
        }),
        ..ExponentialHistogramDataPoint::default()
    }
}

fn nanoseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or(0)
}
