//! Counter tables: keys and cells that the kernel writes and this process reads in mapped memory,
//! without system calls.
//!
//! A slot is freed in three steps some time apart: the key is removed, then the owner that programs
//! find in the cells, then the slot is given away. A program that found the slot just before a step
//! is done before the next one.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use aya::maps::{Array, HashMap, Map, MapData, MapError, Stack};
use tare_ebpf::{Cell, Key, OVERFLOW_SLOT};

use crate::kernel::{
    load::Loaded,
    mapping::{Mapping, WritableMapping},
};

/// After this time a program that found a slot just before a step of its release has finished.
const GRACE: Duration = Duration::from_millis(10);

/// Counters of one family.
pub struct Table<C: Cell> {
    keys: Mapping,
    cells: Cells<C>,
    /// Retired slots, oldest first.
    retired: Vec<Retired>,
    slot_of: HashMap<MapData, [u64; Key::WORDS], u32>,
    key_of: Array<MapData, [u64; Key::WORDS]>,
    free: Stack<MapData, u32>,
}

/// A slot whose key is gone.
struct Retired {
    slot: u32,
    /// The former key.
    key: Key,
    /// When the last step of its release was made.
    since: Instant,
    /// Whether its cells have no owner any more.
    is_disowned: bool,
}

/// Cells by slot. A cell has a shard for each CPU, or for several CPUs.
pub struct Cells<C: Cell> {
    cells: WritableMapping,
    shards: usize,
    /// What each slot's cell had counted for former keys, because cells are never reset.
    base: Vec<C>,
    /// Programs that are loaded later find the map by this descriptor.
    _map: MapData,
}

/// The names of a table's four maps.
pub(super) struct Names {
    /// Hash of key → slot.
    pub(super) slots: &'static str,
    /// Stack of free slots.
    pub(super) free: &'static str,
    /// Array of slot → key.
    pub(super) keys: &'static str,
    /// Array of (slot, shard) → cell.
    pub(super) cells: &'static str,
}

/// The maps of the network table.
pub(super) const NET: Names =
    Names { slots: "NET_SLOTS", free: "NET_FREE", keys: "NET_KEYS", cells: "NET_CELLS" };

/// The maps of the block table.
pub(super) const BLOCK: Names =
    Names { slots: "BLOCK_SLOTS", free: "BLOCK_FREE", keys: "BLOCK_KEYS", cells: "BLOCK_CELLS" };

/// The maps of the table of tasks that are gone.
pub(super) const TASKS: Names =
    Names { slots: "TASK_SLOTS", free: "TASK_FREE", keys: "TASK_KEYS", cells: "TASK_CELLS" };

/// The map of latencies, which has the slots of the block table.
pub(super) const LATENCIES: &str = "LATENCY_CELLS";

impl<C: Cell> Table<C> {
    /// Takes the table's maps out of a loaded object, and makes all slots but the overflow's free.
    pub(super) fn open(loaded: &mut Loaded, names: &Names) -> Result<Self> {
        let slots = loaded.slots;
        let slot_of = HashMap::try_from(loaded.take_map(names.slots)?)?;
        let mut free: Stack<MapData, u32> = Stack::try_from(loaded.take_map(names.free)?)?;
        let Map::Array(keys_data) = loaded.take_map(names.keys)? else {
            bail!("{} is not an array", names.keys)
        };
        let keys = Mapping::of(keys_data.fd(), slots as usize * Key::WORDS)
            .context("cannot map the keys of counters")?;
        // The last one pushed is the first one taken: low slots are used first and stay dense.
        for slot in (OVERFLOW_SLOT + 1..slots).rev() {
            free.push(slot, 0).context("cannot fill the list of free slots")?;
        }
        Ok(Self {
            keys,
            cells: Cells::open(loaded, names.cells, loaded.shards)?,
            retired: Vec::new(),
            slot_of,
            key_of: Array::try_from(Map::Array(keys_data))?,
            free,
        })
    }

    /// Calls `each` with every key in use, its slot and its counters. No system call is made,
    /// unless more slots are in use than before. Returns whether all counters could be read:
    /// the kernel may have no memory to map more of them. Those that cannot be read are left
    /// out.
    pub fn for_each(&self, mut each: impl FnMut(u32, Key, &C)) -> bool {
        let mut is_whole = true;
        self.for_each_key(|slot, key| {
            if self.cells.is_readable(slot) {
                each(slot, key, &self.cells.of(slot));
            } else {
                is_whole = false;
            }
        });
        is_whole
    }

    /// Calls `each` with every slot in use and its key. No system call is made.
    pub fn for_each_slot(&self, each: impl FnMut(u32, Key)) {
        self.for_each_key(each);
    }

    /// What was counted for keys that found no free slot.
    pub fn overflow(&self) -> C {
        self.cells.of(OVERFLOW_SLOT)
    }

    /// How many slots are in use, the overflow's not counted. No system call is made.
    pub fn used(&self) -> usize {
        let mut used = 0;
        self.for_each_key(|_, _| used += 1);
        used
    }

    /// How many slots there are, the overflow's not counted.
    pub fn capacity(&self) -> usize {
        (self.keys.len() / Key::WORDS).saturating_sub(1)
    }

    /// Stops counting for the keys that are gone. Their slots keep the counts until
    /// [`Table::release`] frees them.
    pub fn retire(&mut self, is_gone: impl Fn(Key) -> bool) {
        let mut gone = Vec::new();
        self.for_each_counted(|slot, key| {
            if is_gone(key) {
                gone.push((slot, key));
            }
        });
        for (slot, key) in gone {
            match self.forget(slot, key) {
                Ok(()) => self.retired.push(Retired {
                    slot,
                    key,
                    since: Instant::now(),
                    is_disowned: false,
                }),
                Err(error) => tracing::warn!(%error, slot, "cannot retire a counter slot"),
            }
        }
    }

    /// Frees the slots that were retired some time ago. `last` gets the final counts of each.
    pub fn release(&mut self, mut last: impl FnMut(u32, Key, &C)) {
        let is_over = |retired: &Retired| retired.since.elapsed() >= GRACE;
        let is_readable = |slot| self.cells.is_readable(slot);
        let done = |retired: &&Retired| {
            retired.is_disowned && is_over(retired) && is_readable(retired.slot)
        };
        let over = self.retired.iter().take_while(done).count();
        for Retired { slot, key, .. } in self.retired.drain(..over) {
            last(slot, key, &self.cells.finish(slot));
            if let Err(error) = self.free.push(slot, 0) {
                tracing::warn!(%error, slot, "cannot free a counter slot");
            }
        }
        for retired in &mut self.retired {
            if !retired.is_disowned && is_over(retired) {
                self.cells.disown(retired.slot);
                (retired.is_disowned, retired.since) = (true, Instant::now());
            }
        }
    }

    /// Unmaps counters beyond the slots that are in use. Tells how many those are, with the gaps.
    pub(super) fn shrink(&mut self) -> u32 {
        let mut slots = OVERFLOW_SLOT + 1;
        self.for_each_key(|slot, _| slots = slots.max(slot + 1));
        self.cells.shrink_to(slots);
        slots
    }

    /// Removes a key from the hash and from the keys: no program begins to count there any more.
    fn forget(&mut self, slot: u32, key: Key) -> Result<(), MapError> {
        match self.slot_of.remove(&key.to_words()) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(error) => return Err(error),
        }
        self.key_of.set(slot, [0; Key::WORDS], 0)
    }

    fn for_each_key(&self, mut each: impl FnMut(u32, Key)) {
        self.for_each_counted(&mut each);
        for Retired { slot, key, .. } in &self.retired {
            each(*slot, *key);
        }
    }

    fn for_each_counted(&self, mut each: impl FnMut(u32, Key)) {
        let words = self.keys.words(0..self.keys.len()).unwrap_or_default();
        for (slot, words) in words.chunks_exact(Key::WORDS).enumerate() {
            let key = Key::from_words(std::array::from_fn(|i| words[i].load(Ordering::Relaxed)));
            if key.used != 0 {
                each(slot as u32, key);
            }
        }
    }
}

impl<C: Cell> Cells<C> {
    /// Words from one cell to the next.
    const STRIDE: usize = C::OWNER_WORDS + C::WORDS;

    /// Takes the map of this name out of a loaded object.
    pub(super) fn open(loaded: &mut Loaded, name: &str, shards: u32) -> Result<Self> {
        let Map::Array(map) = loaded.take_map(name)? else { bail!("{name} is not an array") };
        let words = loaded.slots as usize * shards as usize * Self::STRIDE;
        Ok(Self {
            cells: WritableMapping::of(map.fd(), words).context("cannot map counters")?,
            shards: shards as usize,
            base: Vec::new(),
            _map: map,
        })
    }

    /// Sum over the slot's shards, less what former keys had counted; 0 if it cannot be read.
    pub fn of(&self, slot: u32) -> C {
        if !self.is_readable(slot) {
            return C::default();
        }
        let mut sum = C::default();
        for shard in self.shards(slot) {
            for (sum, word) in sum.words_mut().iter_mut().zip(&shard[C::OWNER_WORDS..]) {
                *sum = sum.wrapping_add(word.load(Ordering::Relaxed));
            }
        }
        if let Some(base) = self.base.get(slot as usize) {
            for (sum, base) in sum.words_mut().iter_mut().zip(base.words()) {
                *sum = sum.wrapping_sub(*base);
            }
        }
        sum
    }

    /// Whether the cells of this slot can be read.
    pub fn is_readable(&self, slot: u32) -> bool {
        self.words(slot).is_some()
    }

    /// Unmaps the cells beyond so many slots.
    pub(super) fn shrink_to(&mut self, slots: u32) {
        self.cells.shrink_to(slots as usize * self.shards * Self::STRIDE);
    }

    /// Removes the owners: programs have to look up the key.
    fn disown(&self, slot: u32) {
        for shard in self.shards(slot) {
            for word in &shard[..C::OWNER_WORDS] {
                word.store(0, Ordering::Relaxed);
            }
        }
    }

    /// The cells of a slot, each with its owner before it.
    fn shards(&self, slot: u32) -> impl Iterator<Item = &[AtomicU64]> {
        self.words(slot).unwrap_or_default().chunks_exact(Self::STRIDE)
    }

    fn words(&self, slot: u32) -> Option<&[AtomicU64]> {
        let start = slot as usize * self.shards * Self::STRIDE;
        self.cells.words(start..start + self.shards * Self::STRIDE)
    }

    /// The final counts of a slot's key. Later counts belong to the next key.
    pub fn finish(&mut self, slot: u32) -> C {
        let cell = self.of(slot);
        let index = slot as usize;
        if self.base.len() <= index {
            self.base.resize(index + 1, C::default());
        }
        self.base[index].add(&cell);
        cell
    }
}
