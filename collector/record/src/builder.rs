//! The ticks of a log → a table.

use crate::{
    bytes::{Input, unzigzag},
    clocks::{Shown, first_followed, followed, shown},
    table::{Column, NUMBERS_MAX, Number, Run, Slot, TICKS_MAX, Table},
};

/// The numbers of a slot that may still grow.
#[derive(Debug)]
struct Growing {
    /// Its numbers at the first instant.
    firsts: Box<[u64]>,
    /// Those that change or follow a clock, by place.
    changed: Vec<Series>,
    /// The one after that which has changed last.
    next: usize,
}

/// A series has room for so many values when it begins.
const SERIES_BEGIN: usize = 32;

/// A number of a slot at the instants that are known so far.
#[derive(Debug)]
struct Series {
    place: u32,
    /// The clock that it follows after its last value.
    clock: Option<u8>,
    /// Whether it has done so since the first.
    is_clock: bool,
    values: Vec<u64>,
}

/// What the clocks showed at the instants of a slot.
type ClocksSince<'a> = &'a [Shown];

impl Series {
    /// Its value at the instant `at`, if it goes on as it did.
    fn expected(&self, at: usize, clocks: ClocksSince<'_>) -> Option<u64> {
        match self.clock {
            Some(clock) => clocks.get(at)?.get(clock as usize).copied(),
            None => self.values.last().copied(),
        }
    }

    /// Has it go on as it did up to an instant.
    fn complete(&mut self, ticks: usize, clocks: ClocksSince<'_>) -> Option<()> {
        if self.clock.is_none() {
            let last = *self.values.last()?;
            self.values.resize(ticks, last);
        }
        for at in self.values.len()..ticks {
            self.values.push(self.expected(at, clocks)?);
        }
        Some(())
    }
}

impl Growing {
    /// Where the series of a number is, which is new if it has never changed.
    fn index(&mut self, place: u32, first: u64) -> usize {
        // Mostly those change that have changed at the instant before.
        if self.changed.get(self.next).is_some_and(|series| series.place == place) {
            return self.next;
        }
        let found = self.changed.binary_search_by_key(&place, |series| series.place);
        found.unwrap_or_else(|index| {
            let (clock, is_clock) = (None, false);
            let mut values = Vec::with_capacity(SERIES_BEGIN);
            values.push(first);
            self.changed.insert(index, Series { place, clock, is_clock, values });
            index
        })
    }

    /// Notes that a number is another one than was expected at the instant `at` of this slot;
    /// `None` if there is no such number.
    fn change(&mut self, place: u32, at: usize, step: u64, clocks: ClocksSince<'_>) -> Option<()> {
        let first = *self.firsts.get(place as usize)?;
        let index = self.index(place, first);
        self.next = index + 1;
        let series = self.changed.get_mut(index)?;
        series.complete(at, clocks)?;
        let before = *series.values.last()?;
        let now = series.expected(at, clocks)?.wrapping_add(step);
        series.values.push(now);
        series.clock = match (series.clock, at.checked_sub(1).and_then(|at| clocks.get(at..at + 2)))
        {
            (None, Some([clocks_before, clocks])) => followed(before, now, clocks_before, clocks),
            _ => None,
        };
        series.is_clock = false;
        Some(())
    }
}

/// Makes a table of the ticks of a log.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    table: Table,
    format: u32,
    /// What the clocks showed at each instant; in format 1, no number follows one.
    clocks: Vec<Shown>,
    /// The numbers of its slots.
    growing: Vec<Growing>,
    /// Slots that are alive, by their number in the log.
    alive: Vec<Option<u32>>,
    numbers: usize,
}

impl Builder {
    pub(crate) fn new(run: Run, format: u32) -> Self {
        Self { table: Table { run, ..Table::default() }, format, ..Self::default() }
    }

    /// Adds a tick; `None` if it does not fit, and then nothing more may be added.
    pub(crate) fn add(&mut self, payload: &[u8]) -> Option<()> {
        let input = &mut Input(payload);
        let tick = u32::try_from(self.table.times.len()).ok()?;
        if self.table.times.len() >= TICKS_MAX {
            return None;
        }
        let step = unzigzag(input.number()?) as i64;
        let before = self.table.times.last().copied().unwrap_or(0);
        let time = before.checked_add(step)?;
        self.table.times.push(time);
        if self.format >= 2 {
            let step = unzigzag(input.number()?) as i64;
            let before = self.table.monotonic.last().copied().unwrap_or(0);
            let monotonic = before.wrapping_add(step);
            self.table.monotonic.push(monotonic);
            self.clocks.push(shown(time, monotonic));
        }
        for _ in 0..input.count()? {
            self.table.texts.push(input.text()?.into());
        }
        for _ in 0..input.count()? {
            self.table.shapes.push(input.bytes()?.into());
        }
        self.remove(input)?;
        self.start(input, tick)?;
        self.change(input, tick)?;
        input.is_empty().then_some(())
    }

    fn remove(&mut self, input: &mut Input<'_>) -> Option<()> {
        let mut number = 0_usize;
        let tick = self.table.times.len() as u32 - 1;
        for _ in 0..input.count()? {
            number = number.checked_add(input.size()?)?;
            let index = self.alive.get_mut(number)?.take()?;
            self.end(index, tick)?;
        }
        Some(())
    }

    fn end(&mut self, index: u32, tick: u32) -> Option<()> {
        let slot = self.table.slots.get_mut(index as usize)?;
        slot.ticks = tick.checked_sub(slot.from)?;
        let clocks = self.clocks.get(slot.from as usize..).unwrap_or_default();
        let changed = &mut self.growing.get_mut(index as usize)?.changed;
        let mut own = changed.iter_mut().filter(|series| !series.is_clock);
        own.try_for_each(|series| series.complete(slot.ticks as usize, clocks))
    }

    fn start(&mut self, input: &mut Input<'_>, tick: u32) -> Option<()> {
        for _ in 0..input.count()? {
            let (kind, key, shape) = (input.index()?, input.number()?, input.index()?);
            self.table.texts.get(kind as usize)?;
            self.table.shapes.get(shape as usize)?;
            let mut texts = Vec::new();
            for _ in 0..input.count()? {
                let text = input.index()?;
                self.table.texts.get(text as usize)?;
                texts.push(text);
            }
            let mut firsts = Vec::new();
            for _ in 0..input.count()? {
                firsts.push(input.number()?);
            }
            self.numbers += firsts.len();
            self.alive.push(Some(self.table.slots.len() as u32));
            let (texts, count) = (texts.into(), firsts.len());
            let slot = Slot { kind, key, shape, texts, from: tick, ticks: 0, begin: 0, count };
            self.table.slots.push(slot);
            self.growing.push(Growing {
                changed: self.followers(&firsts),
                firsts: firsts.into(),
                next: 0,
            });
        }
        (self.numbers <= NUMBERS_MAX).then_some(())
    }

    /// Those numbers of a new slot that follow a clock.
    fn followers(&self, firsts: &[u64]) -> Vec<Series> {
        let Some(clocks) = self.clocks.last() else { return Vec::new() };
        let follower = |(place, number): (u32, &u64)| {
            let clock = Some(first_followed(*number, clocks)?);
            Some(Series { place, clock, is_clock: true, values: vec![*number] })
        };
        (0..).zip(firsts).filter_map(follower).collect()
    }

    fn change(&mut self, input: &mut Input<'_>, tick: u32) -> Option<()> {
        let mut number = 0_usize;
        for _ in 0..input.count()? {
            number = number.checked_add(input.size()?)?;
            let index = (*self.alive.get(number)?)?;
            let slot = self.table.slots.get(index as usize)?;
            let growing = self.growing.get_mut(index as usize)?;
            let at = (tick - slot.from) as usize;
            let clocks = self.clocks.get(slot.from as usize..).unwrap_or_default();
            growing.next = 0;
            let mut place = 0_u32;
            for _ in 0..input.count()? {
                place = place.checked_add(input.index()?)?;
                let before = growing.changed.len();
                growing.change(place, at, unzigzag(input.number()?), clocks)?;
                if growing.changed.len() > before {
                    self.numbers += at;
                }
                self.numbers += 1;
            }
        }
        (self.numbers <= NUMBERS_MAX).then_some(())
    }

    /// The table of all that was added.
    pub(crate) fn finish(mut self) -> Table {
        let ticks = self.table.times.len() as u32;
        for index in std::mem::take(&mut self.alive).into_iter().flatten() {
            self.end(index, ticks);
        }
        for (slot, growing) in self.table.slots.iter_mut().zip(self.growing) {
            slot.begin = self.table.numbers.len();
            let numbers = growing.firsts.iter().map(|first| Number::Same(*first));
            self.table.numbers.extend(numbers);
            for series in growing.changed {
                let number = self.table.numbers.get_mut(slot.begin + series.place as usize);
                let Some(number) = number else { break };
                *number = match series.clock {
                    Some(clock) if series.is_clock => Number::Clock(clock),
                    _ => {
                        let column = self.table.columns.len() as u32;
                        self.table.columns.push(Column::of(series.values));
                        Number::Changing { column, at: 0 }
                    }
                };
            }
        }
        self.table
    }
}
