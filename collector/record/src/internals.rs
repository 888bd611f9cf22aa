//! What fuzzers and measurements call; it may change at any time.

use std::{collections::HashSet, path::Path};

use serde::de::IgnoredAny;

use crate::{
    Error, FORMAT, block,
    builder::Builder,
    bytes::{Input, put_bytes},
    deserialize::restore,
    log,
    table::Table,
};

/// Reads a block and says how many instants it has.
///
/// # Errors
///
/// If it is damaged.
pub fn read_block(bytes: &[u8]) -> Result<usize, Error> {
    let path = Path::new("block");
    let table = block::decode(bytes.to_owned(), path)?;
    let columns = table.columns.len() as u32;
    match (0..columns).all(|column| table.column(column).is_some()) {
        true => Ok(table.times.len()),
        false => Err(Error::Damaged { path: path.to_owned(), what: "a column is damaged" }),
    }
}

/// What [`read_bare_block`] takes: the directory of a block, unpacked, with its length before it,
/// and the packed columns.
pub fn bare_block(bytes: &[u8]) -> Option<Vec<u8>> {
    let (directory, packed) = block::split(bytes)?;
    let mut out = Vec::new();
    put_bytes(&mut out, &directory);
    out.extend_from_slice(packed);
    Some(out)
}

/// Reads a block without checksums and compression, which keep damage from what reads the rest.
pub fn read_bare_block(bytes: &[u8]) {
    let mut input = Input(bytes);
    let Some(directory) = input.bytes() else { return };
    if let Ok(table) = block::parse(FORMAT, directory, input.0.to_owned(), false) {
        read_all(&table);
    }
}

/// What [`read_bare_log`] takes: the instants of a log, with the length of each before it.
pub fn bare_log(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    log::ticks(bytes, Path::new("log")).ok()?.for_each(|tick| put_bytes(&mut out, tick));
    Some(out)
}

/// Reads a log without checksums, and seals it.
pub fn read_bare_log(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut builder = Builder::new([0; 16], FORMAT);
    while let Some(tick) = input.bytes() {
        if builder.add(tick).is_none() {
            break;
        }
    }
    let table = builder.finish();
    read_all(&table);
    let sealed = block::encode(&table);
    let _ = read_block(&sealed);
}

fn read_all(table: &Table) {
    let mut numbers = Vec::new();
    for slot in &table.slots {
        if slot.ticks == 0 || table.values(slot, slot.from, &mut numbers).is_none() {
            continue;
        }
        let shape = table.shapes.get(slot.shape as usize).map_or(&[][..], |shape| shape);
        let texts = slot.texts.iter().filter_map(|text| table.texts.get(*text as usize));
        let texts: Vec<&str> = texts.map(|text| &**text).collect();
        let _ = restore::<IgnoredAny>(shape, &numbers, &texts);
    }
}

/// The same block at another time, so many nanoseconds later: a long recording for measurements,
/// made of a short one.
///
/// # Errors
///
/// If it is damaged.
pub fn later(bytes: &[u8], nanoseconds: i64) -> Result<Vec<u8>, Error> {
    let mut table = block::decode(bytes.to_owned(), Path::new("block"))?;
    let times = table.times.iter_mut().chain(&mut table.monotonic);
    times.for_each(|time| *time = time.saturating_add(nanoseconds));
    Ok(block::encode(&table))
}

/// The numbers that change of each column, and how many bytes they take in the block.
///
/// # Errors
///
/// If it is damaged.
pub fn columns(bytes: &[u8]) -> Result<Vec<(String, Vec<u64>, usize)>, Error> {
    Ok(block::changing(&block::decode(bytes.to_owned(), Path::new("block"))?))
}

/// How many bytes a block would have without things of a kind, their shapes and texts.
///
/// # Errors
///
/// If it is damaged.
pub fn bytes_without(bytes: &[u8], kind: &str) -> Result<usize, Error> {
    let mut table = block::decode(bytes.to_owned(), Path::new("block"))?;
    let Table { slots, texts, shapes, .. } = &mut table;
    slots.retain(|slot| texts.get(slot.kind as usize).is_none_or(|found| **found != *kind));
    // What nobody refers to becomes empty, and takes next to nothing.
    let used: HashSet<u32> =
        slots.iter().flat_map(|slot| slot.texts.iter().copied().chain([slot.kind])).collect();
    for (index, text) in (0..).zip(texts) {
        if !used.contains(&index) {
            *text = Box::default();
        }
    }
    let used: HashSet<u32> = slots.iter().map(|slot| slot.shape).collect();
    for (index, shape) in (0..).zip(shapes) {
        if !used.contains(&index) {
            *shape = Box::default();
        }
    }
    Ok(block::encode(&table).len())
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
