//! The log of the open stretch: frames that are appended, one for each tick.
//!
//! A frame is its length, a checksum, and that many bytes, of which the first says what they are.
//! What is not whole at the end of a file was being written when the process was killed.

use std::{fs, path::Path};

use crate::{
    Error, FORMAT,
    builder::Builder,
    bytes::{Input, put_bytes, put_number, unzigzag, zigzag},
    checksum,
    table::{Run, Table},
};

/// The first bytes of a log.
pub(crate) const MAGIC: &[u8; 8] = b"TARELOG1";

/// Bytes of a frame before its content.
const HEAD_BYTES: usize = 8;

/// The first byte of a frame that begins a log: the format and the run follow.
const BEGIN: u8 = 0;

/// The first byte of a frame with a tick.
const TICK: u8 = 1;

/// The parts of a tick, each encoded when it is known.
#[derive(Debug, Default)]
pub(crate) struct TickParts {
    pub(crate) time_step: i64,
    pub(crate) monotonic_step: i64,
    pub(crate) texts: Vec<Box<str>>,
    pub(crate) shapes: Vec<Box<[u8]>>,
    /// Numbers of slots, ascending.
    pub(crate) removed: Vec<u32>,
    pub(crate) started: Vec<u8>,
    pub(crate) started_count: usize,
    pub(crate) changed: Vec<u8>,
    pub(crate) changed_count: usize,
}

impl TickParts {
    pub(crate) fn clear(&mut self) {
        self.texts.clear();
        self.shapes.clear();
        self.removed.clear();
        self.started.clear();
        self.changed.clear();
        (self.started_count, self.changed_count) = (0, 0);
    }
}

/// The beginning of a log.
pub(crate) fn begin(run: &Run) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let mut content = vec![BEGIN];
    put_number(&mut content, FORMAT.into());
    content.extend_from_slice(run);
    frame(&content, &mut out);
    out
}

/// Makes the frame of a tick.
pub(crate) fn tick(parts: &TickParts, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    out.push(TICK);
    put_number(out, zigzag(parts.time_step as u64));
    put_number(out, zigzag(parts.monotonic_step as u64));
    put_number(out, parts.texts.len() as u64);
    parts.texts.iter().for_each(|text| put_bytes(out, text.as_bytes()));
    put_number(out, parts.shapes.len() as u64);
    parts.shapes.iter().for_each(|shape| put_bytes(out, shape));
    put_number(out, parts.removed.len() as u64);
    let mut before = 0;
    for number in &parts.removed {
        put_number(out, u64::from(number - before));
        before = *number;
    }
    put_number(out, parts.started_count as u64);
    out.extend_from_slice(&parts.started);
    put_number(out, parts.changed_count as u64);
    out.extend_from_slice(&parts.changed);
    let head = head(out.get(HEAD_BYTES..).unwrap_or_default());
    out.iter_mut().zip(head).for_each(|(to, from)| *to = from);
}

fn head(content: &[u8]) -> [u8; HEAD_BYTES] {
    let length = (content.len() as u32).to_le_bytes();
    let sum = checksum(&[&length, content]).to_le_bytes();
    let mut head = [0; HEAD_BYTES];
    head.iter_mut().zip(length.iter().chain(&sum)).for_each(|(to, from)| *to = *from);
    head
}

fn frame(content: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&head(content));
    out.extend_from_slice(content);
}

/// A log that was read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) table: Table,
    /// Bytes at the end that are no whole frames.
    pub(crate) lost_bytes: usize,
}

/// Reads a log as far as it is whole.
pub(crate) fn read(path: &Path) -> Result<Read, Error> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    parse(&bytes, path)
}

/// The same from memory.
pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Read, Error> {
    let (run, format, mut input) = parse_beginning(bytes, path)?;
    let mut builder = Builder::new(run, format);
    let mut whole = input;
    while let Some(content) = next_frame(&mut input) {
        // What a later version writes besides ticks is passed over.
        if let Some((&TICK, tick)) = content.split_first() {
            let what = "a tick does not fit the ones before";
            let damaged = || Error::Damaged { path: path.to_owned(), what };
            builder.add(tick).ok_or_else(damaged)?;
        }
        whole = input;
    }
    Ok(Read { table: builder.finish(), lost_bytes: whole.0.len() })
}

/// The content of each instant, as far as the log is whole.
pub(crate) fn ticks<'a>(
    bytes: &'a [u8],
    path: &Path,
) -> Result<impl Iterator<Item = &'a [u8]>, Error> {
    let (.., mut input) = parse_beginning(bytes, path)?;
    let frames = std::iter::from_fn(move || next_frame(&mut input));
    let is_tick = |content: &'a [u8]| content.strip_prefix(&[TICK]);
    Ok(frames.filter_map(is_tick))
}

/// First and last time of a log, in nanoseconds since 1970; `None` if it has no instant. Instants
/// are passed over.
pub(crate) fn times(path: &Path) -> Result<Option<(i64, i64)>, Error> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    let mut times = None;
    for tick in ticks(&bytes, path)? {
        let Some(step) = Input(tick).number() else { break };
        let step = unzigzag(step) as i64;
        let (first, last) = times.unwrap_or((step, 0));
        times = Some((first, step.wrapping_add(last)));
    }
    Ok(times)
}

/// The run, the format, and what comes after the beginning.
fn parse_beginning<'a>(bytes: &'a [u8], path: &Path) -> Result<(Run, u32, Input<'a>), Error> {
    let damaged = |what| Error::Damaged { path: path.to_owned(), what };
    let mut input = Input(bytes);
    if input.take(MAGIC.len()) != Some(MAGIC) {
        return Err(damaged("it is no log of a recording"));
    }
    let first = next_frame(&mut input).ok_or_else(|| damaged("its beginning is damaged"))?;
    let mut content = Input(first);
    if content.byte() != Some(BEGIN) {
        return Err(damaged("its beginning is damaged"));
    }
    let format = match content.index() {
        Some(format @ 1..=FORMAT) => format,
        Some(found) => return Err(Error::TooNew { path: path.to_owned(), found, known: FORMAT }),
        None => return Err(damaged("its beginning is damaged")),
    };
    let run = content.take(size_of::<Run>()).and_then(|run| run.try_into().ok());
    Ok((run.ok_or_else(|| damaged("its beginning is damaged"))?, format, input))
}

fn next_frame<'a>(input: &mut Input<'a>) -> Option<&'a [u8]> {
    let length: [u8; 4] = input.take(4)?.try_into().ok()?;
    let sum: [u8; 4] = input.take(4)?.try_into().ok()?;
    let content = input.take(u32::from_le_bytes(length) as usize)?;
    (checksum(&[&length, content]) == u32::from_le_bytes(sum)).then_some(content)
}
