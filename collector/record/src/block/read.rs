//! A block → a table.

use std::{ops::Range, path::Path};

use crate::{
    Error,
    block::{
        header::{HEADER_BYTES, Header, number},
        kind,
        layout::Layout,
    },
    bytes::{Input, unzigzag},
    checksum,
    clocks::CLOCKS,
    deflate::inflate,
    table::{Column, NUMBERS_MAX, Number, Run, Slot, TICKS_MAX, Table},
};

/// The largest directory that is read, uncompressed.
const DIRECTORY_MAX: u64 = 1 << 30;

const DAMAGED: &str = "its directory is damaged";

/// The directory of a block that is whole, and its packed columns.
pub(crate) fn split(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let header = Header::parse(bytes, Path::new("block")).ok()?;
    let (directory, packed) =
        bytes.get(HEADER_BYTES..)?.split_at_checked(header.directory as usize)?;
    Some((inflate(directory, header.directory_raw)?, packed))
}

/// Reads a block. Its columns are checked, and unpacked when they are wanted.
pub(crate) fn decode(mut bytes: Vec<u8>, path: &Path) -> Result<Table, Error> {
    let damaged = |what| Error::Damaged { path: path.to_owned(), what };
    let header = Header::parse(&bytes, path)?;
    if header.length != bytes.len() as u64 {
        return Err(damaged("it is cut off"));
    }
    let rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let Some((directory, packed)) = rest.split_at_checked(header.directory as usize) else {
        return Err(damaged("it is cut off"));
    };
    if checksum(&[directory]) != header.directory_sum || header.directory_raw > DIRECTORY_MAX {
        return Err(damaged("the checksum of its directory is wrong"));
    }
    let directory = inflate(directory, header.directory_raw).ok_or_else(|| damaged(DAMAGED))?;
    let begin = bytes.len() - packed.len();
    bytes.drain(..begin);
    parse(header.format, &directory, bytes, true).map_err(damaged)
}

/// Reads a directory and the packed columns after it, with or without their checksums.
pub(crate) fn parse(
    format: u32,
    directory: &[u8],
    packed: Vec<u8>,
    is_checked: bool,
) -> Result<Table, &'static str> {
    let mut input = Input(directory);
    let mut table = read_head(format, &mut input).ok_or(DAMAGED)?;
    read_columns(format, &mut input, (&packed, is_checked), &mut table)?;
    table.packed = packed;
    Ok(table)
}

fn read_head(format: u32, input: &mut Input<'_>) -> Option<Table> {
    let mut table = Table { run: number::<{ size_of::<Run>() }>(input)?, ..Table::default() };
    table.times = read_times(input)?;
    if format >= 2 {
        table.monotonic = read_times(input)?;
    }
    for _ in 0..input.count()? {
        table.texts.push(input.text()?.into());
    }
    for _ in 0..input.count()? {
        table.shapes.push(input.bytes()?.into());
    }
    let (mut key, mut numbers) = (0_u64, 0_usize);
    for _ in 0..input.count()? {
        let kind = input.index()?;
        key = key.wrapping_add(unzigzag(input.number()?));
        let [shape, from, ticks] = [input.index()?, input.index()?, input.index()?];
        let end = from.checked_add(ticks)?;
        if end as usize > table.times.len() || ticks == 0 {
            return None;
        }
        let mut texts = Vec::new();
        for _ in 0..input.count()? {
            let text = input.index()?;
            table.texts.get(text as usize)?;
            texts.push(text);
        }
        table.texts.get(kind as usize)?;
        table.shapes.get(shape as usize)?;
        let count = input.size().filter(|count| *count <= NUMBERS_MAX)?;
        let (texts, begin) = (texts.into(), numbers);
        numbers += count;
        if numbers > NUMBERS_MAX {
            return None;
        }
        table.slots.push(Slot { kind, key, shape, texts, from, ticks, begin, count });
    }
    Some(table)
}

fn read_times(input: &mut Input<'_>) -> Option<Vec<i64>> {
    let (mut time, mut step) = (0_i64, 0_i64);
    let mut times = Vec::new();
    for _ in 0..input.count().filter(|ticks| *ticks <= TICKS_MAX)? {
        step = step.wrapping_add(unzigzag(input.number()?) as i64);
        time = time.wrapping_add(step);
        times.push(time);
    }
    Some(times)
}

/// A column of the directory, and how far its series were given to slots.
struct Reading<'a> {
    format: u32,
    runs: Input<'a>,
    left: u64,
    kind: u64,
    constants: Input<'a>,
    before: u64,
    more: u64,
    shared: u64,
    /// How many numbers that change it has, and how many were given.
    count: usize,
    given: usize,
    index: u32,
}

impl Reading<'_> {
    /// The next series, of so many instants, which is at this place of its slot.
    fn next(&mut self, place: u32, ticks: u32) -> Option<Number> {
        while self.left == 0 {
            let run = self.runs.number()?;
            (self.left, self.kind) = match self.format {
                // Both kinds that it has take turns.
                1 => (run, self.kind ^ kind::CHANGING),
                _ => (run >> kind::BITS, run & !(u64::MAX << kind::BITS)),
            };
        }
        self.left -= 1;
        Some(match self.kind {
            kind::SAME => {
                self.before = self.before.wrapping_add(unzigzag(self.constants.number()?));
                Number::Same(self.before)
            }
            kind::CHANGING => {
                let at = self.given;
                self.given = at.checked_add(ticks as usize).filter(|given| *given <= self.count)?;
                Number::Changing { column: self.index, at: at as u32 }
            }
            kind::LIKE => {
                let distance = self.constants.index().filter(|distance| *distance > 0)?;
                self.more = self.more.wrapping_add(unzigzag(self.constants.number()?));
                Number::Like { place: place.checked_sub(distance)?, more: self.more }
            }
            kind::CLOCK => {
                Number::Clock(self.constants.byte().filter(|clock| (*clock as usize) < CLOCKS)?)
            }
            kind::SHARED => {
                self.shared = self.shared.wrapping_add(unzigzag(self.constants.number()?));
                let end = self.shared.checked_add(ticks.into())?;
                let is_given = end <= self.given as u64;
                let at = u32::try_from(self.shared).ok().filter(|_| is_given)?;
                Number::Changing { column: self.index, at }
            }
            _ => return None,
        })
    }

    fn is_over(&self) -> bool {
        self.left == 0 && self.constants.is_empty() && self.given == self.count
    }
}

fn read_columns(
    format: u32,
    input: &mut Input<'_>,
    (packed, is_checked): (&[u8], bool),
    table: &mut Table,
) -> Result<(), &'static str> {
    let layout = Layout::of(&table.shapes);
    let fits = |slot: &Slot| {
        let texts = layout.texts.get(slot.shape as usize).copied().flatten();
        layout.of_shape(slot.shape).len() == slot.count && texts == Some(slot.texts.len())
    };
    if !table.slots.iter().all(fits) {
        return Err("a thing does not fit its description");
    }
    let mut readings: Vec<Option<Reading<'_>>> = Vec::new();
    readings.resize_with(layout.names.len(), || None);
    let (mut end, mut numbers) = (0, 0);
    for index in 0..input.count().ok_or(DAMAGED)? {
        let name = input.text().ok_or(DAMAGED)?;
        let place = layout.names.binary_search_by(|known| known.as_str().cmp(name));
        let place = place.ok().and_then(|place| readings.get_mut(place)).ok_or(DAMAGED)?;
        let (reading, range) = read_column(format, input, &mut end, index as u32).ok_or(DAMAGED)?;
        numbers += reading.count;
        if numbers > NUMBERS_MAX {
            return Err("it has too many numbers");
        }
        let sum: [u8; 4] = number(input).ok_or(DAMAGED)?;
        let bytes = packed.get(range.clone()).ok_or(DAMAGED)?;
        if is_checked && checksum(&[bytes]) != u32::from_le_bytes(sum) {
            return Err("the checksum of a column is wrong");
        }
        table.columns.push(Column::packed(range, reading.count));
        if place.replace(reading).is_some() {
            return Err(DAMAGED);
        }
    }
    for slot in &table.slots {
        for (place, index) in (0..).zip(layout.of_shape(slot.shape)) {
            let reading = readings.get_mut(*index as usize).and_then(Option::as_mut);
            let number = reading.and_then(|reading| reading.next(place, slot.ticks));
            table.numbers.push(number.ok_or("a column is damaged")?);
        }
    }
    let is_over = readings.iter().flatten().all(Reading::is_over);
    is_over.then_some(()).ok_or("a column is damaged")
}

/// Reads a column up to its checksum, and where its packed numbers are.
fn read_column<'a>(
    format: u32,
    input: &mut Input<'a>,
    end: &mut usize,
    index: u32,
) -> Option<(Reading<'a>, Range<usize>)> {
    let (runs, constants) = (Input(input.bytes()?), Input(input.bytes()?));
    let (count, length) = (input.size()?, input.size()?);
    let begin = *end;
    *end = begin.checked_add(length)?;
    let (left, kind, before, more, shared, given) = (0, kind::CHANGING, 0, 0, 0, 0);
    let reading =
        Reading { format, runs, left, kind, constants, before, more, shared, count, given, index };
    Some((reading, begin..*end))
}
