//! What Tare itself may use, and what it gives up to keep to it.
//!
//! In this order: histograms; the history; nine of ten readings of `memory.stat`, the longest of the
//! files; then the interval doubles, and again. What was given up comes back, one thing at a time, when there has been room for it for a while.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{cli::MAX_INTERVAL, config::Limits};

/// CPU time is judged over so long, or so many intervals.
const WINDOW: Duration = Duration::from_secs(10);
const WINDOW_INTERVALS: u32 = 5;

/// Windows with room after which something comes back.
const CALM_WINDOWS: u32 = 6;

/// From this level on there are no histograms.
const NO_HISTOGRAMS: u32 = 1;

/// From this level on there is no history. Nothing beyond it saves memory.
const NO_HISTORY: u32 = 2;

/// From this level on `memory.stat` is read once in so many intervals.
const SELDOM_MEMORY_STAT: u32 = 3;
const INTERVALS_PER_MEMORY_STAT: u32 = 10;

/// The interval is 64 times as long at most.
const LEVEL_MAX: u32 = SELDOM_MEMORY_STAT + 6;

/// How far Tare is from its limits.
#[derive(Debug)]
pub(super) struct Budget {
    level: u32,
    calm: u32,
    window: Option<(Instant, f64)>,
    /// Whether it was told that nothing is left to give up.
    told: bool,
}

/// How a window was, compared with the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Window {
    /// Used share of the CPU time that is allowed.
    cpu: f64,
    /// The same for memory.
    memory: f64,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, memory } = self;
        write!(
            f,
            "{:.0}% of the CPU time and {:.0}% of the memory of the budget were used",
            cpu * 100.0,
            memory * 100.0
        )
    }
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { level: 0, calm: 0, window: None, told: false }
    }

    /// How much was given up, from 0.
    pub(super) fn level(&self) -> u32 {
        self.level
    }

    pub(super) fn has_histograms(&self) -> bool {
        self.level < NO_HISTOGRAMS
    }

    pub(super) fn has_history(&self) -> bool {
        self.level < NO_HISTORY
    }

    /// The time between two readings of `memory.stat` that the limits allow; 0 is in each sample.
    /// `interval` is the wanted one between samples.
    pub(super) fn memory_stat_interval(&self, wanted: Duration, interval: Duration) -> Duration {
        if self.level < SELDOM_MEMORY_STAT {
            return wanted;
        }
        wanted.max(interval.saturating_mul(INTERVALS_PER_MEMORY_STAT).min(MAX_INTERVAL))
    }

    /// The interval that the limits allow.
    pub(super) fn interval(&self, wanted: Duration) -> Duration {
        let doubled = 1 << self.level.saturating_sub(SELDOM_MEMORY_STAT);
        wanted.saturating_mul(doubled).min(wanted.max(MAX_INTERVAL))
    }

    /// Judges what was used by now; whether something is given up, or comes back.
    pub(super) fn judge(
        &mut self,
        limits: Limits,
        interval: Duration,
        now: Instant,
        cpu_seconds: Option<f64>,
        resident_bytes: Option<u64>,
    ) -> bool {
        let cpu_now = cpu_seconds.unwrap_or(0.0);
        let Some((begun, cpu_then)) = self.window else {
            self.window = Some((now, cpu_now));
            return false;
        };
        let elapsed = now.saturating_duration_since(begun);
        if elapsed < WINDOW.max(interval * WINDOW_INTERVALS) {
            return false;
        }
        self.window = Some((now, cpu_now));
        let allowed = limits.cpu_millionths.map(|limit| f64::from(limit) / 1e6);
        let used = (cpu_now - cpu_then) / elapsed.as_secs_f64();
        let share = |used: f64, allowed: Option<f64>| allowed.map_or(0.0, |allowed| used / allowed);
        let window = Window {
            cpu: share(used, allowed),
            memory: share(
                resident_bytes.unwrap_or(0) as f64,
                limits.memory_bytes.map(|limit| limit as f64),
            ),
        };
        let before = self.level;
        self.turn(window);
        if self.level != before {
            tracing::warn!("{window}: tare_budget_level goes from {before} to {}", self.level);
        }
        self.level != before
    }

    fn turn(&mut self, window: Window) {
        let over_cpu = window.cpu > 1.0 && self.level < LEVEL_MAX;
        let over_memory = window.memory > 1.0 && self.level < NO_HISTORY;
        if over_cpu || over_memory {
            (self.level, self.calm) = (self.level + 1, 0);
            return;
        }
        if (window.cpu > 1.0 || window.memory > 1.0) && !std::mem::replace(&mut self.told, true) {
            tracing::warn!("{window}, and nothing is left that could be given up");
        }
        // Half of the interval takes twice the time.
        let room = window.cpu < 0.4 && window.memory < 0.8;
        self.calm = if room { self.calm + 1 } else { 0 };
        if self.calm >= CALM_WINDOWS && self.level > 0 {
            (self.level, self.calm) = (self.level - 1, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: Window = Window { cpu: 1.1, memory: 0.5 };
    const MEMORY: Window = Window { cpu: 0.5, memory: 1.1 };
    const ROOM: Window = Window { cpu: 0.3, memory: 0.5 };
    const FULL: Window = Window { cpu: 0.9, memory: 0.9 };

    fn after(windows: &[(Window, usize)]) -> Budget {
        let mut budget = Budget::new();
        for (window, times) in windows {
            (0..*times).for_each(|_| budget.turn(*window));
        }
        budget
    }

    #[test]
    fn things_are_given_up_in_order() {
        let second = Duration::from_secs(1);
        let given_up = |times| {
            let budget = after(&[(CPU, times)]);
            let memory_stat = budget.memory_stat_interval(Duration::ZERO, second);
            let histograms = budget.has_histograms();
            (histograms, budget.has_history(), memory_stat.as_secs(), budget.interval(second))
        };
        assert_eq!(given_up(0), (true, true, 0, second));
        assert_eq!(given_up(1), (false, true, 0, second));
        assert_eq!(given_up(2), (false, false, 0, second));
        assert_eq!(given_up(3), (false, false, 10, second));
        assert_eq!(given_up(4), (false, false, 10, 2 * second));
        assert_eq!(given_up(100), (false, false, 10, 64 * second));
        let (hour, budget) = (MAX_INTERVAL, after(&[(CPU, 9)]));
        assert_eq!((budget.interval(hour), budget.memory_stat_interval(hour, hour)), (hour, hour));
    }

    #[test]
    fn whoever_wants_memory_stat_still_less_often_gets_it_so() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(after(&[(CPU, 9)]).memory_stat_interval(minute, second), minute);
        assert_eq!(after(&[(CPU, 3), (ROOM, 6)]).memory_stat_interval(second, second), second);
    }

    #[test]
    fn a_longer_interval_is_no_cure_for_memory() {
        assert_eq!(after(&[(MEMORY, 100)]).level(), NO_HISTORY);
    }

    #[test]
    fn what_was_given_up_comes_back_when_there_is_room_for_long() {
        assert_eq!(after(&[(CPU, 4), (FULL, 100)]).level(), 4);
        assert_eq!(after(&[(CPU, 4), (ROOM, 5), (FULL, 1), (ROOM, 5)]).level(), 4);
        assert_eq!(after(&[(CPU, 4), (ROOM, 6)]).level(), 3);
        assert_eq!(after(&[(CPU, 4), (ROOM, 600)]).level(), 0);
    }

    #[test]
    fn cpu_time_is_judged_over_a_window() {
        let limits = Limits { cpu_millionths: Some(10_000), memory_bytes: None };
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut budget = Budget::new();
        let mut judge = |seconds: u64, cpu: f64| {
            budget.judge(limits, second, start + second * seconds as u32, Some(cpu), None)
        };
        assert!(!judge(0, 5.0));
        // The start may cost what it likes; 1 % of 10 s is 0.1 s.
        assert!(!judge(5, 5.1));
        assert!(judge(10, 5.11));
        assert!(!judge(20, 5.2));
    }
}
