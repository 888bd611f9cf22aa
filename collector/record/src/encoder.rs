//! Values → the parts of a tick: only what changed since the tick before.

use std::{collections::HashMap, ops::Range};

use serde::Serialize;

use crate::{
    Error,
    bytes::{put_number, zigzag},
    clocks::{Follower, Shown, first_followed, shown},
    log::TickParts,
    serialize::describe,
    shape::{Interned, Same},
    taker::{Description, Known, Script, Taker},
};

/// What was recorded last, and the tick that is being made.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    pub(crate) parts: TickParts,
    last_time: i64,
    last_monotonic: i64,
    clocks_before: Shown,
    clocks: Shown,
    tick: u32,
    texts: Interned<Box<str>>,
    shapes: Interned<Box<[u8]>>,
    /// A shape may have several.
    scripts: Vec<Script>,
    script_numbers: Interned<Box<[u64]>>,
    things: Things,
    description: Description,
    /// Slots so far.
    slots: u32,
    /// Changes by slot; written when all are known, because slots come in any order.
    changes: Vec<(u32, Range<usize>, u32)>,
    changes_bytes: Vec<u8>,
    /// Numbers of everything alive.
    pub(crate) numbers: usize,
}

/// What is alive, in the order in which it came, which is mostly that in which it comes again.
#[derive(Debug, Default)]
struct Things {
    all: Vec<Thing>,
    places: HashMap<(&'static str, u64), usize>,
    /// The place after the last one that was found.
    next: usize,
}

#[derive(Debug)]
struct Thing {
    kind: &'static str,
    key: u64,
    slot: u32,
    /// The last tick that had it.
    tick: u32,
    script: u32,
    /// Each with its length.
    texts: Box<[u8]>,
    numbers: Vec<u64>,
    followers: Vec<Follower>,
}

impl Things {
    fn find(&mut self, kind: &'static str, key: u64) -> Option<&mut Thing> {
        let is_it = |thing: &Thing| thing.key == key && thing.kind == kind;
        let place = match self.all.get(self.next) {
            Some(thing) if is_it(thing) => self.next,
            _ => *self.places.get(&(kind, key))?,
        };
        self.next = place + 1;
        self.all.get_mut(place)
    }

    fn add(&mut self, thing: Thing) {
        self.places.insert((thing.kind, thing.key), self.all.len());
        self.all.push(thing);
    }

    /// Removes what a tick does not have, and notes the slots.
    fn remove_gone(&mut self, tick: u32, removed: &mut Vec<u32>) {
        self.next = 0;
        let gone = self.all.extract_if(.., |thing| thing.tick != tick);
        let removed_before = removed.len();
        removed.extend(gone.map(|thing| thing.slot));
        if removed.len() > removed_before {
            self.places.clear();
            let places = self.all.iter().enumerate();
            self.places.extend(places.map(|(place, thing)| ((thing.kind, thing.key), place)));
        }
    }
}

impl Encoder {
    /// Begins a tick.
    pub(crate) fn begin(&mut self, time: i64, monotonic: i64) {
        self.parts.clear();
        self.parts.time_step = time.wrapping_sub(self.last_time);
        self.parts.monotonic_step = monotonic.wrapping_sub(self.last_monotonic);
        (self.last_time, self.last_monotonic) = (time, monotonic);
        self.clocks_before = std::mem::replace(&mut self.clocks, shown(time, monotonic));
        self.changes.clear();
        self.changes_bytes.clear();
        self.tick += 1;
        self.numbers = 0;
    }

    /// Adds a thing, with those of its fields that are as they were.
    pub(crate) fn put(
        &mut self,
        kind: &'static str,
        key: u64,
        value: &impl Serialize,
        same: &[Same],
    ) -> Result<(), Error> {
        let failed = |error| Error::Unrecordable { kind: kind.to_owned(), error };
        let Self { things, scripts, changes_bytes, clocks, clocks_before, .. } = self;
        let before = things.find(kind, key);
        if let Some(thing) = before
            && let Some(script) = scripts.get(thing.script as usize)
        {
            let begin = changes_bytes.len();
            let mut taker = Taker::comparing(Known {
                script,
                texts: &thing.texts,
                numbers: &mut thing.numbers,
                followers: &mut thing.followers,
                clocks_before,
                clocks,
                changes: changes_bytes,
                same,
            });
            describe(value, &mut taker).map_err(failed)?;
            if let Some(count) = taker.finish() {
                thing.tick = self.tick;
                self.numbers += thing.numbers.len();
                if count > 0 {
                    self.changes.push((thing.slot, begin..self.changes_bytes.len(), count));
                }
                return Ok(());
            }
            self.changes_bytes.truncate(begin);
        }
        let mut taker = Taker::describing(&mut self.description);
        describe(value, &mut taker).map_err(failed)?;
        taker.finish();
        self.start(kind, key);
        Ok(())
    }

    /// Begins a slot with what was described.
    fn start(&mut self, kind: &'static str, key: u64) {
        let Description { shape, words, fields, texts, numbers } = &self.description;
        let out = &mut self.parts.started;
        put_number(out, self.texts.number(kind).into());
        put_number(out, key);
        put_number(out, self.shapes.number(shape.as_slice()).into());
        put_number(out, texts.len() as u64);
        for text in texts {
            put_number(out, self.texts.number(text.as_str()).into());
        }
        put_number(out, numbers.len() as u64);
        numbers.iter().for_each(|number| put_number(out, *number));
        self.parts.started_count += 1;
        self.numbers += numbers.len();
        let script = self.script_numbers.number(words.as_slice());
        let scripts = self.script_numbers.new.drain(..);
        self.scripts.extend(scripts.map(|words| Script { words, fields: fields[..].into() }));
        let follower = |(place, number): (usize, &u64)| {
            let clock = first_followed(*number, &self.clocks)?;
            Some(Follower { place: place as u32, clock })
        };
        let thing = Thing {
            kind,
            key,
            slot: self.slots,
            tick: self.tick,
            script,
            texts: self.description.joined_texts(),
            followers: numbers.iter().enumerate().filter_map(follower).collect(),
            numbers: numbers.clone(),
        };
        self.slots += 1;
        match self.things.find(kind, key) {
            Some(before) => {
                self.parts.removed.push(before.slot);
                *before = thing;
            }
            None => self.things.add(thing),
        }
    }

    /// Takes a thing over from the tick before; `false` if it was not there.
    pub(crate) fn keep(&mut self, kind: &'static str, key: u64) -> bool {
        let Some(thing) = self.things.find(kind, key) else { return false };
        thing.tick = self.tick;
        self.numbers += thing.numbers.len();
        if thing.followers.is_empty() {
            return true;
        }
        // The clocks go on, and it does not.
        let (begin, out) = (self.changes_bytes.len(), &mut self.changes_bytes);
        let (mut last, count) = (0, thing.followers.len() as u32);
        for Follower { place, clock } in thing.followers.drain(..) {
            let number = thing.numbers.get(place as usize).copied().unwrap_or(0);
            let expected = self.clocks.get(clock as usize).copied().unwrap_or(0);
            put_number(out, (place - last).into());
            put_number(out, zigzag(number.wrapping_sub(expected)));
            last = place;
        }
        self.changes.push((thing.slot, begin..out.len(), count));
        true
    }

    /// Ends the tick.
    pub(crate) fn finish(&mut self) -> &TickParts {
        let Self { parts, tick, texts, shapes, things, changes, changes_bytes, .. } = self;
        parts.texts.append(&mut texts.new);
        parts.shapes.append(&mut shapes.new);
        things.remove_gone(*tick, &mut parts.removed);
        parts.removed.sort_unstable();
        changes.sort_unstable_by_key(|(slot, ..)| *slot);
        let mut before = 0;
        for (slot, range, count) in changes.drain(..) {
            put_number(&mut parts.changed, u64::from(slot - before));
            put_number(&mut parts.changed, count.into());
            parts.changed.extend_from_slice(changes_bytes.get(range).unwrap_or_default());
            parts.changed_count += 1;
            before = slot;
        }
        parts
    }
}
