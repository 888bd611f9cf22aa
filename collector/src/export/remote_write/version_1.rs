//! `prometheus.WriteRequest`, of remote write 1.0.

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, message};

use super::encode::{name, samples, write_text};
use crate::export::{
    messages::prometheus::Sample,
    subject::{NumberPoint, Subject},
};

/// Tags of the fields of `WriteRequest`, `TimeSeries` and `Label`.
const SERIES: u32 = 1;
const LABELS: u32 = 1;
const SAMPLES: u32 = 2;
const LABEL_NAME: u32 = 1;
const LABEL_VALUE: u32 = 2;

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
                message::encode(SAMPLES, &Sample { value, timestamp }, &mut self.series);
            }
            encode_key(SERIES, WireType::LengthDelimited, &mut self.out);
            encode_varint(self.series.len() as u64, &mut self.out);
            self.out.extend_from_slice(&self.series);
        });
        count
    }

    pub(super) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
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

fn write_label(name: &str, value: &str, out: &mut Vec<u8>) {
    let field = |text: &str| 1 + encoded_len_varint(text.len() as u64) + text.len();
    encode_key(LABELS, WireType::LengthDelimited, out);
    encode_varint((field(name) + field(value)) as u64, out);
    write_text(LABEL_NAME, name, out);
    write_text(LABEL_VALUE, value, out);
}
