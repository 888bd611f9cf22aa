//! The format of Tare's recordings.
//!
//! A recording is a series of instants. Each has a time and any number of things: a kind, a key,
//! and a value of any type that serde knows. The value's numbers change; what else it says, its
//! shape and its texts, seldom does.
//!
//! A directory holds one log, to which each instant is appended, and blocks, into which full logs
//! are sealed. `docs/record.md` describes both.
//!
//! This crate knows neither containers nor the kernel.

mod block;
mod bytes;
mod deserialize;
mod encoder;
mod error;
mod files;
mod join;
mod log;
mod recording;
mod serialize;
mod shape;
mod table;
mod writer;

#[cfg(test)]
mod tests;

use flate2::Crc;

pub use self::{
    deserialize::Unreadable,
    error::Error,
    join::join,
    recording::{Moment, Position, Recording, Thing, is_recording},
    serialize::Unrecordable,
    table::Run,
    writer::{Limits, Recovered, Tick, Writer},
};

/// The newest format that this version reads, and the one that it writes.
pub const FORMAT: u32 = 1;

/// CRC-32 as in gzip.
fn checksum(parts: &[&[u8]]) -> u32 {
    let mut sum = Crc::new();
    parts.iter().for_each(|part| sum.update(part));
    sum.sum()
}

/// What fuzzers and measurements call; it may change at any time.
#[doc(hidden)]
pub mod internals {
    use std::path::Path;

    use crate::{Error, block, log};

    /// Reads a block and says how many instants it has.
    ///
    /// # Errors
    ///
    /// If it is damaged.
    pub fn read_block(bytes: &[u8]) -> Result<usize, Error> {
        block::decode(bytes, Path::new("block")).map(|table| table.times.len())
    }

    /// The same block at another time, so many nanoseconds later: a long recording for
    /// measurements, made of a short one.
    ///
    /// # Errors
    ///
    /// If it is damaged.
    pub fn later(bytes: &[u8], nanoseconds: i64) -> Result<Vec<u8>, Error> {
        let mut table = block::decode(bytes, Path::new("block"))?;
        table.times.iter_mut().for_each(|time| *time = time.saturating_add(nanoseconds));
        Ok(block::encode(&table))
    }

    /// The numbers that change of each column, and how many bytes they take in the block.
    ///
    /// # Errors
    ///
    /// If it is damaged.
    pub fn columns(bytes: &[u8]) -> Result<Vec<(String, Vec<u64>, usize)>, Error> {
        Ok(block::changing(&block::decode(bytes, Path::new("block"))?))
    }

    /// The name of a block in a directory.
    ///
    /// # Errors
    ///
    /// If it is damaged.
    pub fn name(bytes: &[u8], number: u64) -> Result<String, Error> {
        let block::Header { first, last, .. } = block::Header::parse(bytes, Path::new("block"))?;
        Ok(crate::files::block_name(number, first, last))
    }

    /// Reads a log and says how many instants it has.
    ///
    /// # Errors
    ///
    /// If its beginning is damaged.
    pub fn read_log(bytes: &[u8]) -> Result<usize, Error> {
        log::parse(bytes, Path::new("log")).map(|read| read.table.times.len())
    }
}
