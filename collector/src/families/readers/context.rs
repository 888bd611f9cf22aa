//! What a read needs to know besides the files.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::{
    cgroup::Hierarchies,
    families::{
        cadence::{Cadence, Due},
        memory::StatDecoder,
        perf_events::PerfEvents,
        readers::Readers,
        walked::{CgroupIds, CgroupRecords, WalkLayout},
    },
    kernel::walk::Fingerprint,
};

/// What a read needs to know besides the files.
pub struct ReadContext<'a> {
    /// The time of the sample.
    pub now: Instant,
    /// The same as a time of day.
    pub time: Timestamp,
    /// The least time between two readings of `memory.stat`.
    pub memory_stat_interval: Duration,
    /// Whether block I/O is read from files, because no program counts it.
    pub reads_block: bool,
    /// Whether processes are counted from files, because no program goes over all tasks.
    pub reads_processes: bool,
    /// Whether CPU time is read by CPU.
    pub reads_per_cpu: bool,
    /// Which events are counted, if any are.
    pub perf_events: Option<&'a PerfEvents>,
    /// Memory for the text of a file.
    pub buffer: &'a mut Vec<u8>,
    /// What is due of this cgroup.
    pub due: Due,
    /// Whether an unchanged CPU time proves that the other CPU files are unchanged.
    pub trusts_cpu_time: bool,
    /// What a walk found of this cgroup; `None` reads files.
    pub walked: Option<WalkedCgroup<'a>>,
    /// Where this cgroup's files are, for those that are not open.
    pub place: Option<Place<'a>>,
    /// Whether something was read that the records of this cgroup do not decide: the same records
    /// do not mean the same numbers then.
    pub is_partial: bool,
    /// Whether averages of pressure were read that fade, although the records stay the same.
    pub is_fading: bool,
}

/// What a walk found of one cgroup.
pub struct WalkedCgroup<'a> {
    /// Its records.
    pub records: CgroupRecords<'a>,
    /// What their words of `memory.stat` mean; `None` if they have none.
    pub stat: Option<&'a mut StatDecoder>,
}

impl WalkedCgroup<'_> {
    /// All that its readings are made from, as far as they are made from its records.
    pub fn fingerprint(&self) -> Fingerprint {
        self.records.fingerprint(self.stat.as_ref().map_or(0, |stat| stat.revision()))
    }
}

/// A cgroup whose files are opened only where a walk lacks its record.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The mounted hierarchies.
    pub hierarchies: &'a Hierarchies,
    /// Its path, the same below each root.
    pub path: &'a str,
    /// What is walked.
    pub layout: &'a WalkLayout,
    /// Its ids. A cgroup with others is another one.
    pub ids: CgroupIds,
    /// Whether it is so young that its files stay open although it has records: it may end at any
    /// moment, and its last reading is quicker from open files.
    pub is_young: bool,
}

impl<'a> Place<'a> {
    /// The place of a cgroup with these readers, if cgroups are walked.
    pub fn of(
        readers: &Readers,
        hierarchies: &'a Hierarchies,
        path: &'a str,
        layout: Option<&'a WalkLayout>,
        is_young: bool,
    ) -> Option<Self> {
        Some(Self { hierarchies, path, layout: layout?, ids: *readers.ids(), is_young })
    }
}

impl<'a> ReadContext<'a> {
    /// For a sample taken now, from files that are open.
    pub fn new(now: Instant, buffer: &'a mut Vec<u8>) -> Self {
        let due = Cadence::new("").due();
        Self {
            now,
            time: Timestamp::now(),
            memory_stat_interval: Duration::ZERO,
            reads_block: false,
            reads_processes: true,
            reads_per_cpu: false,
            perf_events: None,
            buffer,
            due,
            trusts_cpu_time: false,
            walked: None,
            place: None,
            is_partial: false,
            is_fading: false,
        }
    }

    /// The same for one cgroup that is walked.
    pub fn of_cgroup<'b>(
        &'b mut self,
        place: Option<Place<'b>>,
        walked: Option<WalkedCgroup<'b>>,
    ) -> ReadContext<'b> {
        ReadContext { buffer: self.buffer, walked, place, is_partial: false, ..*self }
    }
}
