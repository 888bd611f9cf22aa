//! The beginning of a block.

use std::path::Path;

use crate::{Error, FORMAT, bytes::Input, checksum};

/// The first bytes of a block.
pub(crate) const MAGIC: &[u8; 8] = b"TAREREC1";

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 8 + 4 + 4 + 8 + 8 + 8 + 4 + 4 + 8;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(super) format: u32,
    /// Bytes of the whole block.
    pub(crate) length: u64,
    /// Nanoseconds since 1970.
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// Bytes of the compressed directory.
    pub(super) directory: u32,
    pub(super) directory_sum: u32,
    /// Bytes of the directory.
    pub(super) directory_raw: u64,
}

impl Header {
    /// The header as it is written.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let parts: [&[u8]; 7] = [
            &self.format.to_le_bytes(),
            &self.length.to_le_bytes(),
            &self.first.to_le_bytes(),
            &self.last.to_le_bytes(),
            &self.directory.to_le_bytes(),
            &self.directory_sum.to_le_bytes(),
            &self.directory_raw.to_le_bytes(),
        ];
        let sum = checksum(&parts).to_le_bytes();
        let mut out = MAGIC.to_vec();
        for (at, part) in parts.into_iter().enumerate() {
            out.extend_from_slice(part);
            if at == 0 {
                out.extend_from_slice(&sum);
            }
        }
        out
    }

    /// Reads the header of the block that begins here.
    pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let damaged = |what| Error::Damaged { path: path.to_owned(), what };
        let mut input = Input(bytes);
        if input.take(MAGIC.len()) != Some(MAGIC) {
            return Err(damaged("it is no block of a recording"));
        }
        let format = number(&mut input).map(u32::from_le_bytes);
        let sum = number(&mut input).map(u32::from_le_bytes);
        let rest = input.0.get(..HEADER_BYTES - 16).ok_or_else(|| damaged("it is cut off"))?;
        let (Some(format), Some(sum)) = (format, sum) else { return Err(damaged("it is cut off")) };
        if format > FORMAT {
            return Err(Error::TooNew { path: path.to_owned(), found: format, known: FORMAT });
        }
        if checksum(&[&format.to_le_bytes(), rest]) != sum {
            return Err(damaged("the checksum of its header is wrong"));
        }
        let mut read = || -> Option<Self> {
            Some(Self {
                format,
                length: u64::from_le_bytes(number(&mut input)?),
                first: i64::from_le_bytes(number(&mut input)?),
                last: i64::from_le_bytes(number(&mut input)?),
                directory: u32::from_le_bytes(number(&mut input)?),
                directory_sum: u32::from_le_bytes(number(&mut input)?),
                directory_raw: u64::from_le_bytes(number(&mut input)?),
            })
        };
        read().ok_or_else(|| damaged("it is cut off"))
    }
}

/// An integer of fixed size.
pub(super) fn number<const N: usize>(input: &mut Input<'_>) -> Option<[u8; N]> {
    input.take(N)?.try_into().ok()
}
