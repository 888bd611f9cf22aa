//! The program of one hierarchy and the records that it writes.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tare_ebpf::walk_record::{base, header};

use crate::{
    kernel::{
        mapping::Mapping,
        statistics::Runs,
        walk::{
            Family, Hierarchy, Record, RunError, StatWords, Walker, legacy_cpu,
            load::{self, Program},
            plan::{self, Plan},
            pressure::{self, Clock},
        },
    },
    process::page_bytes,
    reason::Reason,
};

/// The least records that there is room for.
const CAPACITY_MIN: usize = 256;

/// The size of a page, if the system does not say it.
const USUAL_PAGE_BYTES: u64 = 4096;

/// What a walk over a hierarchy found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Cgroups with a record.
    pub recorded: usize,
    /// Cgroups without one, because there are more than the limit.
    pub missed: usize,
    /// Cgroups that were removed before and are held by something.
    pub dying: u64,
    /// `CLOCK_MONOTONIC` when the first was read.
    pub started_nanoseconds: u64,
    /// For how long the kernel walked.
    pub time: Duration,
}

/// One hierarchy.
pub struct Tree {
    hierarchy: Hierarchy,
    plan: Plan,
    program: Program,
    records: Mapping,
    /// How many records there is room for.
    capacity: usize,
    index: Index,
    found: Found,
    /// Reading it makes the kernel add up the memory counts of all CPUs.
    /// Of the programs that were loaded before, for another number of cgroups.
    runs_before: Runs,
    memory_stat: Option<File>,
    clock: Option<Clock>,
    root_flags: u64,
    swap: bool,
    page_bytes: u64,
    local_pids_events: Option<u32>,
}

impl Tree {
    /// Loads the program for a hierarchy.
    pub(super) fn start(walker: &Walker, hierarchy: &Hierarchy) -> Result<Self, Reason> {
        let cpus = walker.per_cpu.as_ref().map_err(Reason::clone);
        let cpus = cpus.and_then(|found| found.cpus().ok_or(Reason::CountedPerCpu));
        let mut tree = Self::open(walker, hierarchy, cpus)?;
        let is_legacy_cpu = hierarchy.id != 0 && tree.family(Family::Cpu).is_ok();
        if is_legacy_cpu && !legacy_cpu::is_right(&mut tree, walker, hierarchy) {
            return Self::open(walker, hierarchy, Err(Reason::CountedPerCpu));
        }
        Ok(tree)
    }

    fn open(
        walker: &Walker,
        hierarchy: &Hierarchy,
        cpus: Result<u32, Reason>,
    ) -> Result<Self, Reason> {
        let Walker { facts, limit, .. } = walker;
        let plan = plan::plan(facts, walker.way, hierarchy, cpus)?;
        let capacity = CAPACITY_MIN.min(*limit);
        let (program, records) = load::load(walker, hierarchy, &plan, capacity)?;
        let memory_stat = match plan.family(Family::MemoryStat) {
            Ok(()) => File::open(hierarchy.root.join("memory.stat")).ok(),
            Err(_) => None,
        };
        Ok(Self {
            hierarchy: hierarchy.clone(),
            plan,
            program,
            records,
            capacity,
            index: Index::with_capacity(capacity),
            found: Found::default(),
            runs_before: Runs::default(),
            memory_stat,
            clock: None,
            root_flags: 0,
            swap: facts.swap && hierarchy.counts_swap.unwrap_or(true),
            page_bytes: page_bytes().unwrap_or(USUAL_PAGE_BYTES),
            local_pids_events: facts.local_pids_events,
        })
    }

    /// Records that no program has written, of cgroup2.
    #[cfg(test)]
    pub(super) fn written(root: &Path, plan: Plan, records: Mapping, count: usize) -> Self {
        let mut index = Index::with_capacity(count);
        index.update(count, |at| records.load((at + 1) * plan.stride + base::ID));
        Self {
            hierarchy: Hierarchy {
                id: 0,
                root: root.to_owned(),
                controllers: Vec::new(),
                counts_swap: None,
            },
            plan,
            program: Program::none(),
            records,
            capacity: count,
            index,
            found: Found { recorded: count, ..Found::default() },
            runs_before: Runs::default(),
            memory_stat: None,
            clock: None,
            root_flags: 0,
            swap: false,
            page_bytes: USUAL_PAGE_BYTES,
            local_pids_events: None,
        }
    }

    /// Sets the clock of pressure.
    #[cfg(test)]
    pub(super) fn set_clock(&mut self, clock: Clock) {
        self.clock = Some(clock);
    }

    /// Walks. Where there was too little room, walks again with more.
    pub(super) fn run(&mut self, walker: &Walker) -> Result<(), RunError> {
        self.flush_memory();
        self.walk()?;
        let wanted = self.found.recorded + self.found.missed;
        if self.found.missed > 0 && self.capacity < walker.limit {
            self.make_room(walker, wanted).map_err(RunError::Room)?;
            self.walk()?;
        }
        let Self { index, records, plan, .. } = self;
        // The first entry of the map is its header.
        index.update(self.found.recorded, |at| records.load((at + 1) * plan.stride + base::ID));
        let failed = self.iter().filter(Record::has_failed).count();
        if failed > 0 { Err(RunError::Unreadable { records: failed }) } else { Ok(()) }
    }

    /// Frees the memory of records, if far more cgroups were there once than the last walk found.
    /// What it found is gone then.
    pub(super) fn shrink(&mut self, walker: &Walker) {
        let wanted = self.found.recorded;
        if self.capacity / 4 > wanted.max(CAPACITY_MIN)
            && let Err(reason) = self.make_room(walker, wanted)
        {
            tracing::debug!(%reason, "the records of cgroups keep their memory");
        }
    }

    /// Loads the program anew, with room for so many cgroups and some more.
    fn make_room(&mut self, walker: &Walker, wanted: usize) -> Result<(), Reason> {
        let least = CAPACITY_MIN.min(walker.limit);
        let capacity = (wanted + wanted / 4).clamp(least, walker.limit);
        let loaded = load::load(walker, &self.hierarchy, &self.plan, capacity);
        let (program, records) = loaded?;
        // The kernel counts the runs of each program anew.
        self.runs_before = self.runs().unwrap_or(self.runs_before);
        (self.program, self.records) = (program, records);
        self.capacity = capacity;
        self.index = Index::with_capacity(capacity);
        self.found = Found::default();
        Ok(())
    }

    fn flush_memory(&self) {
        let mut buffer = [0; 4096];
        if let Some(file) = &self.memory_stat
            && let Err(error) = file.read_at(&mut buffer, 0)
        {
            tracing::debug!(%error, "memory counts are not added up");
        }
    }

    fn walk(&mut self) -> Result<(), RunError> {
        let before = self.records.load(header::STARTED);
        self.program.run().map_err(RunError::System)?;
        let word = |index| self.records.load(index);
        match word(header::OUTCOME) {
            header::DONE if word(header::STARTED) != before => {}
            header::NO_ROOT => return Err(RunError::NoRoot),
            _ => return Err(RunError::Unfinished),
        }
        let recorded = word(header::WRITTEN) as usize;
        self.found = Found {
            recorded: recorded.min(self.capacity),
            missed: (word(header::FOUND) as usize).saturating_sub(recorded),
            dying: word(header::DYING),
            started_nanoseconds: word(header::STARTED),
            time: Duration::from_nanos(word(header::ENDED).saturating_sub(word(header::STARTED))),
        };
        self.root_flags = word(header::ROOT_FLAGS);
        let now = Some(word(header::CLOCK)).filter(|now| *now != 0);
        self.clock = now.zip(pressure::period()).map(|(now, period)| Clock { now, period });
        Ok(())
    }

    /// What the last walk found.
    pub fn found(&self) -> Found {
        self.found
    }

    /// The hierarchy.
    pub fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// Whether the records have a family, or why not.
    pub fn family(&self, family: Family) -> &Result<(), Reason> {
        self.plan.family(family)
    }

    /// The record of a cgroup; `None` if the walk did not find it. Quickest for the one behind that
    /// which was found last.
    pub fn find(&self, id: u64) -> Option<Record<'_>> {
        self.index.find_next(id).and_then(|at| self.at(at))
    }

    /// The record of a cgroup that may be anywhere.
    pub(super) fn find_anywhere(&self, id: u64) -> Option<Record<'_>> {
        self.index.find(id).and_then(|at| self.at(at))
    }

    /// The record of the cgroup with this directory.
    pub(super) fn find_directory(&self, directory: &Path) -> Option<Record<'_>> {
        self.find(fs::metadata(directory).ok()?.ino())
    }

    /// All records, parents before their children.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.found.recorded).filter_map(|at| self.at(at))
    }

    /// What is known of the words of `memory.stat`: nothing yet.
    pub fn stat_words(&self) -> StatWords {
        StatWords::new(self.page_bytes)
    }

    /// Runs of the program, and of those that it has replaced.
    pub(super) fn runs(&self) -> Option<Runs> {
        let Runs { count, time } = self.program.runs()?;
        let before = self.runs_before;
        Some(Runs { count: before.count + count, time: before.time + time })
    }

    /// Bytes of the map of records, in the kernel.
    pub fn memory_bytes(&self) -> usize {
        self.records.len() * size_of::<u64>()
    }

    fn at(&self, at: usize) -> Option<Record<'_>> {
        let start = self.start_of(at);
        let words = self.records.words(start..start + self.plan.stride)?;
        Some(Record { words, tree: self })
    }

    /// The first entry of the map is its header.
    fn start_of(&self, at: usize) -> usize {
        (at + 1) * self.plan.stride
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn clock(&self) -> Option<Clock> {
        self.clock
    }

    pub(super) fn counts_swap(&self) -> bool {
        self.swap
    }

    pub(super) fn page_bytes(&self) -> u64 {
        self.page_bytes
    }

    /// Whether `pids.events` counts failed forks of the cgroup alone: on v1, and on cgroup2 if it
    /// was mounted so (`kernel/cgroup/pids.c`, `__pids_events_show`). Where the kernel has no such
    /// choice, there is one count.
    pub(super) fn pids_count_locally(&self) -> bool {
        self.local_pids_events
            .is_some_and(|flag| !self.plan.unified || self.root_flags & u64::from(flag) != 0)
    }
}

/// Id → place. Cgroups come in the same order as long as none is made or removed, and then nothing
/// is changed.
#[derive(Default)]
struct Index {
    ids: Vec<u64>,
    /// A hash table with open addressing: places, counted from 1; 0 is free.
    table: Vec<u32>,
    /// Where the next one is expected: instances are looked for in the order in which they began,
    /// and the kernel has the cgroups below one directory in that order too.
    expected: AtomicUsize,
}

impl Index {
    fn with_capacity(records: usize) -> Self {
        let slots = (records * 2).next_power_of_two();
        let ids = Vec::with_capacity(records);
        Self { ids, table: vec![0; slots], expected: AtomicUsize::new(0) }
    }

    fn update(&mut self, count: usize, id: impl Fn(usize) -> u64) {
        let same = self.ids.len() == count
            && self.ids.iter().enumerate().all(|(at, known)| *known == id(at));
        if same {
            return;
        }
        self.ids.clear();
        self.ids.extend((0..count).map(id));
        self.table.fill(0);
        for at in 0..count {
            let free = self.slots(self.ids[at]).find(|slot| self.table[*slot] == 0);
            if let Some(free) = free {
                self.table[free] = at as u32 + 1;
            }
        }
    }

    fn find_next(&self, id: u64) -> Option<usize> {
        let expected = self.expected.load(Ordering::Relaxed);
        let is_there = self.ids.get(expected) == Some(&id);
        let at = if is_there { expected } else { self.find(id)? };
        self.expected.store(at + 1, Ordering::Relaxed);
        Some(at)
    }

    fn find(&self, id: u64) -> Option<usize> {
        for slot in self.slots(id) {
            let at = (self.table[slot] as usize).checked_sub(1)?;
            if self.ids.get(at) == Some(&id) {
                return Some(at);
            }
        }
        None
    }

    /// The slots that an id may be in, in the order in which they are tried.
    fn slots(&self, id: u64) -> impl Iterator<Item = usize> + use<> {
        // Fibonacci hashing: ids differ in their low bits.
        let mask = self.table.len().wrapping_sub(1);
        let first = (id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        (0..=mask).map(move |step| first.wrapping_add(step) & mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_found_and_no_other() {
        let mut index = Index::with_capacity(1000);
        assert_eq!(index.find(1), None);
        let of = |at: usize| at as u64 * 4096 + 1;
        index.update(1000, of);
        assert!((0..1000).all(|at| index.find(of(at)) == Some(at)));
        assert!([7, 8, 9, 3, 4].iter().all(|at| index.find_next(of(*at)) == Some(*at)));
        assert_eq!(index.find(2), None);
        index.update(2, |at| of(at + 5));
        assert_eq!(
            (index.find(of(5)), index.find(of(6)), index.find(of(7))),
            (Some(0), Some(1), None)
        );
    }
}
