//! Messages of both versions, decoded with the generated types.

use prost::Message as _;

use super::*;
use crate::export::{
    fixture,
    messages::{io::prometheus::write::v2, prometheus as v1},
    subject::CATALOG,
};

fn series(only_1: bool) -> Series {
    let only_1 = Arc::new(AtomicBool::new(only_1));
    Series { only_1, one: Version1::default(), two: Version2::default() }
}

fn message(payload: &[u8]) -> (u8, Vec<u8>) {
    (payload[0], snap::raw::Decoder::new().decompress_vec(&payload[1..]).unwrap())
}

/// Labels and samples of all series.
type Flat = Vec<(Vec<(String, String)>, Vec<(f64, i64)>)>;

fn flat_1(message: &[u8]) -> Flat {
    let request = v1::WriteRequest::decode(message).unwrap();
    let series = request.timeseries.into_iter().map(|series| {
        let labels = series.labels.into_iter().map(|label| (label.name, label.value));
        let samples = series.samples.iter().map(|sample| (sample.value, sample.timestamp));
        (labels.collect(), samples.collect())
    });
    series.collect()
}

#[test]
fn version_1_has_sorted_labels() {
    let mut encoder = series(true);
    assert_eq!(fixture::add_container(&mut encoder), 4);
    let (version, message) = message(&encoder.finish().unwrap());
    assert_eq!(version, VERSION_1);
    let flat = flat_1(&message);
    let labels: Vec<_> =
        flat[0].0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("__name__", "container_cpu_usage_seconds_total"),
        ("cpu", "total"),
        ("host", "a host"),
        ("id", "/docker/1"),
        ("name", "web,1=x"),
    ];
    assert_eq!(labels, expected);
    assert_eq!(flat[0].1, [(1.5, 1_700_000_000_123)]);
    assert_eq!(flat[3].1, [(4096.0, 1_700_000_000_123)]);
}

#[test]
fn version_2_says_the_same_with_symbols_and_metadata() {
    let (mut one, mut two) = (series(true), series(false));
    fixture::add_container(&mut one);
    fixture::add_container(&mut two);
    let (_, expected) = message(&one.finish().unwrap());
    let payload = two.finish().unwrap();
    let (version, message) = message(&payload);
    assert_eq!(version, VERSION_2);
    let request = v2::Request::decode(&message[..]).unwrap();
    assert_eq!(request.symbols[0], "");
    let metadata = request.timeseries[0].metadata.unwrap();
    assert_eq!(metadata.r#type(), v2::metadata::MetricType::Counter);
    let help = &request.symbols[metadata.help_ref as usize];
    let name = "container_cpu_usage_seconds_total";
    let known = CATALOG.iter().find(|entry| entry.metric.name == name).unwrap();
    assert_eq!(help, known.metric.help);
    let same = transcode(&payload[1..]).unwrap();
    let same = snap::raw::Decoder::new().decompress_vec(&same).unwrap();
    assert_eq!(flat_1(&same), flat_1(&expected));
    // The next batch has symbols of its own.
    fixture::add_container(&mut two);
    assert_eq!(two.finish().unwrap(), payload);
}

#[test]
fn what_is_no_message_is_not_transcoded() {
    assert!(transcode(b"\xff\xff\xff\xff").is_err());
}
