//! A sealed stretch: what is the same once, numbers by column.
//!
//! A header of fixed size, a directory, and the columns. The directory has the times, the shapes,
//! the texts, the things, and all numbers that do not change; a column has the numbers of one name
//! that do, thing by thing.

mod header;
mod layout;
mod read;
mod write;

/// Kinds of series in a column.
mod kind {
    /// How many bits of the length of a run are its kind.
    pub(super) const BITS: u32 = 3;
    /// A number that stays the same.
    pub(super) const SAME: u64 = 0;
    /// A number that changes.
    pub(super) const CHANGING: u64 = 1;
    /// A number that changes like another one of the same slot.
    pub(super) const LIKE: u64 = 2;
    /// A number that is the time of the instant.
    pub(super) const CLOCK: u64 = 3;
    /// A number that is always the same as an earlier one of the column.
    pub(super) const SHARED: u64 = 4;
}

pub(crate) use self::{
    header::{HEADER_BYTES, Header, MAGIC},
    read::{decode, parse, split},
    write::{changing, encode},
};
