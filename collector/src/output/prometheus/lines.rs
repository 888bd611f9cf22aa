//! The samples of a family without what they have in common: its name, and the labels of whoever
//! they are about. That is four fifths of a scrape, and it is put before them when they are sent.

use crate::output::prometheus::{Exposition, family::Family, labels::Labels, protobuf};

/// The row of samples that are about nobody in particular.
pub(super) const NOBODY: u32 = u32::MAX;

/// What follows a family's name.
#[derive(Clone, Copy)]
pub(super) enum Suffix {
    None,
    Bucket,
    Sum,
    Count,
}

impl Suffix {
    const ALL: [Self; 4] = [Self::None, Self::Bucket, Self::Sum, Self::Count];

    fn text(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Bucket => "_bucket",
            Self::Sum => "_sum",
            Self::Count => "_count",
        }
    }
}

/// The samples of a family. Of each line there is the number of its row, the suffix, and what comes
/// after the row's labels, to the line's end. In protobuf, a line is a metric.
#[derive(Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
}

struct Line<'a> {
    row: u32,
    suffix: Suffix,
    rest: &'a [u8],
}

/// A number of a row, a suffix, and how long the rest is.
const HEADER_BYTES: usize = size_of::<u32>() + size_of::<u8>() + size_of::<u32>();

impl Lines {
    /// Adds a line, whose rest is to be written up to its end.
    pub(super) fn add(&mut self, row: u32, suffix: Suffix, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER_BYTES]);
        write(&mut self.bytes);
        let [a, b, c, d] = row.to_le_bytes();
        let [e, f, g, h] = ((self.bytes.len() - start - HEADER_BYTES) as u32).to_le_bytes();
        self.bytes[start..start + HEADER_BYTES].copy_from_slice(&[
            a,
            b,
            c,
            d,
            suffix as u8,
            e,
            f,
            g,
            h,
        ]);
    }

    /// Keeps the lines of some rows.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(u32) -> bool) {
        let mut kept = Self::default();
        let mut at = 0;
        while let Some(Line { row, suffix, rest }) = self.next(&mut at) {
            if keep(row) {
                kept.add(row, suffix, |out| out.extend_from_slice(rest));
            }
        }
        *self = kept;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How long they are when they are written.
    pub(super) fn length(&self, exposition: Exposition, family: &Family, labels: &Labels) -> usize {
        let (mut at, mut length) = (0, 0);
        while let Some(Line { row, suffix, rest }) = self.next(&mut at) {
            let bytes = labels.get(row).len() + rest.len();
            length += match exposition {
                Exposition::Protobuf => protobuf::framed_length(bytes),
                _ => family.name.len() + suffix.text().len() + bytes,
            };
        }
        length
    }

    /// Writes lines from this place on until there are so many bytes, and moves the place behind
    /// them; whether there are more.
    pub(super) fn write(
        &self,
        exposition: Exposition,
        family: &Family,
        labels: &Labels,
        at: &mut usize,
        bytes: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        while out.len() < bytes {
            let Some(Line { row, suffix, rest }) = self.next(at) else { return false };
            let labels = labels.get(row);
            if exposition == Exposition::Protobuf {
                protobuf::frame(labels.len() + rest.len(), out);
            } else {
                out.extend_from_slice(family.name.as_bytes());
                out.extend_from_slice(suffix.text().as_bytes());
            }
            out.extend_from_slice(labels);
            out.extend_from_slice(rest);
        }
        *at < self.bytes.len()
    }

    /// The line at this place, which moves behind it.
    fn next(&self, at: &mut usize) -> Option<Line<'_>> {
        let (header, after) = self.bytes.get(*at..)?.split_first_chunk::<HEADER_BYTES>()?;
        let [a, b, c, d, suffix, e, f, g, h] = *header;
        let rest = after.get(..u32::from_le_bytes([e, f, g, h]) as usize)?;
        *at += HEADER_BYTES + rest.len();
        let suffix = *Suffix::ALL.get(usize::from(suffix))?;
        Some(Line { row: u32::from_le_bytes([a, b, c, d]), suffix, rest })
    }
}
