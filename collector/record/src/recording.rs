//! Reads a recording, also while it is written.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::de::DeserializeOwned;

use crate::{
    Error, Unreadable, block,
    bytes::{Input, unzigzag},
    deserialize::{damaged, restore},
    files::{self, Kind},
    log,
    table::{Run, Slot, Table},
};

/// How many stretches are kept in memory: the one that is looked at, the one beside it, the first
/// and the last.
const CACHED_MAX: usize = 4;

/// Enough of a log to find its first time.
const LOG_HEAD_BYTES: usize = 128;

/// A recording: a directory, or one file with blocks.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    parts: Vec<Part>,
    cached: Vec<(Part, Arc<Table>)>,
    /// The times of the first and the last instant, once they were asked for.
    span: Option<(i64, i64)>,
    problems: Vec<Error>,
}

/// A block or a log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    number: u64,
    path: PathBuf,
    kind: Kind,
    /// Where in the file it is.
    offset: u64,
    bytes: u64,
    first: i64,
    /// Of a log, the end of time.
    last: i64,
}

/// The place of an instant. It stays the same when a log is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    part: u64,
    tick: u32,
}

/// One recorded instant.
#[derive(Clone, Debug)]
pub struct Moment {
    table: Arc<Table>,
    position: Position,
}

/// A thing at an instant.
#[derive(Debug)]
pub struct Thing<'a> {
    table: &'a Table,
    slot: &'a Slot,
    tick: u32,
}

impl Recording {
    /// Opens a recording. Damaged parts are passed over; see [`Recording::problems`].
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is no recording.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut recording = Self {
            path: path.to_owned(),
            parts: Vec::new(),
            cached: Vec::new(),
            span: None,
            problems: Vec::new(),
        };
        recording.refresh()?;
        Ok(recording)
    }

    /// Looks for what was recorded since.
    ///
    /// # Errors
    ///
    /// As [`Recording::open`].
    pub fn refresh(&mut self) -> Result<(), Error> {
        let metadata = fs::metadata(&self.path).map_err(Error::io(&self.path))?;
        self.span = None;
        self.parts = if metadata.is_dir() {
            let found = files::list(&self.path)?;
            found.into_iter().filter_map(|found| self.part(found)).collect()
        } else {
            self.parts_of_file(metadata.len())?
        };
        Ok(())
    }

    fn part(&mut self, found: files::Found) -> Option<Part> {
        let files::Found { number, kind, path, bytes } = found;
        let times = match kind {
            Kind::Block => files::block_times(&path),
            Kind::Log => first_of_log(&path).map(|first| (first, i64::MAX)),
        };
        let Some((first, last)) = times else {
            // A log that was begun a moment ago has no instant.
            if kind == Kind::Block {
                self.problem(Error::Damaged { path, what: "its name has no times" });
            }
            return None;
        };
        Some(Part { number, path, kind, offset: 0, bytes, first, last })
    }

    /// A file has one block after the other.
    fn parts_of_file(&mut self, length: u64) -> Result<Vec<Part>, Error> {
        let path = &self.path.clone();
        let mut file = File::open(path).map_err(Error::io(path))?;
        let (mut parts, mut offset) = (Vec::new(), 0);
        while offset < length {
            let header = read_header(&mut file, offset, path);
            match header {
                Ok(header) if header.length >= block::HEADER_BYTES as u64 => {
                    let block::Header { length: bytes, first, last, .. } = header;
                    let number = parts.len() as u64;
                    let (path, kind) = (path.clone(), Kind::Block);
                    parts.push(Part { number, path, kind, offset, bytes, first, last });
                    offset = offset.saturating_add(bytes);
                }
                Ok(_) => {
                    self.problem(Error::Damaged { path: path.clone(), what: "a length is wrong" });
                    break;
                }
                Err(error) if parts.is_empty() => return Err(error),
                Err(error) => {
                    self.problem(error);
                    break;
                }
            }
        }
        Ok(parts)
    }

    fn problem(&mut self, problem: Error) {
        let text = problem.to_string();
        if self.problems.iter().all(|known| known.to_string() != text) {
            self.problems.push(problem);
        }
    }

    /// What was found damaged so far, and was passed over.
    pub fn problems(&self) -> &[Error] {
        &self.problems
    }

    /// The times of the first and the last instant, in nanoseconds since 1970. They are looked up
    /// without reading what is between them.
    pub fn span(&mut self) -> Option<(i64, i64)> {
        if self.span.is_none() {
            let parts = self.parts.clone();
            let (first, _) = parts.iter().find_map(|part| self.times(part))?;
            let (_, last) = parts.iter().rev().find_map(|part| self.times(part))?;
            self.span = Some((first, last));
        }
        self.span
    }

    fn times(&mut self, part: &Part) -> Option<(i64, i64)> {
        let found = match part.kind {
            Kind::Log => log::times(&part.path),
            Kind::Block => header_of(part).map(|header| Some((header.first, header.last))),
        };
        match found {
            Ok(times) => times,
            Err(Error::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => self
                .load_sealed(part)
                .and_then(|table| Some((*table.times.first()?, *table.times.last()?))),
            Err(error) => {
                self.problem(error);
                None
            }
        }
    }

    /// The first instant.
    pub fn first(&mut self) -> Option<Moment> {
        self.from(0, 0)
    }

    /// The last instant.
    pub fn last(&mut self) -> Option<Moment> {
        let end = self.parts.last()?.number;
        self.up_to(end, u32::MAX)
    }

    /// The last instant at or before a time, in nanoseconds since 1970. Where the clock had gone
    /// back, the later of two is taken.
    pub fn at(&mut self, time: i64) -> Option<Moment> {
        let mut passed_over: Vec<u64> = Vec::new();
        loop {
            let begun = |part: &&Part| part.first <= time && !passed_over.contains(&part.number);
            let holding = self.parts.iter().rev().filter(begun).find(|part| time <= part.last);
            let before = || self.parts.iter().filter(begun).max_by_key(|part| part.last);
            let part = holding.or_else(before)?.clone();
            if let Some(table) = self.load(&part) {
                let after = table.times.partition_point(|at| *at <= time);
                if let Some(tick) = after.checked_sub(1) {
                    return Some(moment(table, part.number, tick));
                }
            }
            passed_over.push(part.number);
        }
    }

    /// The instant after another.
    pub fn next(&mut self, position: Position) -> Option<Moment> {
        self.from(position.part, position.tick.checked_add(1)?)
    }

    /// The instant before another.
    pub fn previous(&mut self, position: Position) -> Option<Moment> {
        match position.tick.checked_sub(1) {
            Some(tick) => self.up_to(position.part, tick),
            None => self.up_to(position.part.checked_sub(1)?, u32::MAX),
        }
    }

    /// The instant at a position, if it is still there.
    pub fn get(&mut self, position: Position) -> Option<Moment> {
        self.from(position.part, position.tick).filter(|found| found.position == position)
    }

    /// The first instant at or after a place.
    fn from(&mut self, number: u64, tick: u32) -> Option<Moment> {
        let mut tick = tick as usize;
        let mut number = number;
        loop {
            let part = self.parts.iter().find(|part| part.number >= number)?.clone();
            if part.number > number {
                tick = 0;
            }
            if let Some(table) = self.load(&part)
                && tick < table.times.len()
            {
                return Some(moment(table, part.number, tick));
            }
            (number, tick) = (part.number.checked_add(1)?, 0);
        }
    }

    /// The last instant at or before a place.
    fn up_to(&mut self, number: u64, tick: u32) -> Option<Moment> {
        let mut tick = tick as usize;
        let mut number = number;
        loop {
            let part = self.parts.iter().rev().find(|part| part.number <= number)?.clone();
            if part.number < number {
                tick = usize::MAX;
            }
            if let Some(table) = self.load(&part)
                && let Some(last) = table.times.len().checked_sub(1)
            {
                return Some(moment(table, part.number, tick.min(last)));
            }
            (number, tick) = (part.number.checked_sub(1)?, usize::MAX);
        }
    }

    /// Reads a part, unless it was read before. What is wrong with it becomes a problem.
    fn load(&mut self, part: &Part) -> Option<Arc<Table>> {
        if let Some(at) = self.cached.iter().position(|(known, _)| known == part) {
            // Those that were not used for the longest time go first.
            let known = self.cached.remove(at);
            let table = Arc::clone(&known.1);
            self.cached.push(known);
            return Some(table);
        }
        let table = match self.read(part) {
            Ok(table) => Arc::new(table),
            Err(Error::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
                return self.load_sealed(part);
            }
            Err(error) => {
                self.problem(error);
                return None;
            }
        };
        self.cached.retain(|(known, _)| known.number != part.number);
        if self.cached.len() >= CACHED_MAX {
            self.cached.remove(0);
        }
        self.cached.push((part.clone(), Arc::clone(&table)));
        Some(table)
    }

    /// A log that is gone was sealed a moment ago, or is too old.
    fn load_sealed(&mut self, part: &Part) -> Option<Arc<Table>> {
        self.refresh().ok()?;
        let sealed = self.parts.iter().find(|found| found.number == part.number)?.clone();
        if sealed == *part { None } else { self.load(&sealed) }
    }

    fn read(&mut self, part: &Part) -> Result<Table, Error> {
        let path = &part.path;
        if part.kind == Kind::Log {
            let log::Read { table, lost_bytes } = log::read(path)?;
            if lost_bytes > 0 {
                let what = "its end is not whole: it is being written, or what came last is lost";
                self.problem(Error::Damaged { path: path.clone(), what });
            }
            return Ok(table);
        }
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::Start(part.offset))?;
            file.take(part.bytes).read_to_end(&mut bytes)
        });
        read.map_err(Error::io(path))?;
        block::decode(bytes, path)
    }
}

fn header_of(part: &Part) -> Result<block::Header, Error> {
    let mut file = File::open(&part.path).map_err(Error::io(&part.path))?;
    read_header(&mut file, part.offset, &part.path)
}

fn read_header(file: &mut File, offset: u64, path: &Path) -> Result<block::Header, Error> {
    let mut head = [0; block::HEADER_BYTES];
    match file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut head)) {
        Ok(()) => block::Header::parse(&head, path),
        Err(_) => Err(Error::Damaged { path: path.to_owned(), what: "it is cut off" }),
    }
}

fn moment(table: Arc<Table>, part: u64, tick: usize) -> Moment {
    Moment { table, position: Position { part, tick: tick as u32 } }
}

/// Whether a file begins like a block or a log.
pub fn is_recording(path: &Path) -> bool {
    let mut bytes = [0; block::MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    read.is_ok() && [block::MAGIC, log::MAGIC].contains(&&bytes)
}

/// The time of the first instant of a log, which is not checked.
fn first_of_log(path: &Path) -> Option<i64> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LOG_HEAD_BYTES as u64).read_to_end(&mut bytes).ok()?;
    let mut input = Input(&bytes);
    input.take(log::MAGIC.len())?;
    let length: [u8; 4] = input.take(4)?.try_into().ok()?;
    // The checksum, the frame itself, and the head and the kind of the next one.
    input.take((u32::from_le_bytes(length) as usize).checked_add(4 + 8 + 1)?)?;
    Some(unzigzag(input.number()?) as i64)
}

impl Moment {
    /// When it was, in nanoseconds since 1970.
    pub fn time(&self) -> i64 {
        self.table.times.get(self.position.tick as usize).copied().unwrap_or(0)
    }

    /// The run that recorded it. Totals of two runs do not go together.
    pub fn run(&self) -> Run {
        self.table.run
    }

    /// Its place.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The things of a kind, in no promised order.
    pub fn things<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = Thing<'a>> {
        let Self { table, position: Position { tick, .. } } = self;
        let of_kind = table.texts.iter().position(|text| **text == *kind).map(|at| at as u32);
        let here = move |slot: &&Slot| Some(slot.kind) == of_kind && slot.is_at(*tick);
        table.slots.iter().filter(here).map(|slot| Thing { table, slot, tick: *tick })
    }

    /// One thing.
    pub fn thing<'a>(&'a self, kind: &'a str, key: u64) -> Option<Thing<'a>> {
        self.things(kind).find(|thing| thing.slot.key == key)
    }
}

impl Thing<'_> {
    /// Its key.
    pub fn key(&self) -> u64 {
        self.slot.key
    }

    /// Its texts, such as names, in the order of the value.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let texts = self.slot.texts.iter();
        texts.filter_map(|text| self.table.texts.get(*text as usize)).map(|text| &**text)
    }

    /// Puts the value together. What it has more than the type wants is ignored.
    ///
    /// # Errors
    ///
    /// If it lacks what the type needs.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Unreadable> {
        let mut numbers = Vec::with_capacity(self.slot.count);
        self.table.values(self.slot, self.tick, &mut numbers).ok_or_else(damaged)?;
        let texts: Vec<&str> = self.texts().collect();
        let shape = self.table.shapes.get(self.slot.shape as usize);
        restore(shape.map_or(&[][..], |shape| shape), &numbers, &texts)
    }
}
