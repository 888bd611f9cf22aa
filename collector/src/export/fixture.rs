//! A container for the tests of encoders.

use jiff::Timestamp;
use tare_model::{Container, Kind};

use crate::{
    config::Sink,
    export::{
        Encoder,
        subject::{CATALOG, Row, Subject},
    },
    exposition::{Collect, PointBuffer, Samples},
    output::fixture,
};

/// Names that every protocol must escape, and one value of each kind.
pub(super) fn container() -> Container {
    let mut container = fixture::unknown(Kind::Container, "1");
    container.cpu.usage_seconds = Some(1.5);
    container.cpu.user_seconds = Some(1.0);
    container.cpu.system_seconds = Some(0.5);
    container.memory.usage_bytes = Some(4096);
    container
}

/// Adds CPU time and memory of a container; returns how many points the encoder has counted.
pub(super) fn add_container(encoder: &mut dyn Encoder) -> u64 {
    add(encoder, &container(), &["cpu", "memory"])
}

/// Calls `each` with CPU time and memory of a container.
pub(super) fn with_container(each: impl FnOnce(&Subject<'_>)) {
    with(&container(), &["cpu", "memory"], each);
}

/// Adds the points of some families of a container.
pub(super) fn add(encoder: &mut dyn Encoder, container: &Container, families: &[&str]) -> u64 {
    with(container, families, |subject| encoder.add(subject))
}

fn with<T>(container: &Container, families: &[&str], each: impl FnOnce(&Subject<'_>) -> T) -> T {
    let time = Timestamp::from_nanosecond(1_700_000_000_123_456_789).unwrap();
    let mut points = PointBuffer::default();
    for (at, entry) in CATALOG.iter().enumerate() {
        if let Collect::Container(write) = entry.metric.collect {
            write(container, &mut Samples::points(at as u16, time, &mut points));
        }
    }
    let wanted: Vec<_> = CATALOG.iter().map(|entry| families.contains(&entry.family)).collect();
    each(&Subject {
        row: Row::Container(container),
        time,
        labels: &[("host", "a host"), ("id", "/docker/1"), ("name", "web,1=x")],
        sink_labels: &[("host.name".to_owned(), "a host".to_owned())],
        points: &points,
        wanted: &wanted,
    })
}

/// A sink of which only the URL is given.
pub(super) fn sink(url: &str) -> Sink {
    Sink::of_flag(url.to_owned())
}
