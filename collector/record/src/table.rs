//! A stretch of a recording in memory: what a log becomes, and what a block holds.

use crate::bytes::{Input, unzigzag};

/// The most instants in one stretch.
pub(crate) const TICKS_MAX: usize = 1 << 16;

/// The most numbers in one stretch that is read, so that a damaged file cannot fill the memory.
pub(crate) const NUMBERS_MAX: usize = 1 << 27;

/// A run of the recording process: counters and keys mean the same within it.
pub type Run = [u8; 16];

/// A stretch of instants with all that was recorded.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) run: Run,
    /// Nanoseconds since 1970.
    pub(crate) times: Vec<i64>,
    pub(crate) shapes: Vec<Box<[u8]>>,
    pub(crate) texts: Vec<Box<str>>,
    pub(crate) slots: Vec<Slot>,
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
    /// Its numbers at the first instant.
    pub(crate) firsts: Box<[u64]>,
    /// Those that change, by place, with the values at all instants.
    pub(crate) changed: Vec<(u32, Vec<u64>)>,
}

impl Slot {
    /// Whether an instant has it.
    pub(crate) fn is_at(&self, tick: u32) -> bool {
        tick >= self.from && tick - self.from < self.ticks
    }

    /// Its numbers at an instant that has it.
    pub(crate) fn numbers(&self, tick: u32, out: &mut Vec<u64>) {
        out.clear();
        out.extend_from_slice(&self.firsts);
        let at = (tick - self.from) as usize;
        for (place, values) in &self.changed {
            if let (Some(number), Some(value)) = (out.get_mut(*place as usize), values.get(at)) {
                *number = *value;
            }
        }
    }

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
    fn complete(&mut self) {
        for (_, values) in &mut self.changed {
            if let Some(last) = values.last().copied() {
                values.resize(self.ticks as usize, last);
            }
        }
    }
}

/// Makes a table of the ticks of a log.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    table: Table,
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
        slot.complete();
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
            let (texts, firsts) = (texts.into(), firsts.into());
            let slot =
                Slot { kind, key, shape, texts, from: tick, ticks: 0, firsts, changed: Vec::new() };
            self.table.slots.push(slot);
        }
        (self.numbers <= NUMBERS_MAX).then_some(())
    }

    fn change(&mut self, input: &mut Input<'_>, tick: u32) -> Option<()> {
        let mut number = 0_usize;
        for _ in 0..input.count()? {
            number = number.checked_add(input.size()?)?;
            let index = (*self.alive.get(number)?)?;
            let slot = self.table.slots.get_mut(index as usize)?;
            let at = (tick - slot.from) as usize;
            let mut place = 0_u32;
            for _ in 0..input.count()? {
                place = place.checked_add(input.index()?)?;
                let before = slot.changed.len();
                slot.change(place, at, unzigzag(input.number()?))?;
                if slot.changed.len() > before {
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
        self.table
    }
}
