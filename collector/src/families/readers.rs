//! The readings of one cgroup, family by family: from the records of a walk, or from its open
//! files.

mod context;
mod slot;

use std::{mem, sync::Arc};

use tare_model::Family;
use tare_parsers::{cpu::CpuUsage, pressure::Pressures};

pub use self::context::{Place, ReadContext, WalkedCgroup};
pub(super) use self::slot::Slot;
use crate::{
    cgroup::{Hierarchies, KeptFile, ReadError},
    families::{
        Readers, Readings, block,
        cadence::is_memory_stat_due,
        cpu::CpuFiles,
        pressure::PressureFiles,
        settings::Settings,
        walked::{CgroupIds, WalkLayout},
    },
    kernel::walk::Fingerprint,
};

/// How one family is read from the files of a cgroup.
pub trait CgroupReader: Sized {
    /// The numbers as they were read: cumulative, `None` is unknown.
    type Reading: Clone + Default;

    /// Opens the files of the cgroup at a path such as `/docker/abc`, the same below each root;
    /// `None` if there are none: the family is unknown then.
    ///
    /// # Errors
    ///
    /// If a file is there but cannot be opened.
    fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError>;

    /// The name under which sources and receipts list the family, if they do.
    const FAMILY: Option<Family> = None;

    /// Whether a reading holds anything.
    fn is_known(reading: &Self::Reading) -> bool;

    /// Whether the family is to be read now; if not, its last reading holds.
    fn is_due(context: &ReadContext<'_>) -> bool;

    /// Reads the files over the last reading, which keeps its memory.
    ///
    /// # Errors
    ///
    /// [`ReadError::Vanished`] when the cgroup was removed. What could not be read is unknown.
    fn read(
        &mut self,
        context: &mut ReadContext<'_>,
        latest: &mut Self::Reading,
    ) -> Result<(), ReadError>;

    /// The files that stay open.
    fn files(&self) -> impl Iterator<Item = &KeptFile>;

    /// Whether a walk over all cgroups spares the files, which are opened only where a record is
    /// missing.
    fn opens_on_demand(layout: &WalkLayout) -> bool;

    /// Opens what the records of such a walk do not have; `None` if they have it all.
    ///
    /// # Errors
    ///
    /// As [`CgroupReader::open`].
    fn open_beside_walk(
        _hierarchies: &Hierarchies,
        _path: &str,
        _layout: &WalkLayout,
    ) -> Result<Option<Self>, ReadError> {
        Ok(None)
    }

    /// Takes the reading from the records in the context, and from the files that are open beside
    /// them. `false` if the records do not have it whole: then the files are read.
    ///
    /// # Errors
    ///
    /// As [`CgroupReader::read`].
    fn from_record(
        beside: Option<&mut Self>,
        context: &mut ReadContext<'_>,
        latest: &mut Self::Reading,
    ) -> Result<bool, ReadError>;
}

/// Reads one family, if it is due, over its last reading.
pub type ReadStep = fn(&mut Readers, &mut ReadContext<'_>, &mut Readings) -> Result<(), ReadError>;

/// Reads one family a last time, when the cgroup has no process left, and copies what is known;
/// whether anything is.
pub type FinalStep =
    fn(&mut Readers, &mut ReadContext<'_>, &mut Readings) -> Result<bool, ReadError>;

impl Readers {
    /// How many of the final steps cannot wait when a cgroup ends: CPU time, memory, tasks,
    /// block I/O. The others take ten times as long.
    pub const URGENT_STEPS: usize = 4;

    /// Keeps what former readers of the same cgroup read, and their counters, so that no number
    /// falls.
    pub fn succeed(&mut self, former: &mut Self) {
        self.cpu_before = former.cpu_before;
        mem::swap(&mut self.perf_events, &mut former.perf_events);
        let counted = former.latest.perf_events.clone();
        Arc::make_mut(&mut self.latest).perf_events = counted;
    }

    /// Reads all that is due of one cgroup into the readings of an older sample. Where a walk has
    /// found the same as before and nothing else is due, the last readings hold, and are shared.
    pub fn read_all(
        &mut self,
        context: &mut ReadContext<'_>,
        readings: &mut Arc<Readings>,
        mut failed: impl FnMut(ReadError),
    ) {
        let found = context.walked.as_ref().map(WalkedCgroup::fingerprint);
        if self.hold(found, context) {
            // Counting references would write to memory that is only read otherwise.
            if !Arc::ptr_eq(readings, &self.latest) {
                readings.clone_from(&self.latest);
            }
            return;
        }
        let latest = self.begin(readings);
        for step in Self::STEPS {
            if let Err(error) = step(self, context, latest) {
                context.is_partial = true;
                failed(error);
            }
        }
        self.keep(readings, found.filter(|_| !context.is_partial));
        self.is_fading = context.is_fading;
    }

    fn hold(&self, found: Option<Fingerprint>, context: &mut ReadContext<'_>) -> bool {
        let interval = context.memory_stat_interval;
        found.is_some()
            && self.made_from == found
            && !self.cadence.is_any_due(context.now)
            && (interval.is_zero()
                || !is_memory_stat_due(self.latest.memory.stat_read_at, interval, context.now))
            && (!self.is_fading || self.is_pressure_same(context))
    }

    /// Whether averages of pressure that fade are still the same, cut off as they are.
    fn is_pressure_same(&self, context: &mut ReadContext<'_>) -> bool {
        let mut now = Pressures::default();
        let read = PressureFiles::from_record(None, context, &mut now);
        matches!(read, Ok(true)) && now == self.latest.pressure
    }

    /// Makes the readings of an older sample, whose memory they keep, the ones that were read last,
    /// to be read over.
    pub fn begin<'a>(&self, readings: &'a mut Arc<Readings>) -> &'a mut Readings {
        if Arc::get_mut(readings).is_none() {
            *readings = Arc::default();
        }
        let readings = Arc::make_mut(readings);
        readings.clone_from(&self.latest);
        readings
    }

    /// Keeps what was read, and what a walk had found if all of it is from there.
    pub fn keep(&mut self, readings: &Arc<Readings>, found: Option<Fingerprint>) {
        self.latest = Arc::clone(readings);
        self.made_from = found;
    }

    /// Whether its events are not counted because there was no descriptor left.
    pub fn lacks_perf_events(&self) -> bool {
        self.perf_events.reader.as_ref().is_some_and(|reader| reader.is_refused())
    }

    /// The cgroup above that is charged with this one's block I/O, if it is not charged itself.
    pub fn block_charged_to(&self) -> Option<&str> {
        self.block_charged_to.as_deref()
    }

    /// Looks again whether the cgroup has its own block I/O, which may be enabled at any time.
    ///
    /// # Errors
    ///
    /// As [`Readers::open`].
    pub fn reopen_block(&mut self, hierarchies: &Hierarchies, path: &str) -> Result<(), ReadError> {
        self.block_charged_to = block::charged_to(hierarchies, path);
        if self.block.reader.is_none() && !self.block.opens_on_demand() {
            self.block = Slot::open(hierarchies, path)?;
        }
        Ok(())
    }

    /// Opens all files of a cgroup that is walked, because it is young.
    ///
    /// # Errors
    ///
    /// As [`Readers::open`].
    pub fn open_young(
        hierarchies: &Hierarchies,
        path: &str,
        layout: &WalkLayout,
    ) -> Result<Self, ReadError> {
        // First, as in `open_beside_walk`.
        let ids = layout.ids(path)?;
        Ok(Self { ids, ..Self::open(hierarchies, path)? })
    }

    /// The cgroup's ids in the hierarchies that are walked; none if it is read from files.
    pub fn ids(&self) -> &CgroupIds {
        &self.ids
    }

    /// Has the next reads go to all files.
    pub fn expire(&mut self) {
        self.cadence.expire();
        self.made_from = None;
        Arc::make_mut(&mut self.latest).memory.stat_read_at = None;
    }

    /// Settings, limits and peaks as they were read last.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.latest.settings
    }

    /// Reads settings for the first time, when the cgroup is found.
    ///
    /// # Errors
    ///
    /// As [`CgroupReader::read`].
    pub fn read_first_settings(&mut self, context: &mut ReadContext<'_>) -> Result<(), ReadError> {
        self.cadence.settings_read(context.now);
        match &mut self.settings.reader {
            Some(reader) => reader.read(context, &mut Arc::make_mut(&mut self.latest).settings),
            None => Ok(()),
        }
    }

    /// Reads block I/O, also where a program counts it; `None` without a source.
    ///
    /// # Errors
    ///
    /// As [`CgroupReader::read`].
    pub fn read_block(
        &mut self,
        context: &mut ReadContext<'_>,
    ) -> Result<Option<tare_parsers::io::IoUsage>, ReadError> {
        let mut usage = None;
        self.block.open_rest(context, &mut usage)?;
        let Some(reader) = &mut self.block.reader else { return Ok(None) };
        reader.read(context, &mut usage)?;
        Ok(usage)
    }

    /// Reads CPU time and plans by it what else is read.
    pub(super) fn read_cpu(
        &mut self,
        context: &mut ReadContext<'_>,
        out: &mut Readings,
    ) -> Result<(), ReadError> {
        let before = self.cpu_before;
        context.trusts_cpu_time = self.cadence.trusts_cpu_time(context.now);
        out.cpu = before;
        match self.cpu.refresh(context, &mut out.cpu) {
            Ok(true) => {
                out.cpu.never_below(&before);
                self.cpu_before = out.cpu;
            }
            unread => {
                out.cpu = CpuUsage::default();
                unread?;
            }
        }
        let used = out.cpu.usage_nanoseconds;
        self.cadence.plan(context.now, used.is_none() || used != before.usage_nanoseconds);
        Ok(())
    }

    pub(super) fn read_final_cpu(
        &mut self,
        context: &mut ReadContext<'_>,
        out: &mut Readings,
    ) -> Result<bool, ReadError> {
        let before = out.cpu;
        let read = self.read_cpu(context, out);
        let is_known = read.is_ok() && CpuFiles::is_known(&out.cpu);
        if !is_known {
            out.cpu = before;
        }
        read.map(|()| is_known)
    }
}

#[cfg(test)]
mod tests;
