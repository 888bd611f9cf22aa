//! A whole scrape: filled container by container, written family by family.

use std::{borrow::Borrow, io, sync::Arc};

use jiff::Timestamp;

use crate::{
    model::{Container, Report},
    output::prometheus::{
        BlockDevice, CADVISOR, Exposition, FAMILIES, Frame, Options, Own, Row, ended,
        family::{Family, Kind, Of},
        labels::{Labels, Place, network_owners},
        lines::{Lines, NOBODY},
        protobuf,
        samples::Samples,
    },
};

/// The end of OpenMetrics.
const EOF: &[u8] = b"# EOF\n";

/// A scrape that is ready to be written, in a fifth of the memory that its text takes.
pub struct Scrape {
    exposition: Exposition,
    labels: Labels,
    /// Of each of `FAMILIES` what comes before its samples, and those.
    families: Vec<(Vec<u8>, Lines)>,
    length: usize,
}

impl Scrape {
    /// Takes the numbers of a report, and of its containers one after the other.
    pub fn new<C: Borrow<Container>>(
        report: &Report,
        containers: impl Iterator<Item = C>,
        own: &Own,
        options: &Options,
        exposition: Exposition,
    ) -> Self {
        let mut labels = Labels::new(exposition);
        let mut samples = Samples::new(exposition, options.histograms);
        samples.stamp(options.timestamps.then_some(report.time));
        let mut places = Vec::new();
        for container in containers {
            let container = container.borrow();
            let place = Place::of(container);
            samples.about(labels.add(container, options));
            write_container(container, Some(place), report.time, &mut samples);
            places.push(place);
        }
        for parent in &report.parents {
            samples.about(labels.add(parent, options));
            write_container(parent, None, report.time, &mut samples);
        }
        samples.stamp(None);
        for ended in ended::latest(report, options.ended) {
            samples.about(labels.add(&ended.container, options));
            for (at, family) in FAMILIES.iter().enumerate() {
                if let Of::Ended(write) = family.of {
                    samples.begin(at);
                    write(ended, &mut samples);
                }
            }
        }
        samples.about(NOBODY);
        let frame = Frame { report, container_count: places.len() };
        for (at, family) in FAMILIES.iter().enumerate() {
            samples.begin(at);
            match family.of {
                Of::Host(write) => write(&frame, &mut samples),
                Of::Own(write) => write(own, &mut samples),
                _ => {}
            }
        }
        Self::finish(exposition, labels, samples.finish(), &network_owners(&places))
    }

    fn finish(exposition: Exposition, labels: Labels, lines: Vec<Lines>, owners: &[bool]) -> Self {
        let mut length = if exposition == Exposition::OpenMetrics { EOF.len() } else { 0 };
        let mut families = Vec::with_capacity(lines.len());
        for (family, mut lines) in FAMILIES.iter().zip(lines) {
            if let Of::Network(_) = family.of {
                lines.retain(|row| owners.get(row as usize) == Some(&true));
            }
            let mut before = Vec::new();
            if !lines.is_empty() {
                let bytes = lines.length(exposition, family, &labels);
                before = head(family, exposition, bytes);
                length += before.len() + bytes;
            }
            families.push((before, lines));
        }
        Self { exposition, labels, families, length }
    }
}

/// The text of a scrape, some of it at a time.
pub struct Pages {
    scrape: Arc<Scrape>,
    family: usize,
    /// The place in the family's lines.
    at: usize,
    /// Bytes that were not written yet.
    length: usize,
}

impl Pages {
    /// With so many bytes a page is full.
    const BYTES: usize = 60 * 1024;

    /// What a page takes, unless its last line is very long.
    pub const BYTES_MAX: usize = 64 * 1024;

    /// All of a scrape.
    pub fn new(scrape: Arc<Scrape>) -> Self {
        let length = scrape.length;
        Self { scrape, family: 0, at: 0, length }
    }

    /// Writes all pages.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write(mut self, out: &mut impl io::Write) -> io::Result<()> {
        let mut page = Vec::with_capacity(Self::BYTES_MAX);
        while self.next(&mut page) {
            out.write_all(&page)?;
            page.clear();
        }
        Ok(())
    }

    /// How many bytes there are still to be written.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Writes the next page; whether there was one.
    pub fn next(&mut self, page: &mut Vec<u8>) -> bool {
        let Scrape { exposition, labels, families, .. } = &*self.scrape;
        let before = page.len();
        while page.len() < Self::BYTES
            && let Some((family, (before, lines))) =
                FAMILIES.get(self.family).zip(families.get(self.family))
        {
            if self.at == 0 {
                page.extend_from_slice(before);
            }
            if !lines.write(*exposition, family, labels, &mut self.at, Self::BYTES, page) {
                (self.family, self.at) = (self.family + 1, 0);
                if self.family == FAMILIES.len() && *exposition == Exposition::OpenMetrics {
                    page.extend_from_slice(EOF);
                }
            }
        }
        let written = page.len() - before;
        self.length = self.length.saturating_sub(written);
        written > 0
    }
}

/// Without a place in a network namespace it is a cgroup above containers: Tare's own metrics are
/// about containers alone.
fn write_container(
    container: &Container,
    place: Option<Place>,
    time: Timestamp,
    samples: &mut Samples,
) {
    let row = Row { container, time, devices: BlockDevice::all_of(container) };
    for (at, family) in FAMILIES.iter().enumerate() {
        samples.begin(at);
        match family.of {
            Of::Container(write) if place.is_some() || family.name.starts_with(CADVISOR) => {
                write(&row, samples);
            }
            Of::Network(write) if place.is_some_and(Place::may_own) => {
                write(&row, samples);
            }
            _ => {}
        }
    }
}

/// What comes before the samples of a family, which take so many bytes.
fn head(family: &Family, exposition: Exposition, bytes: usize) -> Vec<u8> {
    if exposition == Exposition::Protobuf {
        return protobuf::head(family, bytes);
    }
    let Family { name, help, kind, .. } = *family;
    // OpenMetrics calls a counter's family by the name without the ending.
    let name = match (exposition, kind) {
        (Exposition::OpenMetrics, Kind::Counter) => name.strip_suffix("_total").unwrap_or(name),
        _ => name,
    };
    let kind = match (exposition, kind) {
        (Exposition::OpenMetrics, Kind::Untyped) => "unknown",
        (_, kind) => kind.as_str(),
    };
    ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"].concat().into_bytes()
}
