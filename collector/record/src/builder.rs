//! The ticks of a log → a table.

use crate::{
    bytes::{Input, unzigzag},
    table::{Column, NUMBERS_MAX, Number, Run, Slot, TICKS_MAX, Table},
};

/// The numbers of a slot that may still grow.
#[derive(Debug)]
struct Growing {
    /// Its numbers at the first instant.
    firsts: Box<[u64]>,
    /// Those that change, by place, with the values at all instants.
    changed: Vec<(u32, Vec<u64>)>,
}

impl Growing {
    /// Notes that a number is another one from the instant `at` of this slot on; `None` if there
    /// is no such number.
    fn change(&mut self, place: u32, at: usize, step: u64) -> Option<()> {
        let first = *self.firsts.get(place as usize)?;
        let found = self.changed.binary_search_by_key(&place, |(place, _)| *place);
        let index = found.unwrap_or_else(|index| {
            self.changed.insert(index, (place, vec![first]));
            index
        });
        let (_, values) = self.changed.get_mut(index)?;
        let last = *values.last()?;
        values.resize(at, last);
        values.push(last.wrapping_add(step));
        Some(())
    }

    /// Gives all series their length, once it is known.
    fn complete(&mut self, ticks: u32) {
        for (_, values) in &mut self.changed {
            if let Some(last) = values.last().copied() {
                values.resize(ticks as usize, last);
            }
        }
    }
}

/// Makes a table of the ticks of a log.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    table: Table,
    /// The numbers of its slots.
    growing: Vec<Growing>,
    /// Slots that are alive, by their number in the log.
    alive: Vec<Option<u32>>,
    numbers: usize,
}

impl Builder {
    pub(crate) fn new(run: Run) -> Self {
        Self { table: Table { run, ..Table::default() }, ..Self::default() }
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
        self.table.times.push(before.checked_add(step)?);
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
        self.growing.get_mut(index as usize)?.complete(slot.ticks);
        Some(())
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
            self.growing.push(Growing { firsts: firsts.into(), changed: Vec::new() });
        }
        (self.numbers <= NUMBERS_MAX).then_some(())
    }

    fn change(&mut self, input: &mut Input<'_>, tick: u32) -> Option<()> {
        let mut number = 0_usize;
        for _ in 0..input.count()? {
            number = number.checked_add(input.size()?)?;
            let index = (*self.alive.get(number)?)?;
            let slot = self.table.slots.get(index as usize)?;
            let growing = self.growing.get_mut(index as usize)?;
            let at = (tick - slot.from) as usize;
            let mut place = 0_u32;
            for _ in 0..input.count()? {
                place = place.checked_add(input.index()?)?;
                let before = growing.changed.len();
                growing.change(place, at, unzigzag(input.number()?))?;
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
        let mut values = Vec::new();
        for (slot, growing) in self.table.slots.iter_mut().zip(self.growing) {
            slot.begin = self.table.numbers.len();
            let numbers = growing.firsts.iter().map(|first| Number::Same(*first));
            self.table.numbers.extend(numbers);
            for (place, series) in growing.changed {
                let number = self.table.numbers.get_mut(slot.begin + place as usize);
                if let (Some(number), Ok(at)) = (number, u32::try_from(values.len())) {
                    *number = Number::Changing { column: 0, at };
                    values.extend_from_slice(&series);
                }
            }
        }
        self.table.columns.push(Column::of(values));
        self.table
    }
}
