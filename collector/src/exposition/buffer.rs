//! The samples of one metric, until they are sent.

use crate::exposition::{Exposition, LabelSetId, LabelSets, Metric, protobuf};

/// What follows the name of a metric in a line of text.
#[derive(Clone, Copy)]
pub(super) enum Suffix {
    None,
    Bucket,
    Sum,
    Count,
}

impl Suffix {
    fn text(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Bucket => "_bucket",
            Self::Sum => "_sum",
            Self::Count => "_count",
        }
    }
}

/// The samples of one metric, without its name and without the labels of the container. These are
/// four fifths of a scrape and are added when a sample is sent.
///
/// Metrics are collected container by container and sent metric by metric, so that something must
/// be kept in between.
#[derive(Default)]
pub(crate) struct SampleBuffer {
    samples: Vec<Sample>,
    /// The rest of each sample, one after the other: in text its own labels, its value and the end
    /// of the line; in protobuf a message without the container's labels.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Sample {
    labels: LabelSetId,
    /// How many bytes are its rest.
    length: u32,
    suffix: Suffix,
}

/// The next sample to send.
#[derive(Clone, Copy, Default)]
pub(crate) struct Position {
    sample: usize,
    byte: usize,
}

impl SampleBuffer {
    /// Adds a sample; `write` appends its rest.
    pub(super) fn add(
        &mut self,
        labels: LabelSetId,
        suffix: Suffix,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let length = (self.bytes.len() - start) as u32;
        self.samples.push(Sample { labels, length, suffix });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Keeps the samples with some sets of labels.
    pub(crate) fn retain(&mut self, keep: impl Fn(LabelSetId) -> bool) {
        let mut kept = Self::default();
        let mut position = Position::default();
        while let Some((sample, rest)) = self.next(&mut position) {
            if keep(sample.labels) {
                kept.add(sample.labels, sample.suffix, |out| out.extend_from_slice(rest));
            }
        }
        *self = kept;
    }

    /// How many bytes [`SampleBuffer::write`] writes in all.
    pub(crate) fn length(
        &self,
        exposition: Exposition,
        metric: &Metric,
        labels: &LabelSets,
    ) -> usize {
        let length = |sample: &Sample| {
            let rest = labels.get(sample.labels).len() + sample.length as usize;
            match exposition {
                Exposition::Protobuf => protobuf::framed_length(rest),
                _ => metric.name.len() + sample.suffix.text().len() + rest,
            }
        };
        self.samples.iter().map(length).sum()
    }

    /// Writes samples from `position` on until `out` holds `bytes` or more, and moves `position`
    /// behind them. Returns whether there are more.
    pub(crate) fn write(
        &self,
        exposition: Exposition,
        metric: &Metric,
        labels: &LabelSets,
        position: &mut Position,
        bytes: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        while out.len() < bytes {
            let Some((sample, rest)) = self.next(position) else { return false };
            let labels = labels.get(sample.labels);
            if exposition == Exposition::Protobuf {
                protobuf::frame(labels.len() + rest.len(), out);
            } else {
                out.extend_from_slice(metric.name.as_bytes());
                if !matches!(sample.suffix, Suffix::None) {
                    out.extend_from_slice(sample.suffix.text().as_bytes());
                }
            }
            out.extend_from_slice(labels);
            out.extend_from_slice(rest);
        }
        position.sample < self.samples.len()
    }

    fn next(&self, position: &mut Position) -> Option<(Sample, &[u8])> {
        let sample = *self.samples.get(position.sample)?;
        let (start, end) = (position.byte, position.byte + sample.length as usize);
        *position = Position { sample: position.sample + 1, byte: end };
        Some((sample, self.bytes.get(start..end)?))
    }
}
