//! Records that a test writes.

use std::{path::Path, sync::atomic::Ordering};

use nix::sys::memfd::{MFdFlags, memfd_create};
use tare_ebpf::walk_record::{Holes, bandwidth, base, cpu, pids, pressure};

use crate::kernel::{
    mapping::{Mapping, WritableMapping},
    walk::{Records, Tree, plan::Plan, pressure::Clock},
};

const AT_CPU: usize = base::WORDS;
const AT_BANDWIDTH: usize = AT_CPU + cpu::WORDS;
const AT_PIDS: usize = AT_BANDWIDTH + bandwidth::WORDS;
const AT_PRESSURE: usize = AT_PIDS + pids::WORDS;
const STRIDE: usize = AT_PRESSURE + pressure::WORDS;

const SECOND: u64 = 1_000_000_000;

/// A word of a record.
#[derive(Clone, Copy)]
pub(crate) struct Word(usize);

/// CPU time, in nanoseconds.
pub(crate) const CPU_USAGE: Word = Word(AT_CPU + cpu::USAGE);
/// The limit of CPU time, in nanoseconds.
pub(crate) const CPU_QUOTA: Word = Word(AT_BANDWIDTH + bandwidth::QUOTA);
/// The period of the limit, in nanoseconds.
pub(crate) const CPU_PERIOD: Word = Word(AT_BANDWIDTH + bandwidth::PERIOD);
/// Tasks.
pub(crate) const TASKS: Word = Word(AT_PIDS + pids::CURRENT);

/// The average pressure over 10 s; 2048 is a whole percent.
pub(crate) const PRESSURE: Word = Word(AT_PRESSURE + pressure::AVERAGES);

/// A hierarchy in which each cgroup is in the one before.
pub(crate) struct Written {
    words: WritableMapping,
    trees: [Tree; 1],
}

impl Written {
    /// Cgroups with these ids, all numbers 0 and without limits; the first is the root.
    pub(crate) fn new(root: &Path, ids: &[u64]) -> Self {
        const HAS: u64 = base::HAS_BANDWIDTH | base::HAS_PIDS | base::HAS_PRESSURE;
        let count = (ids.len() + 1) * STRIDE;
        let memory = memfd_create("records", MFdFlags::MFD_CLOEXEC).unwrap();
        nix::unistd::ftruncate(&memory, (count * size_of::<u64>()) as i64).unwrap();
        let words = WritableMapping::of(&memory, count).unwrap();
        let set = |at: usize, word: usize, value: u64| {
            let at = (at + 1) * STRIDE + word;
            words.words(at..at + 1).unwrap()[0].store(value, Ordering::Relaxed);
        };
        for (at, id) in ids.iter().enumerate() {
            set(at, base::ID, *id);
            set(at, base::PARENT_ID, at.checked_sub(1).map_or(0, |above| ids[above]));
            set(at, base::FLAGS, HAS | (at as u64) << 32);
            set(at, CPU_QUOTA.0, u64::MAX);
        }
        let offset = |word: usize| (word * size_of::<u64>()) as u32;
        let mut holes = Holes::UNKNOWN;
        holes.at_cpu = offset(AT_CPU);
        holes.at_bandwidth = offset(AT_BANDWIDTH);
        holes.at_pids = offset(AT_PIDS);
        holes.at_pressure = offset(AT_PRESSURE);
        let records = Mapping::of(&memory, count).unwrap();
        let tree = Tree::written(root, Plan::whole(holes, STRIDE), records, ids.len());
        let mut written = Self { words, trees: [tree] };
        written.set_clock(0);
        written
    }

    /// Sets the clock of pressure, by which averages fade.
    pub(crate) fn set_clock(&mut self, seconds: u64) {
        let [tree] = &mut self.trees;
        tree.set_clock(Clock { now: seconds * SECOND, period: 2 * SECOND });
    }

    /// Changes a word of the cgroup at this depth.
    pub(crate) fn set(&self, depth: usize, word: Word, value: u64) {
        let at = (depth + 1) * STRIDE + word.0;
        self.words.words(at..at + 1).unwrap()[0].store(value, Ordering::Relaxed);
    }

    /// All records.
    pub(crate) fn records(&self) -> Records<'_> {
        Records { trees: &self.trees }
    }
}
