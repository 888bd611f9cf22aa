//! Containers as resources with their metrics.

use anyhow::Result;
use bytes::Bytes;
use jiff::Timestamp;
use prost::encoding::message;
use tare_model::{Container, Histogram, Kind};

use crate::{
    export::{
        Encoder,
        messages::opentelemetry::proto::{
            common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
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
        },
        subject::{CATALOG, Point, Row, Subject},
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

/// Since when totals count: the start of the container, or, where our programs count and are
/// younger, theirs.
fn start(subject: &Subject<'_>, family: &str) -> Option<Timestamp> {
    let container = match subject.row {
        Row::Container(container) => container,
        Row::Ended(ended) => &ended.container,
        Row::Tare(started_at) => return Some(started_at),
        Row::Host | Row::Parent => return None,
    };
    let since = match family {
        "block" => container.block.since,
        "network_sockets" | "network_tcp" => {
            container.network.sockets.as_ref().and_then(|it| it.since)
        }
        _ => None,
    };
    since.or(container.started_at).or(container.startup.exec_at).or(container.startup.made_at)
}

fn nanoseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or(0)
}

/// The attributes of a resource. Receivers distinguish resources by `service.instance.id`.
fn resource(subject: &Subject<'_>) -> Vec<KeyValue> {
    let mut all = Vec::new();
    let mut add = |key: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            all.push(attribute(key, value));
        }
    };
    for (name, value) in subject.sink_labels {
        add(name, Some(value));
    }
    let host = subject.sink_labels.iter().find(|(name, _)| name == "host.name");
    let host = host.map_or("", |(_, value)| value.as_str());
    match subject.row {
        Row::Container(container) => add_container(container, host, &mut add),
        Row::Ended(ended) => add_container(&ended.container, host, &mut add),
        Row::Host | Row::Tare(_) | Row::Parent => add("service.instance.id", Some(host)),
    }
    all
}

fn add_container(container: &Container, host: &str, add: &mut impl FnMut(&str, Option<&str>)) {
    add("service.instance.id", Some(&format!("{}@{host}", container.id)));
    // The id of a service is the name of its unit.
    add("container.id", Some(container.id.as_str()).filter(|_| container.kind == Kind::Container));
    add("container.name", container.name.as_deref());
    let image = container.image.as_deref();
    add("container.image.name", image.map(without_tag));
    add("container.runtime.name", container.runtime.as_deref());
    add("tare.cgroup", Some(&container.cgroup));
    for (name, value) in &container.labels {
        add(&format!("container.label.{name}"), Some(value));
    }
    if let Some(pod) = &container.pod {
        add("k8s.pod.uid", pod.uid.as_deref());
        add("k8s.pod.name", pod.name.as_deref());
        add("k8s.namespace.name", pod.namespace.as_deref());
        add("k8s.container.name", pod.container.as_deref());
    }
}

/// `registry:5000/name:tag` without the tag.
fn without_tag(image: &str) -> &str {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value) }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use prost::Message as _;

    use super::*;
    use crate::export::{
        fixture,
        messages::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest,
    };

    fn decoded(payload: &[u8]) -> ExportMetricsServiceRequest {
        let mut message = Vec::new();
        GzDecoder::new(payload).read_to_end(&mut message).unwrap();
        ExportMetricsServiceRequest::decode(&message[..]).unwrap()
    }

    #[test]
    fn a_container_is_a_resource_with_sums_since_its_start() {
        let mut container = fixture::container();
        container.name = Some("web".to_owned());
        container.image = Some("host:5000/nginx:1.2".to_owned());
        container.started_at = Some("2023-11-14T22:00:00Z".parse().unwrap());
        let mut resources = Resources::default();
        assert_eq!(fixture::add(&mut resources, &container, &["cpu", "memory"]), 4);
        let request = decoded(&resources.finish().unwrap());
        let resource = request.resource_metrics[0].resource.as_ref().unwrap();
        for (key, value) in [
            ("host.name", "a host"),
            ("service.instance.id", "1@a host"),
            ("container.id", "1"),
            ("container.name", "web"),
            ("container.image.name", "host:5000/nginx"),
        ] {
            assert!(resource.attributes.contains(&attribute(key, value)), "{key}");
        }
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let names: Vec<_> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        let usage = "tare.container_cpu_usage_seconds";
        assert_eq!(names, [usage, "container.cpu.time", "container.memory.usage"]);
        let Some(Data::Sum(time)) = &metrics[1].data else { panic!("no sum") };
        assert!(time.is_monotonic && time.aggregation_temporality == CUMULATIVE);
        assert_eq!(time.data_points.len(), 2);
        let user = &time.data_points[0];
        assert_eq!(user.attributes, [attribute("cpu.mode", "user")]);
        assert_eq!(user.value, Some(number_data_point::Value::AsDouble(1.0)));
        assert_eq!(user.start_time_unix_nano, 1_699_999_200_000_000_000);
        assert_eq!(user.time_unix_nano, 1_700_000_000_123_456_789);
        let Some(Data::Sum(memory)) = &metrics[2].data else { panic!("no sum") };
        assert!(!memory.is_monotonic);
        assert_eq!(memory.data_points[0].value, Some(number_data_point::Value::AsInt(4096)));
    }

    #[test]
    fn a_bucket_of_a_histogram_keeps_its_bounds() {
        let bounds: Vec<f64> = (-18..5).map(|exponent| 2_f64.powi(exponent)).collect();
        let mut buckets = vec![0; bounds.len() + 1];
        (buckets[0], buckets[3], buckets[5]) = (2, 5, 7);
        let histogram = Histogram { buckets, count: 14, sum_seconds: 0.5 };
        let point = exponential(&bounds, &histogram);
        assert_eq!((point.count, point.zero_count, point.sum), (14, 2, Some(0.5)));
        // Bucket 3 of ours begins at 2⁻¹⁶ and ends at 2⁻¹⁵.
        let positive = point.positive.unwrap();
        assert_eq!((positive.offset, positive.bucket_counts), (-16, vec![5, 0, 7]));
        assert_eq!((point.zero_threshold, point.scale), (2_f64.powi(-18), 0));
    }

    #[test]
    fn an_image_may_have_a_port_and_no_tag() {
        assert_eq!(without_tag("nginx:1.2"), "nginx");
        assert_eq!(without_tag("host:5000/nginx"), "host:5000/nginx");
        assert_eq!(without_tag("nginx"), "nginx");
    }
}
