//! Finds the cell to count in: key → slot → this CPU's cell.
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
use tare_ebpf::{BlockCell, Key, LATENCY_SHARDS_MAX, Latencies, NetCell, OVERFLOW_SLOT, TaskTimes};

use crate::typed::layout;

// User space sets the sizes before it loads the object.
const SLOTS: u32 = 1;

#[map]
static NET_SLOTS: HashMap<Key, u32> = HashMap::with_max_entries(SLOTS, 0);
#[map]
static NET_FREE: Stack<u32> = Stack::with_max_entries(SLOTS, 0);
#[map]
static NET_KEYS: Array<Key> = Array::with_max_entries(SLOTS, BPF_F_MMAPABLE);
#[map]
static NET_CELLS: Array<NetCell> = Array::with_max_entries(SLOTS, BPF_F_MMAPABLE);

#[map]
static NET_HINTS: Array<u32> = Array::with_max_entries(SLOTS, 0);

#[map]
static BLOCK_SLOTS: HashMap<Key, u32> = HashMap::with_max_entries(SLOTS, 0);
#[map]
static BLOCK_FREE: Stack<u32> = Stack::with_max_entries(SLOTS, 0);
#[map]
static BLOCK_KEYS: Array<Key> = Array::with_max_entries(SLOTS, BPF_F_MMAPABLE);
#[map]
static BLOCK_CELLS: Array<BlockCell> = Array::with_max_entries(SLOTS, BPF_F_MMAPABLE);
#[map]
static BLOCK_HINTS: Array<u32> = Array::with_max_entries(SLOTS, 0);
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

/// This CPU's cell of a cgroup's sockets.
#[inline(always)]
pub(crate) fn net_cell(key: &Key) -> Option<*mut NetCell> {
    NET_CELLS.get_ptr_mut(index(slot(&NET_SLOTS, &NET_FREE, &NET_KEYS, &NET_HINTS, key)))
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

/// The slot of a cgroup's I/O on a device.
#[inline(always)]
pub(crate) fn block_slot(key: &Key) -> u32 {
    slot(&BLOCK_SLOTS, &BLOCK_FREE, &BLOCK_KEYS, &BLOCK_HINTS, key)
}

/// This CPU's block counters of a slot.
#[inline(always)]
pub(crate) fn block_cell(slot: u32) -> Option<*mut BlockCell> {
    BLOCK_CELLS.get_ptr_mut(index(slot))
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

/// Adds to a counter that other CPUs and interrupts add to as well.
///
/// An add that fetches the old value needs Linux 5.12; this one does not fetch.
#[inline(always)]
pub(crate) fn add(counter: *mut u64, value: u64) {
    use core::intrinsics::{AtomicOrdering, atomic_xadd};
    // SAFETY: the pointer comes from a map look-up, which the verifier proves.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, value) };
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
