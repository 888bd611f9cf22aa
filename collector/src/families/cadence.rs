//! When each family of numbers is read from files: one decision for all families, pure.
//!
//! A cgroup that used no CPU time since the last sample has hardly changed, so most of its files
//! are not read again. What can change without it running (tasks moved in, a freeze, tasks that
//! wait for I/O, limits set from outside) is read at a pace of its own.

use std::time::{Duration, Instant};

use crate::{clock::Moment, recurring::rest_after};

/// How soon an idle cgroup's tasks, state and pressure are read again, and everything the first
/// time after it ran.
pub const IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// How soon everything of a cgroup is read that stays idle.
pub const IDLE_REST_INTERVAL: Duration = Duration::from_secs(60);

/// How often settings, limits and peaks are read of a cgroup that runs.
///
/// Opening and closing a file costs ten times as much as reading one that is open, and one that
/// stays open costs a page of the kernel's memory.
pub const SETTINGS_INTERVAL: Duration = Duration::from_secs(30);

/// The same for a cgroup that did not run since they were last read.
pub const IDLE_SETTINGS_INTERVAL: Duration = Duration::from_secs(120);

/// The kernel updates pressure every 2 s (`kernel/sched/psi.c`, `PSI_FREQ`): until then a file
/// repeats itself. A little less, so that a tick that comes early is not lost.
pub const PRESSURE_INTERVAL: Duration = Duration::from_millis(1900);

/// How often the kernel goes over all tasks: as often as it counts the host's load average
/// (`LOAD_FREQ`, `include/linux/sched/loadavg.h`). A little less, so that a tick that comes early
/// is not lost.
pub const PASS_INTERVAL: Duration = Duration::from_millis(4900);

/// The same while there are so many tasks that a pass takes more than its share.
pub const PASS_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// How often the kernel goes over all open files, of which there are many more than tasks.
pub const FILES_INTERVAL: Duration = Duration::from_millis(9900);

/// The same while there are so many that a pass takes more than its share.
pub const FILES_INTERVAL_MAX: Duration = Duration::from_secs(600);

/// What is due to be read of one cgroup, besides CPU time and the size of its memory, which are
/// read in every sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// All of memory, although its size is the same as before.
    pub memory: bool,
    /// Tasks and state.
    pub tasks: bool,
    /// Pressure.
    pub pressure: bool,
    /// Settings, limits and peaks.
    pub settings: bool,
    /// Processes, and memory by NUMA node: with the settings, and in the first sample, before
    /// which settings may have been read.
    pub details: bool,
}

/// The pace at which one cgroup is read.
#[derive(Debug)]
pub struct Cadence {
    due: Due,
    /// When everything is due although the cgroup is idle.
    all_at: Option<Instant>,
    tasks_at: Option<Instant>,
    pressure_at: Option<Instant>,
    settings_at: Option<Instant>,
    ran_since_settings: bool,
    offset: Offset,
}

/// How far into an interval a cgroup's turn comes, in sixteenths: spreads the readings of many
/// cgroups over several samples.
#[derive(Clone, Copy, Debug)]
struct Offset(u32);

impl Cadence {
    /// A cgroup of which nothing was read yet: everything is due.
    pub fn new(path: &str) -> Self {
        Self {
            due: Due { memory: true, tasks: true, pressure: true, settings: true, details: true },
            all_at: None,
            tasks_at: None,
            pressure_at: None,
            settings_at: None,
            ran_since_settings: false,
            offset: Offset(path.bytes().fold(0, |sum, byte| (sum + u32::from(byte)) % 16) + 1),
        }
    }

    /// Whether CPU time that is the same as before proves that the cgroup's other CPU files are
    /// the same, too.
    pub fn trusts_cpu_time(&self, now: Instant) -> bool {
        self.all_at.is_some_and(|at| now < at)
    }

    /// Whether anything would be due of a cgroup that did not run.
    pub fn is_any_due(&self, now: Instant) -> bool {
        !self.trusts_cpu_time(now) || self.are_settings_due(now)
    }

    /// Decides what is due, once it is known whether the cgroup `ran` since the last sample.
    pub fn plan(&mut self, now: Instant, ran: bool) -> Due {
        let is_first = self.all_at.is_none();
        let all = ran || !self.trusts_cpu_time(now);
        if all {
            let wait = if ran { IDLE_INTERVAL } else { IDLE_REST_INTERVAL };
            self.all_at =
                Some(now + if is_first { self.offset.of(IDLE_REST_INTERVAL) } else { wait });
        }
        let tasks = all || is_due(self.tasks_at, now);
        if tasks {
            let wait = if is_first { self.offset.of(IDLE_INTERVAL) } else { IDLE_INTERVAL };
            self.tasks_at = Some(now + wait);
        }
        let pressure = tasks && is_due(self.pressure_at, now);
        if pressure {
            self.pressure_at = Some(now + PRESSURE_INTERVAL);
        }
        self.ran_since_settings |= ran;
        let settings = self.plan_settings(now);
        let details = settings || is_first;
        self.due = Due { memory: all, tasks, pressure, settings, details };
        self.due
    }

    /// What the last plan decided.
    pub fn due(&self) -> Due {
        self.due
    }

    /// Settings were read outside of a plan, as when the cgroup was first seen.
    pub fn settings_read(&mut self, now: Instant) {
        let wait = match self.settings_at {
            None => self.offset.of(SETTINGS_INTERVAL),
            Some(_) => SETTINGS_INTERVAL,
        };
        self.settings_at = Some(now + wait);
        self.ran_since_settings = false;
    }

    /// Has everything be due in the next plan.
    pub fn expire(&mut self) {
        self.all_at = None;
        self.pressure_at = None;
        self.settings_at = None;
    }

    fn are_settings_due(&self, now: Instant) -> bool {
        let grace = match self.ran_since_settings {
            true => Duration::ZERO,
            false => IDLE_SETTINGS_INTERVAL - SETTINGS_INTERVAL,
        };
        is_due(self.settings_at.map(|at| at + grace), now)
    }

    fn plan_settings(&mut self, now: Instant) -> bool {
        let due = self.are_settings_due(now);
        if due {
            self.settings_read(now);
        }
        due
    }
}

/// The pace of passes over all tasks, or over all their open files.
#[derive(Clone, Copy, Debug)]
pub struct PassCadence {
    next_at: Option<Instant>,
    least: Duration,
    most: Duration,
}

impl PassCadence {
    /// Of passes over all tasks.
    pub fn of_tasks() -> Self {
        Self { next_at: None, least: PASS_INTERVAL, most: PASS_INTERVAL_MAX }
    }

    /// Of passes over all open files.
    pub fn of_open_files() -> Self {
        Self { next_at: None, least: FILES_INTERVAL, most: FILES_INTERVAL_MAX }
    }

    /// Whether it is time for the next one.
    pub fn is_due(&self, now: Instant) -> bool {
        is_due(self.next_at, now)
    }

    /// A pass that began now took this much CPU time. Two kinds of passes share the thousandth of
    /// a CPU.
    pub fn done(&mut self, now: Instant, took: Duration) {
        let wait = rest_after(took.saturating_mul(2)).clamp(self.least, self.most);
        self.next_at = Some(now + wait);
    }
}

impl Offset {
    fn of(self, interval: Duration) -> Duration {
        interval * self.0 / 16
    }
}

/// Whether a time has come; no time is now.
fn is_due(at: Option<Instant>, now: Instant) -> bool {
    at.is_none_or(|at| now >= at)
}

/// Whether `memory.stat`, the longest file, is to be read: not sooner than an interval after the
/// last time.
pub fn is_memory_stat_due(read_at: Option<Moment>, interval: Duration, now: Instant) -> bool {
    read_at.is_none_or(|at| now.saturating_duration_since(at.instant) >= interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// What is due second by second of a cgroup that runs in some of them.
    fn due(ran: impl Fn(u64) -> bool, until: u64) -> Vec<Due> {
        let start = Instant::now();
        let mut cadence = Cadence::new("/docker/abc");
        (0..until).map(|second| cadence.plan(start + seconds(second), ran(second))).collect()
    }

    fn count(all: &[Due], which: fn(&Due) -> bool) -> usize {
        all.iter().filter(|due| which(due)).count()
    }

    #[test]
    fn everything_of_a_running_cgroup_is_read_but_for_what_the_kernel_updates_later() {
        let all = due(|_| true, 60);
        assert_eq!(count(&all, |due| due.memory && due.tasks), 60);
        assert_eq!(count(&all, |due| due.pressure), 30, "the kernel updates it every 2 s");
        assert_eq!(count(&all, |due| due.settings), 3, "at 0 s, at its turn, 30 s later");
    }

    #[test]
    fn an_idle_cgroup_is_read_at_a_pace_of_its_own() {
        let all = due(|_| false, 300);
        let memory = count(&all, |due| due.memory);
        assert!((5..=7).contains(&memory), "once a minute: {memory}");
        let tasks = count(&all, |due| due.tasks);
        assert!((30..=36).contains(&tasks), "every 10 s: {tasks}");
        assert_eq!(count(&all, |due| due.pressure), tasks);
        let settings = count(&all, |due| due.settings);
        assert!((3..=4).contains(&settings), "every 2 minutes: {settings}");
    }

    #[test]
    fn a_cgroup_that_runs_again_is_read_whole_at_once() {
        let all = due(|second| second == 5, 20);
        assert!(all[5].memory && all[5].tasks);
        assert!(!all[6].memory, "it is idle again");
        assert!(all[15].memory, "read whole once more, 10 s after it ran");
    }

    #[test]
    fn what_was_expired_is_due_at_the_next_plan() {
        let start = Instant::now();
        let mut cadence = Cadence::new("/docker/abc");
        cadence.plan(start, false);
        let idle = cadence.plan(start + seconds(1), false);
        let none =
            Due { memory: false, tasks: false, pressure: false, settings: false, details: false };
        assert_eq!(idle, none);
        cadence.expire();
        let all = Due { memory: true, tasks: true, pressure: true, settings: true, details: true };
        assert_eq!(cadence.plan(start + seconds(2), false), all);
        assert_eq!(cadence.due(), all);
    }

    #[test]
    fn settings_are_read_at_first_then_in_turn_and_less_often_of_an_idle_cgroup() {
        let start = Instant::now();
        let mut cadence = Cadence::new("/pod/abc");
        let mut due_at = |at, ran| cadence.plan(start + seconds(at), ran).settings;
        assert!(due_at(0, true));
        assert!(!due_at(0, true));
        assert!(due_at(30, true));
        assert!(!due_at(59, true));
        assert!(due_at(60, true));
        assert!(!due_at(149, false), "it did not run");
        assert!(due_at(149, true), "it ran");
        assert!(!due_at(268, false), "it did not run");
        assert!(due_at(269, false), "settings of an idle cgroup are not trusted for longer");
    }

    #[test]
    fn settings_that_were_read_before_the_first_sample_are_not_read_again() {
        let start = Instant::now();
        let mut cadence = Cadence::new("/docker/abc");
        cadence.settings_read(start);
        let due = cadence.plan(start, true);
        assert!(!due.settings && due.details);
        assert!(!cadence.plan(start + seconds(1), true).details);
    }

    #[test]
    fn passes_over_all_tasks_take_a_thousandth_of_a_cpu_at_most() {
        let (start, mut cadence) = (Instant::now(), PassCadence::of_tasks());
        let mut next = |took| {
            cadence.done(start, Duration::from_millis(took));
            let mut seconds = (0..).map(seconds);
            seconds.find(|after| cadence.is_due(start + *after)).unwrap().as_secs()
        };
        assert_eq!(next(0), 5);
        assert_eq!(next(2), 5);
        assert_eq!(next(6), 12);
        assert_eq!(next(1000), 60, "but they do not stop");
        assert!(PassCadence::of_open_files().is_due(start));
    }

    #[test]
    fn turns_of_different_cgroups_differ() {
        let turn = |path: &str| Cadence::new(path).offset.of(seconds(16)).as_secs();
        let turns: std::collections::BTreeSet<_> =
            (0..100).map(|container| turn(&format!("/docker/{container}"))).collect();
        assert!(turns.len() > 8 && turns.iter().all(|turn| (1..=16).contains(turn)), "{turns:?}");
    }

    #[test]
    fn a_memory_stat_is_read_again_after_its_interval() {
        let now = Instant::now();
        let is_due = |age, interval| {
            let read_at = now.checked_sub(seconds(age));
            let time = jiff::Timestamp::UNIX_EPOCH;
            let read_at = read_at.map(|instant| Moment { instant, time });
            is_memory_stat_due(read_at, seconds(interval), now)
        };
        assert!(is_due(0, 0), "in every sample");
        assert!(!is_due(9, 10) && is_due(10, 10));
        assert!(is_memory_stat_due(None, seconds(10), now), "it was never read");
    }
}
