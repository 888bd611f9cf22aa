//! Labels, encoded.

use std::ops::Range;

use memchr::memchr3;

use crate::exposition::{Exposition, protobuf::LabelPair};

/// Encoded sets of labels. That of a container is written into each of its samples, so it is
/// encoded once.
pub(crate) struct LabelSets {
    exposition: Exposition,
    bytes: Vec<u8>,
    sets: Vec<Range<usize>>,
}

/// One of [`LabelSets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LabelSetId(u32);

impl LabelSetId {
    /// The empty set.
    pub(crate) const NONE: Self = Self(u32::MAX);

    /// How many sets were added before this one.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl LabelSets {
    /// None yet, for this format.
    pub(crate) fn new(exposition: Exposition) -> Self {
        Self { exposition, bytes: Vec::new(), sets: Vec::new() }
    }

    /// Adds a set. `for_each` calls the function that it is given with the name and the value of
    /// each label; there must be one at least. In text, the closing brace is left to the sample.
    pub(crate) fn add(&mut self, for_each: impl FnOnce(&mut dyn FnMut(&str, &str))) -> LabelSetId {
        let start = self.bytes.len();
        let bytes = &mut self.bytes;
        if self.exposition == Exposition::Protobuf {
            for_each(&mut |name, value| LabelPair::new(name, value).encode_into(bytes));
        } else {
            bytes.push(b'{');
            let mut first = true;
            for_each(&mut |name, value| write_label(bytes, &mut first, name, value));
        }
        self.sets.push(start..self.bytes.len());
        LabelSetId((self.sets.len() - 1) as u32)
    }

    /// The bytes of a set.
    pub(crate) fn get(&self, id: LabelSetId) -> &[u8] {
        let range = self.sets.get(id.index()).cloned();
        range.and_then(|range| self.bytes.get(range)).unwrap_or_default()
    }
}

/// Writes `name="value"`, after a comma unless it is the first label.
pub(crate) fn write_label(out: &mut Vec<u8>, first: &mut bool, name: &str, value: &str) {
    if !std::mem::take(first) {
        out.push(b',');
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    if memchr3(b'\\', b'"', b'\n', value.as_bytes()).is_none() {
        out.extend_from_slice(value.as_bytes());
    } else {
        value.bytes().for_each(|byte| write_escaped(out, byte));
    }
    out.push(b'"');
}

fn write_escaped(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'"' => out.extend_from_slice(b"\\\""),
        b'\n' => out.extend_from_slice(b"\\n"),
        byte => out.push(byte),
    }
}
