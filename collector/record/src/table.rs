//! A stretch of a recording in memory: what a log becomes, and what a block holds.

use std::{ops::Range, sync::OnceLock};

use crate::{bytes::zigzag, column};

/// The most instants in one stretch.
pub(crate) const TICKS_MAX: usize = 1 << 16;

/// The most numbers in one stretch that is read, so that a damaged file cannot fill the memory.
pub(crate) const NUMBERS_MAX: usize = 1 << 27;

/// A run of the recording process: counters and keys mean the same within it.
pub type Run = [u8; 16];

/// A stretch of instants with all that was recorded.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) run: Run,
    /// Nanoseconds since 1970.
    pub(crate) times: Vec<i64>,
    /// The same by the monotonic clock; format 1 has none.
    pub(crate) monotonic: Vec<i64>,
    pub(crate) shapes: Vec<Box<[u8]>>,
    pub(crate) texts: Vec<Box<str>>,
    pub(crate) slots: Vec<Slot>,
    /// The numbers of all slots, slot by slot.
    pub(crate) numbers: Vec<Number>,
    /// Where the numbers that change are.
    pub(crate) columns: Vec<Column>,
    /// The packed columns.
    pub(crate) packed: Vec<u8>,
}

/// One thing over consecutive instants in which it kept its shape and its texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Slot {
    /// Index of a text.
    pub(crate) kind: u32,
    pub(crate) key: u64,
    pub(crate) shape: u32,
    /// Indices of texts.
    pub(crate) texts: Box<[u32]>,
    /// The first instant that has it.
    pub(crate) from: u32,
    /// How many instants have it.
    pub(crate) ticks: u32,
    /// Where its numbers begin.
    pub(crate) begin: usize,
    /// How many it has.
    pub(crate) count: usize,
}

/// A number of a slot over all its instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// It stays the same.
    Same(u64),
    /// It changes: a value for each instant, from this place of a column on.
    Changing { column: u32, at: u32 },
    /// It is always so much more than the one at this place of the same slot, which is before it.
    Like { place: u32, more: u64 },
    /// It is the time of the instant, by the clock with this number.
    Clock(u8),
}

/// Numbers that change, series after series. They are unpacked when one is wanted: who looks for
/// a time or an event wants none.
#[derive(Debug, Default)]
pub(crate) struct Column {
    /// Where it is among the packed ones.
    pub(crate) packed: Range<usize>,
    /// How many numbers it has.
    pub(crate) count: usize,
    values: OnceLock<Option<Vec<u64>>>,
}

impl Slot {
    /// Whether an instant has it.
    pub(crate) fn is_at(&self, tick: u32) -> bool {
        tick >= self.from && tick - self.from < self.ticks
    }
}

impl Table {
    /// The numbers of a slot.
    pub(crate) fn numbers(&self, slot: &Slot) -> &[Number] {
        let end = slot.begin.saturating_add(slot.count);
        self.numbers.get(slot.begin..end).unwrap_or_default()
    }

    /// The numbers of a slot at an instant that has it; `None` if they are damaged.
    pub(crate) fn values(&self, slot: &Slot, tick: u32, out: &mut Vec<u64>) -> Option<()> {
        out.clear();
        let instant = (tick - slot.from) as usize;
        for number in self.numbers(slot) {
            out.push(match *number {
                Number::Same(value) => value,
                Number::Changing { column, at } => {
                    *self.column(column)?.get(at as usize + instant)?
                }
                Number::Like { place, more } => out.get(place as usize)?.wrapping_add(more),
                Number::Clock(clock) => self.clock(clock, tick)?,
            });
        }
        Some(())
    }

    /// The values of a number that changes, one for each instant of its slot; `None` if they are
    /// damaged.
    pub(crate) fn series(&self, column: u32, at: u32, ticks: u32) -> Option<&[u64]> {
        self.column(column)?.get(at as usize..)?.get(..ticks as usize)
    }

    /// What a clock shows at an instant.
    pub(crate) fn clock(&self, clock: u8, tick: u32) -> Option<u64> {
        let times = if clock == 0 { &self.times } else { &self.monotonic };
        times.get(tick as usize).map(|time| zigzag(*time as u64))
    }

    /// A column's numbers.
    pub(crate) fn column(&self, index: u32) -> Option<&[u64]> {
        let column = self.columns.get(index as usize)?;
        let unpack = || column::unpack(self.packed.get(column.packed.clone())?, column.count);
        column.values.get_or_init(unpack).as_deref()
    }
}

impl Column {
    pub(crate) fn packed(packed: Range<usize>, count: usize) -> Self {
        Self { packed, count, values: OnceLock::new() }
    }

    pub(crate) fn of(values: Vec<u64>) -> Self {
        let count = values.len();
        Self { packed: 0..0, count, values: OnceLock::from(Some(values)) }
    }
}
