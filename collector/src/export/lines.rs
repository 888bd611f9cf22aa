//! Batches of protocols that write a line of text for each number.

use anyhow::Result;
use bytes::Bytes;
use jiff::Timestamp;

use crate::export::{
    Encoder,
    subject::{NumberPoint, Subject},
};

/// How a protocol writes its lines.
pub(super) struct LineFormat {
    /// Writes a label.
    pub(super) tag: fn(&mut Vec<u8>, &str, &str),
    /// Writes a point with all its labels as tags.
    pub(super) line: fn(&mut Vec<u8>, &NumberPoint<'_>, &[u8], Timestamp),
}

/// The present batch.
pub(super) struct Lines {
    format: LineFormat,
    out: Vec<u8>,
    tags: Vec<u8>,
}

impl Lines {
    /// An empty batch.
    pub(super) fn new(format: LineFormat) -> Self {
        Self { format, out: Vec::new(), tags: Vec::new() }
    }
}

impl Encoder for Lines {
    fn add(&mut self, subject: &Subject<'_>) -> u64 {
        let Self { format, out, tags } = self;
        tags.clear();
        for (name, value) in subject.labels {
            (format.tag)(tags, name, value);
        }
        let shared = tags.len();
        let mut count = 0;
        subject.for_each_number(|point| {
            count += 1;
            tags.truncate(shared);
            for (name, value) in point.labels {
                (format.tag)(tags, name, value);
            }
            (format.line)(out, point, tags, subject.time);
        });
        count
    }

    fn len(&self) -> usize {
        self.out.len()
    }

    fn finish(&mut self) -> Result<Bytes> {
        Ok(std::mem::take(&mut self.out).into())
    }
}
