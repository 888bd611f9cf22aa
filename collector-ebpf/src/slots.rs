//! Finds the cell to count in: key → slot → this CPU's cell.
//!
//! The programs that run most often know a css instead of a key. Its hint names a slot, and this
//! CPU's cell of that slot says whether it is this css's. Otherwise the key is made and looked up.
//!
//! A program gives a new key a free slot, so nothing is missed before user space knows the cgroup.
//! All memory is allocated at the start, and no key is ever evicted.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_NOEXIST},
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::map,
    maps::{Array, HashMap, Stack},
};
use aya_log_ebpf::warn;
use tare_ebpf::{
    ABSENT, BlockCell, Key, LATENCY_SHARDS_MAX, Latencies, NetCell, OVERFLOW_SLOT, Owned, Owner,
    TaskTimes, USED,
};

use crate::typed::{Typed, layout};

// User space sets the sizes before it loads the object.
const SLOTS: u32 = 1;

#[map]
static NET_SLOTS: HashMap<Key, u32> = HashMap::with_max_entries(SLOTS, 0);
#[map]
static NET_FREE: Stack<u32> = Stack::with_max_entries(SLOTS, 0);
#[map]
static NET_KEYS: Array<Key> = Array::with_max_entries(SLOTS, BPF_F_MMAPABLE);
#[map]
static NET_CELLS: Array<Owned<NetCell>> = Array::with_max_entries(SLOTS, BPF_F_MMAPABLE);

#[map]
static NET_HINTS: Array<u32> = Array::with_max_entries(SLOTS, 0);
#[map]
static NET_OWNER_HINTS: Array<u32> = Array::with_max_entries(SLOTS, 0);

#[map]
static BLOCK_SLOTS: HashMap<Key, u32> = HashMap::with_max_entries(SLOTS, 0);
#[map]
static BLOCK_FREE: Stack<u32> = Stack::with_max_entries(SLOTS, 0);
#[map]
static BLOCK_KEYS: Array<Key> = Array::with_max_entries(SLOTS, BPF_F_MMAPABLE);
#[map]
static BLOCK_CELLS: Array<Owned<BlockCell>> = Array::with_max_entries(SLOTS, BPF_F_MMAPABLE);
#[map]
static BLOCK_HINTS: Array<u32> = Array::with_max_entries(SLOTS, 0);
#[map]
static BLOCK_OWNER_HINTS: Array<u32> = Array::with_max_entries(SLOTS, 0);
/// By slot of the block table. Each cell has first the reads, then the writes.
#[map]
static LATENCY_CELLS: Array<Latencies> = Array::with_max_entries(SLOTS, BPF_F_MMAPABLE);

#[map]
static TASK_SLOTS: HashMap<Key, u32> = HashMap::with_max_entries(SLOTS, 0);
#[map]
static TASK_FREE: Stack<u32> = Stack::with_max_entries(SLOTS, 0);
#[map]
static TASK_KEYS: Array<Key> = Array::with_max_entries(SLOTS, BPF_F_MMAPABLE);
#[map]
static TASK_CELLS: Array<TaskTimes> = Array::with_max_entries(SLOTS, BPF_F_MMAPABLE);
#[map]
static TASK_HINTS: Array<u32> = Array::with_max_entries(SLOTS, 0);

#[map]
static LAST_LOG: Array<u64> = Array::with_max_entries(1, 0);

/// A `cgroup_subsys_state`, at an offset in a struct that begins or holds it.
#[derive(Clone, Copy)]
pub(crate) struct Css {
    holder: Typed,
    offset: u32,
}

impl Css {
    #[inline(always)]
    pub(crate) fn new(holder: Typed, offset: u32) -> Self {
        Self { holder, offset }
    }

    /// Id of its cgroup.
    #[inline(always)]
    pub(crate) fn cgroup_id(self) -> u64 {
        let cgroup = self.holder.follow(self.offset + layout!(css_cgroup));
        cgroup.follow(layout!(cgroup_kn)).load(layout!(kn_id))
    }

    /// A number that no other css ever has; 0 if there is no css.
    #[inline(always)]
    fn serial(self) -> u64 {
        if layout!(css_serial) == ABSENT {
            return 0;
        }
        self.holder.load(self.offset + layout!(css_serial))
    }
}

/// This CPU's cell of a cgroup's sockets, by the css of their caller or their own.
#[inline(always)]
pub(crate) fn net_cell(css: Css) -> Option<*mut NetCell> {
    let maps = Owners { hints: &NET_OWNER_HINTS, keys: &NET_KEYS, cells: &NET_CELLS };
    maps.cell(css, 0, |key| slot(&NET_SLOTS, &NET_FREE, &NET_KEYS, &NET_HINTS, key))
        .map(|(_, cell)| cell)
}

/// This CPU's cell of a cgroup's sockets, by the cgroup's id.
#[inline(always)]
pub(crate) fn net_cell_of_id(cgroup_id: u64) -> Option<*mut NetCell> {
    let key = Key::cgroup(cgroup_id);
    let slot = slot(&NET_SLOTS, &NET_FREE, &NET_KEYS, &NET_HINTS, &key);
    cell(&NET_CELLS, slot)
}

/// The slot of a cgroup's tasks.
#[inline(always)]
pub(crate) fn task_slot(key: &Key) -> u32 {
    slot(&TASK_SLOTS, &TASK_FREE, &TASK_KEYS, &TASK_HINTS, key)
}

/// This CPU's cell of a slot of tasks.
#[inline(always)]
pub(crate) fn task_cell(slot: u32) -> Option<*mut TaskTimes> {
    TASK_CELLS.get_ptr_mut(index(slot))
}

/// The slot of a cgroup's I/O on a device, and this CPU's cell of it.
#[inline(always)]
pub(crate) fn block_cell(css: Css, device: u32) -> Option<(u32, *mut BlockCell)> {
    let maps = Owners { hints: &BLOCK_OWNER_HINTS, keys: &BLOCK_KEYS, cells: &BLOCK_CELLS };
    maps.cell(css, device, |key| slot(&BLOCK_SLOTS, &BLOCK_FREE, &BLOCK_KEYS, &BLOCK_HINTS, key))
}

/// This CPU's latencies of reads or writes of a slot of the block table.
///
/// It returns one half of a cell. With both halves in reach the compiler chooses by arithmetic on
/// the pointer, and the verifier of Linux 5.10 and 6.1 loses the alignment.
#[inline(always)]
pub(crate) fn latencies(slot: u32, write: bool) -> Option<*mut Latencies> {
    let shards = layout!(shards);
    let shards = if shards < LATENCY_SHARDS_MAX { shards } else { LATENCY_SHARDS_MAX };
    let cell = slot * shards + (cpu() & (shards - 1));
    LATENCY_CELLS.get_ptr_mut(cell * 2 + u32::from(write))
}

/// Adds to a counter that other CPUs, interrupts and other programs add to as well.
///
/// An add that fetches the old value needs Linux 5.12; this one does not fetch.
#[inline(always)]
pub(crate) fn add(counter: *mut u64, value: u64) {
    use core::intrinsics::{AtomicOrdering, atomic_xadd};
    // SAFETY: the pointer comes from a map look-up, which the verifier proves.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, value) };
}

/// Adds to a counter of a cell that only this program adds to.
#[inline(always)]
pub(crate) fn add_own(counter: *mut u64, value: u64) {
    add_unshared(counter, value, layout!(unshared_cells));
}

/// Adds to a counter of latencies that only this program adds to.
#[inline(always)]
pub(crate) fn add_own_latency(counter: *mut u64, value: u64) {
    add_unshared(counter, value, layout!(unshared_latencies));
}

/// The verifier knows which of the two ways it is, and removes the other one.
#[inline(always)]
fn add_unshared(counter: *mut u64, value: u64, is_unshared: u32) {
    if is_unshared == 0 {
        return add(counter, value);
    }
    // SAFETY: as in `add`; no other run of a program writes the counter.
    unsafe { counter.write_volatile(counter.read_volatile().wrapping_add(value)) };
}

/// Logs which key is counted in the overflow slot.
///
/// It is inlined although it seldom runs: a program must consist of one function, or a load through
/// a null pointer stops a machine with Linux 5.10 (`xtask/src/calls.rs`).
#[cold]
#[inline(always)]
fn log_overflow(cgroup_id: u64, device: u32) {
    if may_log() {
        warn!((), "no free slot: cgroup {}, device {} is counted as overflow", cgroup_id, device);
    }
}

/// Whether a diagnostic may be logged now: one each second, of all programs together.
#[inline(always)]
fn may_log() -> bool {
    // SAFETY: takes no argument.
    let now = unsafe { bpf_ktime_get_ns() };
    let Some(last) = LAST_LOG.get_ptr_mut(0) else { return false };
    // SAFETY: a pointer that the map gave. After a race there is one line more.
    unsafe {
        if now.wrapping_sub(core::ptr::read_volatile(last)) < 1_000_000_000 {
            return false;
        }
        core::ptr::write_volatile(last, now);
    }
    true
}

#[inline(always)]
fn index(slot: u32) -> u32 {
    let shards = layout!(shards);
    slot * shards + (cpu() & (shards - 1))
}

#[inline(always)]
fn cpu() -> u32 {
    // SAFETY: takes no argument.
    unsafe { bpf_get_smp_processor_id() }
}

/// The maps in which an owner is looked up.
struct Owners<'a, C> {
    hints: &'a Array<u32>,
    keys: &'a Array<Key>,
    cells: &'a Array<Owned<C>>,
}

impl<C> Owners<'_, C> {
    /// The slot of a css on a device, and this CPU's cell. `find` gives the slot of a key.
    #[inline(always)]
    fn cell(&self, css: Css, device: u32, find: impl FnOnce(&Key) -> u32) -> Option<(u32, *mut C)> {
        let owner = Owner { css: css.serial(), device: u64::from(device) };
        let hint = self.hints.get_ptr_mut(owner.hint() & layout!(hints_mask))?;
        // SAFETY: the map gave the pointer. Other CPUs may write at the same time, a whole hint
        // each.
        let hinted = unsafe { core::ptr::read_volatile(hint) };
        let owned = self.cells.get_ptr_mut(index(hinted))?;
        // SAFETY: as above.
        let found = unsafe { core::ptr::read_volatile(&raw const (*owned).owner) };
        if owner.css != 0 && found == owner {
            // SAFETY: only the address is taken.
            return Some((hinted, unsafe { &raw mut (*owned).cell }));
        }
        let key = Key { cgroup_id: css.cgroup_id(), device, used: USED };
        let slot = find(&key);
        let owned = self.cells.get_ptr_mut(index(slot))?;
        if owner.css != 0 && slot != OVERFLOW_SLOT {
            // SAFETY: as above. All who write here write the same until user space frees the slot,
            // which it does when no program is still between the look-up and this.
            unsafe { core::ptr::write_volatile(&raw mut (*owned).owner, owner) };
            // As with the hints of keys.
            if held(self.keys, hinted)[1] == 0 {
                // SAFETY: as above.
                unsafe { core::ptr::write_volatile(hint, slot) };
            }
        }
        // SAFETY: only the address is taken.
        Some((slot, unsafe { &raw mut (*owned).cell }))
    }
}

/// This CPU's cell of a slot.
#[inline(always)]
fn cell<C>(cells: &Array<Owned<C>>, slot: u32) -> Option<*mut C> {
    // SAFETY: only the address is taken.
    cells.get_ptr_mut(index(slot)).map(|owned| unsafe { &raw mut (*owned).cell })
}

/// The slot of a key: the one of the hint if it has this key, else the one of the hash.
///
/// A hint may be another key's or out of date, so the key of the slot decides.
#[inline(always)]
fn slot(
    slots: &HashMap<Key, u32>,
    free: &Stack<u32>,
    keys: &Array<Key>,
    hints: &Array<u32>,
    key: &Key,
) -> u32 {
    let hint = hints.get_ptr_mut(key.hint() & layout!(hints_mask));
    let Some(hint) = hint else { return OVERFLOW_SLOT };
    // SAFETY: the map gave the pointer. Other CPUs may write at the same time, a whole hint each.
    let hinted = unsafe { core::ptr::read_volatile(hint) };
    let held = held(keys, hinted);
    if held == key.to_words() {
        return hinted;
    }
    // SAFETY: the slot of a key never changes while the key is in the table.
    let slot = match unsafe { slots.get(key) } {
        Some(slot) => *slot,
        None => take_slot(slots, free, keys, key),
    };
    // The hint is overwritten only if its slot is free: two busy keys with the same hint would
    // overwrite it in turn.
    if held[1] == 0 {
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(hint, slot) };
    }
    slot
}

/// The key of a slot; all zeroes if it is free.
#[inline(always)]
fn held(keys: &Array<Key>, slot: u32) -> [u64; Key::WORDS] {
    let Some(place) = keys.get_ptr(slot) else { return [0; Key::WORDS] };
    let words = place.cast::<u64>();
    // SAFETY: the map gave the pointer, and a key is two words.
    unsafe { [core::ptr::read_volatile(words), core::ptr::read_volatile(words.add(1))] }
}

#[inline(always)]
fn take_slot(slots: &HashMap<Key, u32>, free: &Stack<u32>, keys: &Array<Key>, key: &Key) -> u32 {
    let Ok(Some(slot)) = free.pop() else {
        log_overflow(key.cgroup_id, key.device);
        return OVERFLOW_SLOT;
    };
    if slots.insert(key, slot, BPF_NOEXIST as u64).is_ok() {
        if let Some(place) = keys.get_ptr_mut(slot) {
            // SAFETY: no other key has the slot until user space frees it.
            unsafe { *place = *key };
        }
        return slot;
    }
    // Another CPU was first with this key, or user space is changing the table.
    let _ = free.push(slot, 0);
    // SAFETY: as in `slot`.
    unsafe { slots.get(key) }.copied().unwrap_or(OVERFLOW_SLOT)
}
