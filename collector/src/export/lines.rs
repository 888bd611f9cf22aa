//! Batches of protocols that write a line of text for each number.

use anyhow::Result;
use bytes::Bytes;
use jiff::Timestamp;

use crate::export::{
    BATCH_BYTES, Encoder,
    subject::{NumberPoint, Subject},
};

/// Room for the lines of the subject that completes a batch.
const ROOM: usize = 64 << 10;

/// How a protocol writes its lines. What is the same in all lines of a container, which is most of
/// them, is written once and copied.
pub(super) struct LineFormat {
    /// Writes the time.
    pub(super) time: fn(&mut Vec<u8>, Timestamp),
    /// Writes a label.
    pub(super) tag: fn(&mut Vec<u8>, &str, &str),
    /// Writes a point.
    pub(super) line: fn(&mut Vec<u8>, &NumberPoint<'_>, &Written<'_>),
}

/// What a line has beside its point.
pub(super) struct Written<'a> {
    /// The time.
    pub(super) time: &'a [u8],
    /// All labels as tags.
    pub(super) tags: &'a [u8],
}

/// The present batch.
pub(super) struct Lines {
    format: LineFormat,
    out: Vec<u8>,
    time: Vec<u8>,
    tags: Vec<u8>,
}

impl Lines {
    /// An empty batch.
    pub(super) fn new(format: LineFormat) -> Self {
        Self { format, out: Vec::new(), time: Vec::new(), tags: Vec::new() }
    }
}

impl Encoder for Lines {
    fn add(&mut self, subject: &Subject<'_>) -> u64 {
        let Self { format, out, time, tags } = self;
        time.clear();
        (format.time)(time, subject.time);
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
            (format.line)(out, point, &Written { time, tags });
        });
        count
    }

    fn len(&self) -> usize {
        self.out.len()
    }

    fn finish(&mut self) -> Result<Bytes> {
        // The next batch is likely to be as long. Growing it step by step would copy it each time.
        let next = if self.out.len() < BATCH_BYTES { 0 } else { BATCH_BYTES + ROOM };
        Ok(std::mem::replace(&mut self.out, Vec::with_capacity(next)).into())
    }
}
