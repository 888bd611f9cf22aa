//! A sealed stretch: what is the same once, numbers by column.
//!
//! A header of fixed size, a directory, and the columns. The directory has the times, the shapes,
//! the texts, the things, and all numbers that do not change; a column has the numbers of one name
//! that do, thing by thing.

use std::{collections::BTreeMap, io::Read as _, path::Path};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use pco::{
    ChunkConfig,
    standalone::{simple_compress, simple_decompress_into},
};

use crate::{
    Error, FORMAT,
    bytes::{Input, put_bytes, put_number, unzigzag, zigzag},
    checksum,
    shape::{Columns, columns},
    table::{NUMBERS_MAX, Run, Slot, TICKS_MAX, Table},
};

/// The first bytes of a block.
pub(crate) const MAGIC: &[u8; 8] = b"TAREREC1";

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 8 + 4 + 4 + 8 + 8 + 8 + 4 + 4 + 8;

/// The largest directory that is read, uncompressed.
const DIRECTORY_MAX: u64 = 1 << 30;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes of the whole block.
    pub(crate) length: u64,
    /// Nanoseconds since 1970.
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// Bytes of the compressed directory.
    directory: u32,
    directory_sum: u32,
    /// Bytes of the directory.
    directory_raw: u64,
}

/// How the numbers of one column are spread over the things.
struct ColumnPlan {
    /// Slot and place of each series.
    series: Vec<(u32, u32)>,
}

/// Writes a table as a block.
pub(crate) fn encode(table: &Table) -> Vec<u8> {
    let mut table_order: Vec<u32> = (0..table.slots.len() as u32).collect();
    let slot = |index: &u32| table.slots.get(*index as usize);
    // A thing's slots follow each other, so that its numbers go on where they were.
    table_order.sort_by_key(|index| slot(index).map(|slot| (slot.kind, slot.key, slot.from)));
    let slots: Vec<&Slot> = table_order.iter().filter_map(slot).collect();
    let known: Vec<Columns> =
        table.shapes.iter().map(|shape| columns(shape).unwrap_or_default()).collect();
    let plans = plan(&slots, &known);
    let mut directory = Vec::new();
    put_head(table, &slots, &mut directory);
    let mut data = Vec::new();
    put_number(&mut directory, plans.len() as u64);
    for (name, plan) in &plans {
        put_column(name, plan, &slots, &mut directory, &mut data);
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

fn plan<'a>(slots: &[&Slot], known: &'a [Columns]) -> BTreeMap<&'a str, ColumnPlan> {
    let mut plans = BTreeMap::<&str, ColumnPlan>::new();
    for (index, slot) in (0..).zip(slots) {
        let names = known.get(slot.shape as usize).map_or(&[][..], |columns| &columns.names);
        for (place, name) in (0..).zip(names.iter().take(slot.firsts.len())) {
            let plan = plans.entry(name).or_insert_with(|| ColumnPlan { series: Vec::new() });
            plan.series.push((index, place));
        }
    }
    plans
}

/// The numbers of each column that change, and the bytes that they take.
pub(crate) fn changing(table: &Table) -> Vec<(String, Vec<u64>, usize)> {
    let slots: Vec<&Slot> = table.slots.iter().collect();
    let known: Vec<Columns> =
        table.shapes.iter().map(|shape| columns(shape).unwrap_or_default()).collect();
    let mut all = Vec::new();
    for (name, plan) in plan(&slots, &known) {
        let mut values = Vec::new();
        for (slot, place) in plan.series {
            let changed = slots.get(slot as usize).map_or(&[][..], |slot| &slot.changed);
            let series = changed.iter().find(|(changed, _)| *changed == place);
            values.extend(series.into_iter().flat_map(|(_, series)| series.iter().copied()));
        }
        let packed = pack(&values).len();
        all.push((name.to_owned(), values, packed));
    }
    all
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
        put_number(out, slot.firsts.len() as u64);
    }
}

/// A column: what stays the same goes to the directory, what changes to the data.
fn put_column(
    name: &str,
    plan: &ColumnPlan,
    slots: &[&Slot],
    directory: &mut Vec<u8>,
    data: &mut Vec<u8>,
) {
    put_bytes(directory, name.as_bytes());
    let (mut constants, mut values) = (Vec::new(), Vec::new());
    let mut before = 0_u64;
    // Runs of series that stay the same and that change, in turn.
    let (mut runs, mut run, mut is_changing) = (Vec::new(), 0_u64, false);
    for (slot, place) in &plan.series {
        let Some(slot) = slots.get(*slot as usize) else { continue };
        let changed = slot.changed.binary_search_by_key(place, |(place, _)| *place);
        if changed.is_ok() != is_changing {
            put_number(&mut runs, run);
            (run, is_changing) = (0, changed.is_ok());
        }
        run += 1;
        match changed.ok().and_then(|index| slot.changed.get(index)) {
            Some((_, series)) => values.extend_from_slice(series),
            None => {
                let first = slot.firsts.get(*place as usize).copied().unwrap_or(0);
                put_number(&mut constants, zigzag(first.wrapping_sub(before)));
                before = first;
            }
        }
    }
    put_number(&mut runs, run);
    put_bytes(directory, &runs);
    put_bytes(directory, &constants);
    let packed = pack(&values);
    put_number(directory, values.len() as u64);
    put_number(directory, packed.len() as u64);
    directory.extend_from_slice(&checksum(&[&packed]).to_le_bytes());
    data.extend_from_slice(&packed);
}

/// How a column's numbers are packed.
const PLAIN: u8 = 0;
const PCO: u8 = 1;

/// Fewer numbers than this are not worth the tables of a compressor.
const PCO_MIN: usize = 32;

fn pack(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    if values.is_empty() {
        return out;
    }
    let packed = match values.len() >= PCO_MIN {
        true => simple_compress(values, &ChunkConfig::default()).ok(),
        false => None,
    };
    let mut plain = vec![PLAIN];
    let mut before = 0;
    if values.len() < PCO_MIN || packed.is_none() {
        for value in values {
            put_number(&mut plain, zigzag(value.wrapping_sub(before)));
            before = *value;
        }
        return plain;
    }
    out.push(PCO);
    out.extend_from_slice(&packed.unwrap_or_default());
    out
}

fn unpack(bytes: &[u8], count: usize) -> Option<Vec<u64>> {
    let mut values = vec![0; count];
    let mut input = Input(bytes);
    match input.byte() {
        None if count == 0 => {}
        Some(PLAIN) => {
            let mut before = 0_u64;
            for value in &mut values {
                before = before.wrapping_add(unzigzag(input.number()?));
                *value = before;
            }
        }
        Some(PCO) => {
            let progress = simple_decompress_into(input.0, &mut values).ok()?;
            if progress.n_processed != count {
                return None;
            }
        }
        _ => return None,
    }
    Some(values)
}

impl Header {
    fn bytes(&self) -> Vec<u8> {
        let mut rest = Vec::with_capacity(HEADER_BYTES);
        rest.extend_from_slice(&self.length.to_le_bytes());
        rest.extend_from_slice(&self.first.to_le_bytes());
        rest.extend_from_slice(&self.last.to_le_bytes());
        rest.extend_from_slice(&self.directory.to_le_bytes());
        rest.extend_from_slice(&self.directory_sum.to_le_bytes());
        rest.extend_from_slice(&self.directory_raw.to_le_bytes());
        let mut out = MAGIC.to_vec();
        let format = FORMAT.to_le_bytes();
        out.extend_from_slice(&format);
        out.extend_from_slice(&checksum(&[&format, &rest]).to_le_bytes());
        out.extend_from_slice(&rest);
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
        let read = || -> Option<Self> {
            Some(Self {
                length: u64::from_le_bytes(number(&mut input)?),
                first: i64::from_le_bytes(number(&mut input)?),
                last: i64::from_le_bytes(number(&mut input)?),
                directory: u32::from_le_bytes(number(&mut input)?),
                directory_sum: u32::from_le_bytes(number(&mut input)?),
                directory_raw: u64::from_le_bytes(number(&mut input)?),
            })
        };
        let mut read = read;
        read().ok_or_else(|| damaged("it is cut off"))
    }
}

fn number<const N: usize>(input: &mut Input<'_>) -> Option<[u8; N]> {
    input.take(N)?.try_into().ok()
}

/// Reads a whole block.
pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Table, Error> {
    let damaged = |what| Error::Damaged { path: path.to_owned(), what };
    let header = Header::parse(bytes, path)?;
    if header.length != bytes.len() as u64 {
        return Err(damaged("it is cut off"));
    }
    let rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let Some((directory, data)) = rest.split_at_checked(header.directory as usize) else {
        return Err(damaged("it is cut off"));
    };
    if checksum(&[directory]) != header.directory_sum || header.directory_raw > DIRECTORY_MAX {
        return Err(damaged("the checksum of its directory is wrong"));
    }
    let directory = inflate(directory, header.directory_raw);
    let directory = directory.ok_or_else(|| damaged("its directory is damaged"))?;
    let mut input = Input(&directory);
    let mut table = read_head(&mut input).ok_or_else(|| damaged("its directory is damaged"))?;
    read_columns(&mut input, data, &mut table).map_err(damaged)?;
    Ok(table)
}

fn read_head(input: &mut Input<'_>) -> Option<Table> {
    let mut table = Table { run: number::<{ size_of::<Run>() }>(input)?, ..Table::default() };
    let (mut time, mut step) = (0_i64, 0_i64);
    for _ in 0..input.count().filter(|ticks| *ticks <= TICKS_MAX)? {
        step = step.wrapping_add(unzigzag(input.number()?) as i64);
        time = time.wrapping_add(step);
        table.times.push(time);
    }
    for _ in 0..input.count()? {
        table.texts.push(input.text()?.into());
    }
    for _ in 0..input.count()? {
        table.shapes.push(input.bytes()?.into());
    }
    let (mut key, mut numbers) = (0_u64, 0);
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
        numbers += count;
        if numbers > NUMBERS_MAX {
            return None;
        }
        let (texts, firsts) = (texts.into(), vec![0; count].into());
        table.slots.push(Slot {
            kind,
            key,
            shape,
            texts,
            from,
            ticks,
            firsts,
            changed: Vec::new(),
        });
    }
    Some(table)
}

fn read_columns<'a>(
    input: &mut Input<'a>,
    mut data: &'a [u8],
    table: &mut Table,
) -> Result<(), &'static str> {
    const DAMAGED: &str = "its directory is damaged";
    let known: Option<Vec<Columns>> = table.shapes.iter().map(|shape| columns(shape)).collect();
    let known = known.ok_or("a description is damaged")?;
    let fits = |slot: &Slot| {
        let columns = known.get(slot.shape as usize);
        columns.is_some_and(|found| {
            (found.names.len(), found.texts) == (slot.firsts.len(), slot.texts.len())
        })
    };
    if !table.slots.iter().all(fits) {
        return Err("a thing does not fit its description");
    }
    let slots: Vec<&Slot> = table.slots.iter().collect();
    let plans = plan(&slots, &known);
    let mut filled = Vec::new();
    let mut numbers = 0;
    let count = input.count().ok_or(DAMAGED)?;
    if count != plans.len() {
        return Err(DAMAGED);
    }
    for _ in 0..count {
        let column = read_column(input, &mut data).ok_or(DAMAGED)?;
        numbers += column.count;
        if numbers > NUMBERS_MAX {
            return Err("it has too many numbers");
        }
        if checksum(&[column.packed]) != column.sum {
            return Err("the checksum of a column is wrong");
        }
        let plan = plans.get(column.name).ok_or(DAMAGED)?;
        let values = unpack(column.packed, column.count).ok_or("a column is damaged")?;
        filled.push((plan, column, values));
    }
    let mut series = Vec::new();
    for (plan, column, values) in filled {
        spread(plan, column, &values, &slots, &mut series).ok_or("a column is damaged")?;
    }
    for (slot, place, found) in series {
        let Some(slot) = table.slots.get_mut(slot as usize) else { continue };
        let first = slot.firsts.get_mut(place as usize).ok_or(DAMAGED)?;
        match found {
            Series::Constant(value) => *first = value,
            Series::Changing(values) => {
                *first = values.first().copied().ok_or(DAMAGED)?;
                slot.changed.push((place, values));
            }
        }
    }
    table.slots.iter_mut().for_each(|slot| slot.changed.sort_unstable_by_key(|(place, _)| *place));
    Ok(())
}

struct Column<'a> {
    name: &'a str,
    runs: &'a [u8],
    constants: &'a [u8],
    count: usize,
    sum: u32,
    packed: &'a [u8],
}

fn read_column<'a>(input: &mut Input<'a>, data: &mut &'a [u8]) -> Option<Column<'a>> {
    let (name, runs, constants) = (input.text()?, input.bytes()?, input.bytes()?);
    let (count, length) = (input.size()?, input.size()?);
    let sum = u32::from_le_bytes(number(input)?);
    let (packed, rest) = data.split_at_checked(length)?;
    *data = rest;
    Some(Column { name, runs, constants, count, sum, packed })
}

enum Series {
    Constant(u64),
    Changing(Vec<u64>),
}

fn spread(
    plan: &ColumnPlan,
    column: Column<'_>,
    values: &[u64],
    slots: &[&Slot],
    out: &mut Vec<(u32, u32, Series)>,
) -> Option<()> {
    let (mut runs, mut constants) = (Input(column.runs), Input(column.constants));
    let (mut left, mut is_changing) = (runs.number()?, false);
    let (mut before, mut rest) = (0_u64, values);
    for (index, place) in &plan.series {
        while left == 0 {
            (left, is_changing) = (runs.number()?, !is_changing);
        }
        left -= 1;
        let series = if is_changing {
            let ticks = slots.get(*index as usize)?.ticks as usize;
            let (series, others) = rest.split_at_checked(ticks)?;
            rest = others;
            Series::Changing(series.to_vec())
        } else {
            before = before.wrapping_add(unzigzag(constants.number()?));
            Series::Constant(before)
        };
        out.push((*index, *place, series));
    }
    (left == 0 && rest.is_empty() && constants.is_empty()).then_some(())
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
    // Writing into memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

fn inflate(bytes: &[u8], length: u64) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    DeflateDecoder::new(bytes).take(length + 1).read_to_end(&mut out).ok()?;
    (out.len() as u64 == length).then_some(out)
}
