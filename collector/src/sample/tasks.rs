//! The phase of a sample that has the kernel go over all tasks, at a pace of its own.

use std::{
    mem,
    path::{Path, PathBuf},
    sync::Arc,
};

use tare_ebpf::{BlockedTask, Cell, Key, LiveTasks, TaskTimes};

use crate::{
    clock::Moment,
    families::{
        cadence::PassCadence,
        tasks::{Loads, TasksReading, WAITING_MAX, WaitingTask},
    },
    hashing::HashMap,
    kernel::{Kernel, TasksError},
    process,
    registry::{Counters, InstanceId, Registry},
    sample::Usage,
    small_files,
};

/// Counts tasks.
#[derive(Debug)]
pub(super) struct TaskReader {
    proc_root: PathBuf,
    cadence: PassCadence,
    instances: HashMap<InstanceId, Instance>,
    /// What the last pass found, before it is given to the instances.
    found: HashMap<InstanceId, Found>,
    /// Whether the last pass came to its end.
    is_known: bool,
}

/// What is kept of an instance from pass to pass.
#[derive(Debug)]
struct Instance {
    loads: Loads,
    reading: Arc<TasksReading>,
}

#[derive(Debug, Default)]
struct Found {
    live: LiveTasks,
    times: TaskTimes,
    waiting: Vec<BlockedTask>,
}

impl TaskReader {
    pub(super) fn new(proc_root: &Path) -> Self {
        Self {
            proc_root: proc_root.to_owned(),
            cadence: PassCadence::of_tasks(),
            instances: HashMap::default(),
            found: HashMap::default(),
            is_known: false,
        }
    }

    /// Goes over all tasks if that is due, and gives each usage the last reading.
    pub(super) fn read(
        &mut self,
        registry: &Registry,
        kernel: &mut Kernel,
        now: Moment,
        usages: &mut [Usage],
    ) {
        if kernel.tasks.is_ok() && self.cadence.is_due(now.instant) {
            self.pass(registry, kernel, now);
        }
        for usage in usages {
            let known = self.instances.get(&usage.instance.id).filter(|_| self.is_known);
            let known = known.map(|known| &known.reading);
            match (&mut usage.tasks, known) {
                (Some(old), Some(new)) if Arc::ptr_eq(old, new) => {}
                (tasks, new) => *tasks = new.cloned(),
            }
        }
    }

    /// Forgets instances that are gone.
    pub(super) fn retain(&mut self, is_alive: impl Fn(InstanceId) -> bool) {
        self.instances.retain(|id, _| is_alive(*id));
    }

    fn pass(&mut self, registry: &Registry, kernel: &mut Kernel, now: Moment) {
        let begun = process::cpu_time();
        // One that has no tasks any more is not found.
        self.found.extend(self.instances.keys().map(|id| (*id, Found::default())));
        // Before the pass: a task that goes meanwhile is rather in none of the two than in both.
        let found = match self.find_gone(registry, kernel) {
            true => kernel.find_tasks(),
            false => Err(TasksError::Unreadable),
        };
        match found {
            Ok(()) => {
                self.find_alive(registry, kernel);
                self.take(kernel, now);
                self.is_known = true;
            }
            Err(error) => {
                tracing::debug!(%error, "the tasks were not counted");
                self.found = HashMap::default();
                self.is_known = false;
            }
        }
        let took = process::cpu_time().saturating_sub(begun);
        tracing::debug!(microseconds = took.as_micros(), "a pass over the tasks");
        self.cadence.done(now.instant, took);
    }

    /// Returns whether all could be read.
    fn find_gone(&mut self, registry: &Registry, kernel: &Kernel) -> bool {
        for tracked in registry.tracked() {
            if let Some(removed) = &tracked.removed {
                self.of(tracked.instance.id).times = removed.tasks;
            }
        }
        let Ok(tasks) = &kernel.tasks else { return true };
        tasks.gone.for_each(|_, key, times| {
            if let Some(owner) = registry.owner(Counters::Net, key.cgroup_id) {
                self.of(owner).times.add(times);
            }
        })
    }

    fn find_alive(&mut self, registry: &Registry, kernel: &Kernel) {
        let Ok(tasks) = &kernel.tasks else { return };
        tasks.for_each_alive(|key: Key, live| {
            if let Some(owner) = registry.owner(Counters::Net, key.cgroup_id) {
                let found = self.of(owner);
                found.live.add(live);
                found.times.add(&live.times);
            }
        });
        for task in tasks.blocked() {
            if let Some(owner) = registry.owner(Counters::Net, task.cgroup_id) {
                self.of(owner).waiting.push(task);
            }
        }
    }

    fn of(&mut self, id: InstanceId) -> &mut Found {
        self.found.entry(id).or_default()
    }

    /// Gives each instance what was found of it.
    fn take(&mut self, kernel: &Kernel, now: Moment) {
        let latest = kernel.tasks.as_ref().map_or(0, |tasks| tasks.pass().latest);
        let Self { found, instances, proc_root, .. } = self;
        // Its memory would lie idle until the next pass.
        for (id, Found { live, times, mut waiting }) in mem::take(found) {
            let known = instances.remove(&id);
            let before = known.as_ref().map(|known| &*known.reading);
            waiting.sort_unstable_by_key(|task| task.last_run);
            waiting.truncate(WAITING_MAX);
            let waiting =
                waiting.iter().map(|task| name(task, latest, before, proc_root)).collect();
            // For some milliseconds a task that ends is in neither count.
            let times = before.map_or(times, |before| max(&before.times, &times));
            let waiting_for_cpu = before.and_then(|before| {
                let waited = times.wait_nanoseconds - before.times.wait_nanoseconds;
                let elapsed = now.instant.saturating_duration_since(before.read_at.instant);
                let elapsed = elapsed.as_nanos();
                (elapsed > 0).then(|| waited as f64 / elapsed as f64)
            });
            let mut loads = known.map(|known| known.loads).unwrap_or_default();
            let load = loads.add(live.load, now.instant);
            let reading =
                TasksReading { read_at: now, live, times, load, waiting_for_cpu, waiting };
            instances.insert(id, Instance { loads, reading: Arc::new(reading) });
        }
    }
}

/// Word by word the greater.
fn max(a: &TaskTimes, b: &TaskTimes) -> TaskTimes {
    let mut most = *a;
    for (most, word) in most.words_mut().iter_mut().zip(b.words()) {
        *most = (*most).max(*word);
    }
    most
}

/// A task in uninterruptible sleep, with its name and the function that it waits in. One that has
/// not run since the pass before has the same.
fn name(
    task: &BlockedTask,
    latest: u64,
    before: Option<&TasksReading>,
    proc_root: &Path,
) -> WaitingTask {
    let (pid, tid) = ((task.ids >> 32) as u32, task.ids as u32);
    let nanoseconds = latest.saturating_sub(task.last_run);
    let io = task.io_wait != 0;
    let known = before.and_then(|before| {
        let mut waiting = before.waiting.iter();
        let known = waiting.find(|known| (known.pid, known.tid) == (pid, tid))?;
        (known.last_run == task.last_run).then_some(known)
    });
    if let Some(known) = known {
        return WaitingTask { nanoseconds, io, ..known.clone() };
    }
    let directory = proc_root.join(format!("{pid}/task/{tid}"));
    let text = |file| small_files::read_text(&directory.join(file));
    WaitingTask {
        pid,
        tid,
        command: text("comm"),
        last_run: task.last_run,
        nanoseconds,
        io,
        // `0` is what the kernel says to who may not know.
        function: text("wchan").filter(|name| name != "0"),
    }
}
