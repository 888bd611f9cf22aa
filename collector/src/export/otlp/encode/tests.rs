//! Messages, decoded with the generated types.

use std::io::Read as _;

use flate2::read::GzDecoder;
use prost::Message as _;
use tare_model::Pod;

use super::*;
use crate::export::{
    fixture, messages::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest,
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
fn a_container_of_a_pod_has_the_attributes_of_kubernetes_and_its_labels() {
    let mut container = fixture::container();
    container.labels.insert("app".to_owned(), "shop".to_owned());
    let text = |text: &str| Some(text.to_owned());
    container.pod = Some(Pod {
        uid: text("0f"),
        qos: None,
        name: text("shop-1"),
        namespace: text("prod"),
        container: text("web"),
    });
    let mut resources = Resources::default();
    fixture::add(&mut resources, &container, &["cpu"]);
    let request = decoded(&resources.finish().unwrap());
    let resource = request.resource_metrics[0].resource.as_ref().unwrap();
    for (key, value) in [
        ("k8s.pod.uid", "0f"),
        ("k8s.pod.name", "shop-1"),
        ("k8s.namespace.name", "prod"),
        ("k8s.container.name", "web"),
        ("container.label.app", "shop"),
    ] {
        assert!(resource.attributes.contains(&attribute(key, value)), "{key}");
    }
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
