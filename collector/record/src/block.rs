//! A sealed stretch: what is the same once, numbers by column.
//!
//! A header of fixed size, a directory, and the columns. The directory has the times, the shapes,
//! the texts, the things, and all numbers that do not change; a column has the numbers of one name
//! that do, thing by thing.

mod header;
mod layout;
mod read;
mod write;

pub(crate) use self::{
    header::{HEADER_BYTES, Header, MAGIC},
    read::{decode, parse, split},
    write::{changing, encode},
};
