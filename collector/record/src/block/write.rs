//! A table → a block.

use std::{collections::HashMap, mem};

use crate::{
    FORMAT,
    block::{
        header::{HEADER_BYTES, Header},
        kind,
        layout::Layout,
    },
    bytes::{put_bytes, put_number, zigzag},
    checksum,
    column::pack,
    deflate::deflate,
    table::{Number, Slot, Table},
};

/// Writes a table as a block.
pub(crate) fn encode(table: &Table) -> Vec<u8> {
    let slots = ordered(table);
    let mut directory = Vec::new();
    put_head(table, &slots, &mut directory);
    let mut data = Vec::new();
    let columns = members(table, &slots);
    put_number(&mut directory, columns.len() as u64);
    // One after the other: all of them together take hundreds of megabytes on a large host.
    for (name, members) in columns {
        put_column(&name, &column(table, &members), &mut directory, &mut data);
    }
    let raw = directory.len() as u64;
    let directory = deflate(&directory);
    let header = Header {
        format: FORMAT,
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
    /// Lengths of runs of series of one kind, with the kind.
    runs: Vec<u8>,
    run: u64,
    kind: u64,
    /// What is known of series that do not have their own values.
    constants: Vec<u8>,
    /// The number before that stays the same, and the difference before.
    before: u64,
    more: u64,
    /// Where the series before was that is shared.
    shared: u64,
    /// Numbers that change, a series after the other.
    values: Vec<u64>,
    /// Where they begin, by their hash.
    series: HashMap<u64, usize>,
}

impl Column {
    fn begin(&mut self, kind: u64) {
        if kind != self.kind {
            self.end_run();
            self.kind = kind;
        }
        self.run += 1;
    }

    fn end_run(&mut self) {
        let run = mem::take(&mut self.run);
        if run > 0 {
            put_number(&mut self.runs, run << kind::BITS | self.kind);
        }
    }

    fn put_same(&mut self, value: u64) {
        self.begin(kind::SAME);
        put_number(&mut self.constants, zigzag(value.wrapping_sub(self.before)));
        self.before = value;
    }

    /// What a reading has that is made for all is the same in many containers.
    fn put_changing(&mut self, series: &[u64]) {
        let next = self.values.len();
        let at = *self.series.entry(hash(series.iter().copied())).or_insert(next);
        if at < next && self.values.get(at..at + series.len()) == Some(series) {
            self.begin(kind::SHARED);
            put_number(&mut self.constants, zigzag((at as u64).wrapping_sub(self.shared)));
            self.shared = at as u64;
        } else {
            self.begin(kind::CHANGING);
            self.values.extend_from_slice(series);
        }
    }

    fn put_like(&mut self, distance: u64, more: u64) {
        self.begin(kind::LIKE);
        put_number(&mut self.constants, distance);
        put_number(&mut self.constants, zigzag(more.wrapping_sub(self.more)));
        self.more = more;
    }

    fn put_clock(&mut self, clock: u8) {
        self.begin(kind::CLOCK);
        put_number(&mut self.constants, clock.into());
    }
}

/// The series of a slot, to find those that change alike.
#[derive(Default)]
struct Alike<'a> {
    /// By a hash of their steps.
    known: HashMap<u64, (u32, &'a [u64])>,
}

impl<'a> Alike<'a> {
    /// The number that is like an earlier one, if one has the same steps.
    fn find(&mut self, place: u32, series: &'a [u64]) -> Option<Number> {
        let (of, known) = *self.known.entry(hash(steps(series))).or_insert((place, series));
        let is_alike = of < place && steps(known).eq(steps(series));
        let more = series.first()?.wrapping_sub(*known.first()?);
        is_alike.then_some(Number::Like { place: of, more })
    }
}

fn hash(words: impl Iterator<Item = u64>) -> u64 {
    const ODD: u64 = 0xd6e8_feb8_6659_fd93;
    words.fold(ODD, |hash, word| (hash.rotate_left(26) ^ word).wrapping_mul(ODD))
}

fn steps(series: &[u64]) -> impl Iterator<Item = u64> {
    series.iter().zip(series.iter().skip(1)).map(|(before, now)| now.wrapping_sub(*before))
}

/// A number of a slot, for the column that it belongs to.
struct Member {
    number: Number,
    /// Its place in the slot.
    place: u32,
    /// How many instants the slot has.
    ticks: u32,
}

/// The numbers of each column, by name, slot by slot.
fn members(table: &Table, slots: &[&Slot]) -> Vec<(String, Vec<Member>)> {
    let layout = Layout::of(&table.shapes);
    let mut columns: Vec<Vec<Member>> = Vec::new();
    columns.resize_with(layout.names.len(), Vec::new);
    let mut alike = Alike::default();
    for slot in slots {
        alike.known.clear();
        let ticks = slot.ticks;
        let numbers = table.numbers(slot).iter();
        for (place, (index, number)) in (0..).zip(layout.of_shape(slot.shape).iter().zip(numbers)) {
            let found = match *number {
                Number::Changing { column, at } => {
                    let series = table.series(column, at, ticks);
                    series.and_then(|series| alike.find(place, series))
                }
                _ => None,
            };
            let number = found.unwrap_or(*number);
            if let Some(column) = columns.get_mut(*index as usize) {
                column.push(Member { number, place, ticks });
            }
        }
    }
    let is_used = |(_, members): &(String, Vec<Member>)| !members.is_empty();
    layout.names.into_iter().zip(columns).filter(is_used).collect()
}

/// Makes a column of its numbers.
fn column(table: &Table, members: &[Member]) -> Column {
    let mut out = Column::default();
    for Member { number, place, ticks } in members {
        match *number {
            Number::Same(value) => out.put_same(value),
            Number::Like { place: of, more } => out.put_like(u64::from(place - of), more),
            Number::Clock(clock) => out.put_clock(clock),
            // Only a damaged block has none.
            Number::Changing { column, at } => {
                out.put_changing(table.series(column, at, *ticks).unwrap_or_default());
            }
        }
    }
    out.end_run();
    out
}

/// Everything of the directory but columns.
fn put_head(table: &Table, slots: &[&Slot], out: &mut Vec<u8>) {
    out.extend_from_slice(&table.run);
    put_times(&table.times, out);
    put_times(&table.monotonic, out);
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

fn put_times(times: &[i64], out: &mut Vec<u8>) {
    put_number(out, times.len() as u64);
    let (mut before, mut step_before) = (0, 0);
    for time in times {
        let step = time.wrapping_sub(before);
        put_number(out, zigzag(step.wrapping_sub(step_before) as u64));
        (before, step_before) = (*time, step);
    }
}

/// A column: what stays the same goes to the directory, what changes to the data.
fn put_column(name: &str, column: &Column, directory: &mut Vec<u8>, data: &mut Vec<u8>) {
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
    let columns = members(table, &ordered(table)).into_iter();
    columns
        .map(|(name, members)| (name, column(table, &members)))
        .map(|(name, column)| (name, pack(&column.values).len(), column.values))
        .map(|(name, packed, values)| (name, values, packed))
        .collect()
}
