//! A table → a block.

use std::io::Write as _;

use flate2::{Compression, write::DeflateEncoder};

use crate::{
    block::{
        header::{HEADER_BYTES, Header},
        layout::Layout,
    },
    bytes::{put_bytes, put_number, zigzag},
    checksum,
    column::pack,
    table::{Number, Slot, Table},
};

/// Writes a table as a block.
pub(crate) fn encode(table: &Table) -> Vec<u8> {
    let slots = ordered(table);
    let mut directory = Vec::new();
    put_head(table, &slots, &mut directory);
    let mut data = Vec::new();
    let columns = columns(table, &slots);
    put_number(&mut directory, columns.len() as u64);
    for (name, column) in columns {
        put_column(&name, column, &mut directory, &mut data);
    }
    let raw = directory.len() as u64;
    let directory = deflate(&directory);
    let header = Header {
        length: (HEADER_BYTES + directory.len() + data.len()) as u64,
        first: table.times.first().copied().unwrap_or(0),
        last: table.times.last().copied().unwrap_or(0),
        directory: directory.len() as u32,
        directory_sum: checksum(&[&directory]),
        directory_raw: raw,
    };
    let mut out = header.bytes();
    out.extend_from_slice(&directory);
    out.extend_from_slice(&data);
    out
}

/// The slots as a block has them: those of a thing follow each other, so that its numbers go on
/// where they were.
fn ordered(table: &Table) -> Vec<&Slot> {
    let mut slots: Vec<&Slot> = table.slots.iter().collect();
    slots.sort_by_key(|slot| (slot.kind, slot.key, slot.from));
    slots
}

/// The numbers of one name, slot by slot.
#[derive(Default)]
struct Column {
    /// Lengths of runs of series that stay the same and that change, in turn.
    runs: Vec<u8>,
    run: u64,
    is_changing: bool,
    /// Numbers that stay the same, as steps from one to the next.
    constants: Vec<u8>,
    before: u64,
    /// Numbers that change, a series after the other.
    values: Vec<u64>,
}

impl Column {
    fn add(&mut self, is_changing: bool) {
        if is_changing != self.is_changing {
            put_number(&mut self.runs, self.run);
            (self.run, self.is_changing) = (0, is_changing);
        }
        self.run += 1;
    }
}

/// The columns by name.
fn columns(table: &Table, slots: &[&Slot]) -> Vec<(String, Column)> {
    let layout = Layout::of(&table.shapes);
    let mut columns: Vec<Column> = Vec::new();
    columns.resize_with(layout.names.len(), Column::default);
    for slot in slots {
        let numbers = table.numbers(slot).iter();
        for (index, number) in layout.of_shape(slot.shape).iter().zip(numbers) {
            let Some(column) = columns.get_mut(*index as usize) else { continue };
            let series = match number {
                Number::Same(_) => None,
                Number::Changing { column, at } => table.series(slot, *column, *at),
            };
            column.add(series.is_some());
            match (number, series) {
                (_, Some(series)) => column.values.extend_from_slice(series),
                (Number::Same(value), None) => {
                    put_number(&mut column.constants, zigzag(value.wrapping_sub(column.before)));
                    column.before = *value;
                }
                // Only a damaged block has no series.
                (Number::Changing { .. }, None) => put_number(&mut column.constants, 0),
            }
        }
    }
    let is_used = |(_, column): &(String, Column)| column.run > 0;
    layout.names.into_iter().zip(columns).filter(is_used).collect()
}

/// Everything of the directory but columns.
fn put_head(table: &Table, slots: &[&Slot], out: &mut Vec<u8>) {
    out.extend_from_slice(&table.run);
    put_number(out, table.times.len() as u64);
    let (mut before, mut step_before) = (0, 0);
    for time in &table.times {
        let step = time.wrapping_sub(before);
        put_number(out, zigzag(step.wrapping_sub(step_before) as u64));
        (before, step_before) = (*time, step);
    }
    put_number(out, table.texts.len() as u64);
    table.texts.iter().for_each(|text| put_bytes(out, text.as_bytes()));
    put_number(out, table.shapes.len() as u64);
    table.shapes.iter().for_each(|shape| put_bytes(out, shape));
    put_number(out, slots.len() as u64);
    let mut key = 0;
    for slot in slots {
        put_number(out, slot.kind.into());
        put_number(out, zigzag(slot.key.wrapping_sub(key)));
        key = slot.key;
        for number in [slot.shape, slot.from, slot.ticks, slot.texts.len() as u32] {
            put_number(out, number.into());
        }
        slot.texts.iter().for_each(|text| put_number(out, (*text).into()));
        put_number(out, slot.count as u64);
    }
}

/// A column: what stays the same goes to the directory, what changes to the data.
fn put_column(name: &str, mut column: Column, directory: &mut Vec<u8>, data: &mut Vec<u8>) {
    put_number(&mut column.runs, column.run);
    put_bytes(directory, name.as_bytes());
    put_bytes(directory, &column.runs);
    put_bytes(directory, &column.constants);
    let packed = pack(&column.values);
    put_number(directory, column.values.len() as u64);
    put_number(directory, packed.len() as u64);
    directory.extend_from_slice(&checksum(&[&packed]).to_le_bytes());
    data.extend_from_slice(&packed);
}

/// The numbers of each column that change, and the bytes that they take.
pub(crate) fn changing(table: &Table) -> Vec<(String, Vec<u64>, usize)> {
    let columns = columns(table, &ordered(table)).into_iter();
    columns
        .map(|(name, column)| (name, pack(&column.values).len(), column.values))
        .map(|(name, packed, values)| (name, values, packed))
        .collect()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
    // Writing into memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}
