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
mod builder;
mod bytes;
mod clocks;
mod column;
mod deflate;
mod deserialize;
mod encoder;
mod error;
mod files;
mod join;
mod log;
mod recording;
mod serialize;
mod shape;
mod state;
mod table;
mod taker;
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
    shape::Same,
    state::WriterState,
    table::Run,
    writer::{Limits, Recovered, Tick, Writer},
};

/// The newest format that this version reads, and the one that it writes.
pub const FORMAT: u32 = 2;

/// CRC-32 as in gzip.
fn checksum(parts: &[&[u8]]) -> u32 {
    let mut sum = Crc::new();
    parts.iter().for_each(|part| sum.update(part));
    sum.sum()
}

#[doc(hidden)]
pub mod internals;
