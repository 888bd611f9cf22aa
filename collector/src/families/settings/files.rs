//! Settings from cgroup files.

use std::{
    cell::RefCell,
    ffi::OsString,
    fs, iter, mem,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    str,
    sync::Arc,
};

use tare_parsers::{
    cpu::parse_cpu_max,
    text::{named_number, number, words},
};

use crate::{
    cgroup::{Hierarchies, KeptFile, ReadError, Version, read_once, shared, shared_path},
    families::{
        memory::V1_UNLIMITED,
        readers::{CgroupReader, ReadContext},
        settings::{
            CpuSettings, MemorySettings, Settings,
            huge_pages::HugePagesFiles,
            plain::{PlainSettings, tighter},
        },
        walked::WalkLayout,
    },
};

/// What the longest name of these files takes, `memory.memsw.max_usage_in_bytes`, and the slash.
const FILE_NAME_BYTES: usize = 32;

/// Where the settings of one cgroup are. These files do not stay open: most are read once in
/// [`SETTINGS_INTERVAL`](crate::families::cadence::SETTINGS_INTERVAL).
#[derive(Debug)]
pub struct SettingsFiles {
    places: Arc<Places>,
    huge_pages: Option<HugePagesFiles>,
    /// The path of the cgroup, the same below each root.
    path: Arc<str>,
    /// The directory that is read.
    directory: PathBuf,
    /// A directory further up than that.
    above: PathBuf,
    /// The reading before the last, to be overwritten once no sample holds it.
    spare: Option<Arc<Settings>>,
    /// Whether a walk has found other plain settings before.
    is_changing: bool,
    /// Whether a walk has the settings that are plain numbers, so that only the rest is read here.
    only_rest: bool,
}

/// The hierarchies, the same for all cgroups.
#[derive(Debug, Default, PartialEq)]
struct Places {
    cpu: Option<Place>,
    cpuacct: Option<Place>,
    cpuset: Option<Place>,
    memory: Option<Place>,
    pids: Option<Place>,
    unified: Option<Place>,
}

/// A hierarchy that has the cgroup.
#[derive(Debug, PartialEq)]
struct Place {
    version: Version,
    root: Arc<Path>,
}

thread_local! {
    /// The last ones of this thread.
    static PLACES: RefCell<Arc<Places>> = RefCell::default();
}

impl CgroupReader for SettingsFiles {
    type Reading = Arc<Settings>;

    fn is_known(reading: &Self::Reading) -> bool {
        **reading != Settings::default()
    }

    /// The directories are only named here; which files they have shows when they are read.
    fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
        Ok(Some(Self {
            places: Places::of(hierarchies),
            huge_pages: HugePagesFiles::new(hierarchies, path),
            path: shared_path(path),
            directory: PathBuf::new(),
            above: PathBuf::new(),
            spare: None,
            is_changing: false,
            only_rest: false,
        }))
    }

    fn is_due(context: &ReadContext<'_>) -> bool {
        context.due.settings
    }

    /// A cgroup that was removed meanwhile keeps its last reading: its other numbers were read a
    /// moment ago.
    fn read(
        &mut self,
        context: &mut ReadContext<'_>,
        latest: &mut Arc<Settings>,
    ) -> Result<(), ReadError> {
        match self.refresh(context.buffer, latest) {
            Err(ReadError::Vanished) => Ok(()),
            read => read,
        }
    }

    fn files(&self) -> impl Iterator<Item = &KeptFile> {
        iter::empty()
    }

    fn opens_on_demand(layout: &WalkLayout) -> bool {
        layout.settings.is_walked()
    }

    /// Those that are texts or lists: CPU sets, CPU time by CPU, huge pages.
    fn open_beside_walk(
        hierarchies: &Hierarchies,
        path: &str,
        _: &WalkLayout,
    ) -> Result<Option<Self>, ReadError> {
        let files = Self::open(hierarchies, path)?;
        Ok(files.map(|files| Self { only_rest: true, ..files }))
    }

    fn from_record(
        beside: Option<&mut Self>,
        context: &mut ReadContext<'_>,
        latest: &mut Arc<Settings>,
    ) -> Result<bool, ReadError> {
        let Some(records) = context.walked.as_ref().map(|walked| walked.records) else {
            return Ok(false);
        };
        let (Some(files), true) = (beside, records.layout().settings.is_walked()) else {
            return Ok(false);
        };
        let Some(plain) = PlainSettings::of(&records) else { return Ok(false) };
        if context.due.settings && files.only_rest {
            files.read(context, latest)?;
        }
        if PlainSettings::from(&**latest) != plain {
            files.replace(latest, &plain);
        }
        Ok(true)
    }
}

impl SettingsFiles {
    /// Reads all files, and returns the first error of one that is there and cannot be read. When
    /// the cgroup was removed, the last reading stays.
    fn refresh(
        &mut self,
        buffer: &mut Vec<u8>,
        latest: &mut Arc<Settings>,
    ) -> Result<(), ReadError> {
        let first = self.spare.is_none();
        let mut spare = self.spare.take().unwrap_or_default();
        if Arc::get_mut(&mut spare).is_none() {
            spare = Arc::default();
        }
        let mut faults = Faults(None);
        if let Some(out) = Arc::get_mut(&mut spare) {
            if self.only_rest {
                PlainSettings::from(&**latest).write_to(out);
            }
            self.read_all(buffer, out, &mut faults);
        }
        if !self.is_there() {
            return Err(ReadError::Vanished);
        }
        if self.only_rest {
            // What a walk leaves to be read is read too seldom to keep memory for it.
            self.directory = PathBuf::new();
            if *spare != **latest {
                *latest = spare;
            }
        } else {
            let before = mem::replace(latest, spare);
            // The second reading finds all the memory that it needs.
            self.spare = Some(if first { Arc::new(Settings::clone(latest)) } else { before });
        }
        faults.0.map_or(Ok(()), Err)
    }

    /// Changes plain settings, in the memory of the reading before where no sample holds it.
    fn replace(&mut self, latest: &mut Arc<Settings>, plain: &PlainSettings) {
        let mut next = self.spare.take().unwrap_or_default();
        match Arc::get_mut(&mut next) {
            Some(out) => out.clone_from(latest),
            None => next = Arc::new(Settings::clone(latest)),
        }
        if let Some(out) = Arc::get_mut(&mut next) {
            plain.write_to(out);
        }
        // The first reading is replaced at once, and the next ones of an idle cgroup never.
        let before = mem::replace(latest, next);
        self.spare = self.is_changing.then_some(before);
        self.is_changing = true;
    }

    /// Whether the cgroup is still there: its files vanish one by one.
    fn is_there(&mut self) -> bool {
        let Self { path, directory, places, .. } = self;
        let places = [&places.memory, &places.cpu, &places.pids, &places.unified];
        let mut places = places.into_iter().flatten();
        places.any(|place| fs::metadata(place.enter(path, directory)).is_ok())
    }

    fn read_all(&mut self, buffer: &mut Vec<u8>, out: &mut Settings, faults: &mut Faults) {
        let Self { path, directory, above, places, .. } = self;
        let mut reader = Reader { buffer, faults };
        if let Some(cpu) = places.cpu.as_ref().filter(|_| !self.only_rest) {
            reader.cpu(cpu, cpu.enter(path, directory), above, &mut out.cpu);
        }
        out.per_cpu_nanoseconds.clear();
        if let Some(cpuacct) = &places.cpuacct
            && let Some(text) = reader.text(cpuacct.enter(path, directory), "cpuacct.usage_percpu")
        {
            out.per_cpu_nanoseconds.extend(words(text).map_while(number));
        }
        if let Some(cpuset) = &places.cpuset {
            let [effective_cpus, effective_mems] = match cpuset.version {
                Version::V1 => ["cpuset.effective_cpus", "cpuset.effective_mems"],
                Version::V2 => ["cpuset.cpus.effective", "cpuset.mems.effective"],
            };
            let directory = cpuset.enter(path, directory);
            reader.list(directory, "cpuset.cpus", &mut out.cpu.cpus);
            reader.list(directory, effective_cpus, &mut out.cpu.effective_cpus);
            reader.list(directory, "cpuset.mems", &mut out.cpu.mems);
            reader.list(directory, effective_mems, &mut out.cpu.effective_mems);
            out.cpu.memory_migrate = match cpuset.version {
                Version::V1 => reader.limit(directory, "cpuset.memory_migrate").map(|it| it != 0),
                Version::V2 => None,
            };
        }
        if let Some(files) = &mut self.huge_pages
            && let Err(fault) = files.read_huge_pages(reader.buffer, &mut out.huge_pages)
        {
            reader.faults.keep(fault);
        }
        if self.only_rest {
            return;
        }
        if let Some(memory) = &places.memory {
            let directory = memory.enter(path, directory);
            out.memory = match memory.version {
                Version::V1 => reader.memory_v1(directory),
                Version::V2 => reader.memory_v2(memory, directory, above),
            };
        }
        if let Some(pids) = &places.pids {
            let directory = pids.enter(path, directory);
            out.pids_limit = reader.limit(directory, "pids.max");
            out.pids_peak = reader.limit(directory, "pids.peak");
            out.pids_limit_hits =
                reader.text(directory, "pids.events").and_then(|text| named_number(text, "max"));
        }
        if let Some(unified) = &places.unified
            && let Some(text) = reader.text(unified.enter(path, directory), "cgroup.stat")
        {
            out.descendants = named_number(text, "nr_descendants");
            out.dying_descendants = named_number(text, "nr_dying_descendants");
        }
    }
}

impl Places {
    /// The same as those of the cgroup before, if they are.
    fn of(hierarchies: &Hierarchies) -> Arc<Self> {
        let place = |name| {
            let controller = hierarchies.controller(name)?;
            Some(Place::new(controller.version, controller.root))
        };
        let unified = hierarchies.unified.as_deref();
        let places = Self {
            cpu: place("cpu"),
            cpuacct: place("cpuacct").filter(|place| place.version == Version::V1),
            cpuset: place("cpuset"),
            memory: place("memory"),
            pids: place("pids"),
            unified: unified.map(|root| Place::new(Version::V2, root)),
        };
        PLACES.with_borrow_mut(|known| {
            if **known != places {
                *known = Arc::new(places);
            }
            Arc::clone(known)
        })
    }
}

impl Place {
    fn new(version: Version, root: &Path) -> Self {
        Self { version, root: shared(root) }
    }

    /// The directory of the cgroup at a path, in memory that is used again.
    fn enter<'a>(&self, path: &str, directory: &'a mut PathBuf) -> &'a mut PathBuf {
        directory.clear();
        directory.reserve(self.root.as_os_str().len() + path.len() + FILE_NAME_BYTES);
        directory.push(&*self.root);
        directory.push(path.trim_start_matches('/'));
        directory
    }

    /// Visits the directories above this one, up to the root.
    fn upwards(&self, directory: &Path, above: &mut PathBuf, mut visit: impl FnMut(&mut PathBuf)) {
        above.clear();
        above.push(directory);
        while above.as_os_str().len() > self.root.as_os_str().len() && above.pop() {
            visit(above);
        }
    }
}

/// Cuts a path off. `PathBuf::pop` parses it, which took a third of the instructions of a sample in
/// which everything was due.
fn truncate(path: &mut PathBuf, length: usize) {
    let mut bytes = mem::take(path).into_os_string().into_vec();
    bytes.truncate(length);
    *path = OsString::from_vec(bytes).into();
}

/// The first fault, so that the others do not cost their numbers.
struct Faults(Option<ReadError>);

impl Faults {
    fn keep(&mut self, fault: ReadError) {
        if !matches!(fault, ReadError::Vanished) {
            self.0.get_or_insert(fault);
        }
    }
}

struct Reader<'a> {
    buffer: &'a mut Vec<u8>,
    faults: &'a mut Faults,
}

impl Reader<'_> {
    /// The text of a file; `None` if it is not there.
    fn text(&mut self, directory: &mut PathBuf, file: &str) -> Option<&[u8]> {
        let length = directory.as_os_str().len();
        directory.push(file);
        let read = read_once(directory, self.buffer);
        truncate(directory, length);
        match read {
            Ok(text) => text,
            Err(fault) => {
                self.faults.keep(fault);
                None
            }
        }
    }

    /// A number; `None` for none (`max` on v2, `-1` on v1).
    fn limit(&mut self, directory: &mut PathBuf, file: &str) -> Option<u64> {
        number(self.text(directory, file)?.trim_ascii())
    }

    fn list(&mut self, directory: &mut PathBuf, file: &str, out: &mut String) {
        out.clear();
        let text = self.text(directory, file).and_then(|text| str::from_utf8(text).ok());
        out.push_str(text.unwrap_or_default().trim());
    }

    fn cpu(
        &mut self,
        cpu: &Place,
        directory: &mut PathBuf,
        above: &mut PathBuf,
        out: &mut CpuSettings,
    ) {
        let version = cpu.version;
        (out.quota_microseconds, out.period_microseconds) = self.bandwidth(version, directory);
        match version {
            Version::V1 => {
                out.burst_microseconds = self.limit(directory, "cpu.cfs_burst_us");
                out.shares = self.limit(directory, "cpu.shares");
            }
            Version::V2 => {
                out.burst_microseconds = self.limit(directory, "cpu.max.burst");
                out.weight = self.limit(directory, "cpu.weight");
            }
        }
        let own = out.quota_microseconds.zip(out.period_microseconds);
        out.tightest = own.and_then(|own| tighter(None, own));
        cpu.upwards(directory, above, |directory| {
            if let (Some(quota), Some(period)) = self.bandwidth(version, directory) {
                out.tightest = tighter(out.tightest, (quota, period));
            }
        });
    }

    /// Quota and period in microseconds.
    fn bandwidth(
        &mut self,
        version: Version,
        directory: &mut PathBuf,
    ) -> (Option<u64>, Option<u64>) {
        match version {
            Version::V1 => (
                self.limit(directory, "cpu.cfs_quota_us"),
                self.limit(directory, "cpu.cfs_period_us"),
            ),
            Version::V2 => self.text(directory, "cpu.max").map_or((None, None), parse_cpu_max),
        }
    }

    fn memory_v1(&mut self, directory: &mut PathBuf) -> MemorySettings {
        let mut limit = |file| self.limit(directory, file).filter(|limit| *limit < V1_UNLIMITED);
        MemorySettings {
            max_bytes: limit("memory.limit_in_bytes"),
            soft_bytes: limit("memory.soft_limit_in_bytes"),
            memory_and_swap_max_bytes: limit("memory.memsw.limit_in_bytes"),
            memory_and_swap_peak_bytes: limit("memory.memsw.max_usage_in_bytes"),
            memory_and_swap_limit_hits: limit("memory.memsw.failcnt"),
            ..MemorySettings::default()
        }
    }

    fn memory_v2(
        &mut self,
        memory: &Place,
        directory: &mut PathBuf,
        above: &mut PathBuf,
    ) -> MemorySettings {
        let mut limit = |file| self.limit(directory, file);
        let mut out = MemorySettings {
            max_bytes: limit("memory.max"),
            high_bytes: limit("memory.high"),
            low_bytes: limit("memory.low"),
            min_bytes: limit("memory.min"),
            swap_max_bytes: limit("memory.swap.max"),
            swap_high_bytes: limit("memory.swap.high"),
            swap_peak_bytes: limit("memory.swap.peak"),
            ..MemorySettings::default()
        };
        out.tightest_max_bytes = out.max_bytes;
        memory.upwards(directory, above, |directory| {
            let limits = [out.tightest_max_bytes, self.limit(directory, "memory.max")];
            out.tightest_max_bytes = limits.into_iter().flatten().min();
        });
        out
    }
}

#[cfg(test)]
mod tests;
