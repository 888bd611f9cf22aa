//! Which instances may have been counted in a table's overflow slot.

use tare_ebpf::Cell;

use crate::{
    hashing::HashMap,
    kernel::{Kernel, Table},
    registry::{Counters, InstanceId},
    sample::Usage,
};

/// Finds instances without a slot whose table has overflowed since just before they were first
/// seen: their counters are unknown then, not 0.
#[derive(Debug, Default)]
pub(super) struct OverflowTracker {
    /// The overflow's counts in the sample before an instance's first one.
    before: HashMap<InstanceId, [u64; 2]>,
    /// Its counts in the last sample, and now.
    last: [u64; 2],
    now: [u64; 2],
    /// Which usages have a slot, by table.
    has_slot: Vec<[bool; 2]>,
}

/// All counts of the overflow slots of the kernel's tables, of whatever unit: only whether they
/// grow matters.
pub(super) fn overflows(kernel: &Kernel) -> [u64; 2] {
    let block = kernel.block.as_ref().ok().map(|block| &block.table);
    [overflow(kernel.net.as_ref()), overflow(block)]
}

impl OverflowTracker {
    /// Begins to read the tables for some usages.
    pub(super) fn begin(&mut self, now: [u64; 2], usages: &[Usage]) {
        // As long as nothing is in the overflow, all that are there are like new ones.
        if now != [0; 2] {
            for usage in usages {
                self.before.entry(usage.instance.id).or_insert(self.last);
            }
        }
        self.now = now;
        self.has_slot.clear();
        self.has_slot.resize(usages.len(), [false; 2]);
    }

    /// Whether anything is in an overflow.
    pub(super) fn is_any(&self) -> bool {
        self.now != [0; 2]
    }

    /// Notes that a usage has a slot.
    pub(super) fn found(&mut self, counters: Counters, at: usize) {
        if let Some(found) = self.has_slot.get_mut(at) {
            found[index(counters)] = true;
        }
    }

    /// Whether the counters of a usage may be in the overflow of a table.
    pub(super) fn is_missed(&self, counters: Counters, at: usize, id: InstanceId) -> bool {
        let table = index(counters);
        let now = self.now[table];
        if now == 0 || self.has_slot.get(at).is_some_and(|found| found[table]) {
            return false;
        }
        self.before.get(&id).is_none_or(|before| before[table] != now)
    }

    /// Ends a sample: instances that come later were not in the overflow until now.
    pub(super) fn finish(&mut self) {
        self.last = self.now;
    }

    pub(super) fn forget(&mut self, id: InstanceId) {
        self.before.remove(&id);
    }

    pub(super) fn retain(&mut self, mut is_alive: impl FnMut(InstanceId) -> bool) {
        self.before.retain(|id, _| is_alive(*id));
    }
}

fn index(counters: Counters) -> usize {
    match counters {
        Counters::Net => 0,
        Counters::Block => 1,
    }
}

fn overflow<C: Cell>(table: Option<&Table<C>>) -> u64 {
    let words = |cell: C| cell.words().iter().fold(0_u64, |sum, word| sum.wrapping_add(*word));
    table.map_or(0, |table| words(table.overflow()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_may_be_in_the_overflow_is_unknown_also_if_others_ended_meanwhile() {
        let mut tracker = OverflowTracker::default();
        let known = |tracker: &mut OverflowTracker, overflow, id, has_slot| {
            tracker.begin([overflow, 0], &[Usage::of_path(id, "/docker/abc")]);
            if has_slot {
                tracker.found(Counters::Net, 0);
            }
            !tracker.is_missed(Counters::Net, 0, InstanceId(id))
        };
        assert!(known(&mut tracker, 0, 1, false), "nothing overflowed");
        tracker.finish();
        assert!(known(&mut tracker, 5, 2, true), "it has a slot and ended between two samples");
        assert!(!known(&mut tracker, 5, 3, false), "created since the sample before");
        assert!(!known(&mut tracker, 5, 1, false));
        tracker.finish();
        assert!(known(&mut tracker, 5, 4, false), "nothing overflowed since it was created");
    }
}
