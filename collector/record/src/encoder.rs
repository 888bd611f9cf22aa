//! Values → the parts of a tick: only what changed since the tick before.

use std::{
    collections::{HashMap, hash_map::Entry},
    mem,
};

use serde::Serialize;

use crate::{
    Error,
    bytes::{put_number, zigzag},
    log::TickParts,
    serialize::describe,
    shape::{Describer, Hasher, Interned},
};

/// What was recorded last, and the tick that is being made.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    pub(crate) parts: TickParts,
    last_time: i64,
    tick: u32,
    texts: Interned<Box<str>>,
    shapes: Interned<Box<[u8]>>,
    things: HashMap<(&'static str, u64), Thing>,
    hasher: Hasher,
    describer: Describer,
    /// Slots so far.
    slots: u32,
    /// Changes by slot; encoded when all are known, because slots come in any order.
    changes: Vec<(u32, Vec<u8>, u32)>,
    spare: Vec<Vec<u8>>,
    /// Numbers of everything alive.
    pub(crate) numbers: usize,
}

#[derive(Debug)]
struct Thing {
    slot: u32,
    /// The last tick that had it.
    tick: u32,
    hash: u64,
    numbers: Vec<u64>,
}

impl Encoder {
    /// Begins a tick.
    pub(crate) fn begin(&mut self, time: i64) {
        self.parts.clear();
        self.parts.time_step = time.wrapping_sub(self.last_time);
        self.last_time = time;
        self.tick += 1;
        self.numbers = 0;
    }

    /// Adds a thing.
    pub(crate) fn put(
        &mut self,
        kind: &'static str,
        key: u64,
        value: &impl Serialize,
    ) -> Result<(), Error> {
        let failed = |error| Error::Unrecordable { kind: kind.to_owned(), error };
        self.hasher.clear();
        describe(value, &mut self.hasher).map_err(failed)?;
        let hash = self.hasher.hash();
        self.numbers += self.hasher.numbers.len();
        if let Some(thing) = self.things.get_mut(&(kind, key))
            && thing.hash == hash
            && thing.numbers.len() == self.hasher.numbers.len()
        {
            thing.tick = self.tick;
            let mut buffer = self.spare.pop().unwrap_or_default();
            let count = encode_changes(&thing.numbers, &self.hasher.numbers, &mut buffer);
            if count > 0 {
                self.changes.push((thing.slot, buffer, count));
                mem::swap(&mut thing.numbers, &mut self.hasher.numbers);
            } else {
                self.spare.push(buffer);
            }
            return Ok(());
        }
        self.describer.shape.clear();
        self.describer.texts.clear();
        describe(value, &mut self.describer).map_err(failed)?;
        let numbers = self.hasher.numbers.clone();
        let thing = Thing { slot: self.slots, tick: self.tick, hash, numbers };
        self.slots += 1;
        self.start(kind, key);
        match self.things.entry((kind, key)) {
            Entry::Occupied(mut entry) => {
                let before = entry.insert(thing);
                self.parts.removed.push(before.slot);
            }
            Entry::Vacant(entry) => _ = entry.insert(thing),
        }
        Ok(())
    }

    /// Writes what was described into the list of what starts.
    fn start(&mut self, kind: &str, key: u64) {
        let out = &mut self.parts.started;
        put_number(out, self.texts.number(kind.into()).into());
        put_number(out, key);
        let shape = self.describer.shape.as_slice().into();
        put_number(out, self.shapes.number(shape).into());
        put_number(out, self.describer.texts.len() as u64);
        for text in &self.describer.texts {
            put_number(out, self.texts.number(text.as_str().into()).into());
        }
        put_number(out, self.hasher.numbers.len() as u64);
        self.hasher.numbers.iter().for_each(|number| put_number(out, *number));
        self.parts.started_count += 1;
    }

    /// Takes a thing over from the tick before; `false` if it was not there.
    pub(crate) fn keep(&mut self, kind: &'static str, key: u64) -> bool {
        let Some(thing) = self.things.get_mut(&(kind, key)) else { return false };
        thing.tick = self.tick;
        self.numbers += thing.numbers.len();
        true
    }

    /// Ends the tick.
    pub(crate) fn finish(&mut self) -> &TickParts {
        let Self { parts, tick, texts, shapes, things, changes, spare, .. } = self;
        parts.texts.append(&mut texts.new);
        parts.shapes.append(&mut shapes.new);
        things.retain(|_, thing| {
            let is_there = thing.tick == *tick;
            if !is_there {
                parts.removed.push(thing.slot);
            }
            is_there
        });
        parts.removed.sort_unstable();
        changes.sort_unstable_by_key(|(slot, ..)| *slot);
        let mut before = 0;
        for (slot, mut bytes, count) in changes.drain(..) {
            put_number(&mut parts.changed, u64::from(slot - before));
            put_number(&mut parts.changed, count.into());
            parts.changed.extend_from_slice(&bytes);
            parts.changed_count += 1;
            before = slot;
            bytes.clear();
            spare.push(bytes);
        }
        parts
    }
}

fn encode_changes(before: &[u64], now: &[u64], out: &mut Vec<u8>) -> u32 {
    out.clear();
    let mut last = 0;
    let mut count = 0;
    for (place, (before, now)) in before.iter().zip(now).enumerate() {
        if before != now {
            put_number(out, (place - last) as u64);
            put_number(out, zigzag(now.wrapping_sub(*before)));
            last = place;
            count += 1;
        }
    }
    count
}
