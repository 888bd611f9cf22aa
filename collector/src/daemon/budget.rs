//! What Tare itself may use, and what it gives up to stay within that.
//!
//! It gives up, in this order: histograms; the history; nine of ten readings of `memory.stat`, the
//! longest of the files; then the interval doubles, and doubles again. What was given up comes
//! back, one thing at a time, after a while with room for it.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{cli::MAX_INTERVAL, config::Limits};

/// CPU time is measured over so long, or so many intervals.
const PERIOD: Duration = Duration::from_secs(10);
const PERIOD_INTERVALS: u32 = 5;

/// Periods with room after which something comes back.
const CALM_PERIODS: u32 = 6;

/// From this level on there are no histograms.
const NO_HISTOGRAMS: u32 = 1;

/// From this level on there is no history. Higher levels save no memory.
const NO_HISTORY: u32 = 2;

/// From this level on `memory.stat` is read once in so many intervals.
const RARE_MEMORY_STAT: u32 = 3;
const INTERVALS_PER_MEMORY_STAT: u32 = 10;

/// At this level the interval is 64 times as long.
const LEVEL_MAX: u32 = RARE_MEMORY_STAT + 6;

/// What was given up, and why.
#[derive(Debug, Default)]
pub(super) struct Budget {
    level: u32,
    calm: u32,
    /// When the present period began, and the CPU seconds used by then.
    period: Option<(Instant, f64)>,
    /// Whether the log says already that nothing is left to give up.
    is_exhausted: bool,
}

/// What was used in a period, as a share of the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct UsedShare {
    cpu: f64,
    memory: f64,
}

impl fmt::Display for UsedShare {
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
    /// How much was given up, from 0 (nothing).
    pub(super) fn level(&self) -> u32 {
        self.level
    }

    pub(super) fn has_histograms(&self) -> bool {
        self.level < NO_HISTOGRAMS
    }

    pub(super) fn has_history(&self) -> bool {
        self.level < NO_HISTORY
    }

    /// The time between two readings of `memory.stat` that the limits allow; 0 reads it for each
    /// sample. `interval` is the wanted one between samples.
    pub(super) fn memory_stat_interval(&self, wanted: Duration, interval: Duration) -> Duration {
        if self.level < RARE_MEMORY_STAT {
            return wanted;
        }
        wanted.max(interval.saturating_mul(INTERVALS_PER_MEMORY_STAT).min(MAX_INTERVAL))
    }

    /// The interval between samples that the limits allow.
    pub(super) fn interval(&self, wanted: Duration) -> Duration {
        let doubled = 1 << self.level.saturating_sub(RARE_MEMORY_STAT);
        wanted.saturating_mul(doubled).min(wanted.max(MAX_INTERVAL))
    }

    /// Compares what was used in a period with the limits; whether something is given up, or comes
    /// back.
    pub(super) fn check(
        &mut self,
        limits: Limits,
        interval: Duration,
        now: Instant,
        cpu_seconds: Option<f64>,
        resident_bytes: Option<u64>,
    ) -> bool {
        let cpu_now = cpu_seconds.unwrap_or(0.0);
        let Some((begun, cpu_then)) = self.period else {
            self.period = Some((now, cpu_now));
            return false;
        };
        let elapsed = now.saturating_duration_since(begun);
        if elapsed < PERIOD.max(interval * PERIOD_INTERVALS) {
            return false;
        }
        self.period = Some((now, cpu_now));
        let allowed = limits.cpu_millionths.map(|limit| f64::from(limit) / 1e6);
        let cpu = (cpu_now - cpu_then) / elapsed.as_secs_f64();
        let share = |used: f64, allowed: Option<f64>| allowed.map_or(0.0, |allowed| used / allowed);
        let used = UsedShare {
            cpu: share(cpu, allowed),
            memory: share(
                resident_bytes.unwrap_or(0) as f64,
                limits.memory_bytes.map(|limit| limit as f64),
            ),
        };
        let before = self.level;
        self.change_level(used);
        if self.level != before {
            tracing::warn!("{used}: tare_budget_level goes from {before} to {}", self.level);
        }
        self.level != before
    }

    fn change_level(&mut self, used: UsedShare) {
        let over_cpu = used.cpu > 1.0 && self.level < LEVEL_MAX;
        let over_memory = used.memory > 1.0 && self.level < NO_HISTORY;
        if over_cpu || over_memory {
            (self.level, self.calm) = (self.level + 1, 0);
            return;
        }
        let is_over = used.cpu > 1.0 || used.memory > 1.0;
        if is_over && !std::mem::replace(&mut self.is_exhausted, true) {
            tracing::warn!("{used}, and nothing is left to give up");
        }
        // Half the interval takes twice the CPU time.
        let room = used.cpu < 0.4 && used.memory < 0.8;
        self.calm = if room { self.calm + 1 } else { 0 };
        if self.calm >= CALM_PERIODS && self.level > 0 {
            (self.level, self.calm) = (self.level - 1, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: UsedShare = UsedShare { cpu: 1.1, memory: 0.5 };
    const MEMORY: UsedShare = UsedShare { cpu: 0.5, memory: 1.1 };
    const ROOM: UsedShare = UsedShare { cpu: 0.3, memory: 0.5 };
    const FULL: UsedShare = UsedShare { cpu: 0.9, memory: 0.9 };

    fn after(periods: &[(UsedShare, usize)]) -> Budget {
        let mut budget = Budget::default();
        for (used, times) in periods {
            (0..*times).for_each(|_| budget.change_level(*used));
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
    fn a_longer_wanted_interval_of_memory_stat_is_kept() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(after(&[(CPU, 9)]).memory_stat_interval(minute, second), minute);
        assert_eq!(after(&[(CPU, 3), (ROOM, 6)]).memory_stat_interval(second, second), second);
    }

    #[test]
    fn a_longer_interval_is_no_cure_for_memory() {
        assert_eq!(after(&[(MEMORY, 100)]).level(), NO_HISTORY);
    }

    #[test]
    fn what_was_given_up_comes_back_after_long_enough_with_room() {
        assert_eq!(after(&[(CPU, 4), (FULL, 100)]).level(), 4);
        assert_eq!(after(&[(CPU, 4), (ROOM, 5), (FULL, 1), (ROOM, 5)]).level(), 4);
        assert_eq!(after(&[(CPU, 4), (ROOM, 6)]).level(), 3);
        assert_eq!(after(&[(CPU, 4), (ROOM, 600)]).level(), 0);
    }

    #[test]
    fn cpu_time_is_measured_over_a_period() {
        let limits = Limits { cpu_millionths: Some(10_000), memory_bytes: None };
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut budget = Budget::default();
        let mut check = |seconds: u64, cpu: f64| {
            budget.check(limits, second, start + second * seconds as u32, Some(cpu), None)
        };
        assert!(!check(0, 5.0));
        // The start is not limited; 1 % of 10 s is 0.1 s.
        assert!(!check(5, 5.1));
        assert!(check(10, 5.11));
        assert!(!check(20, 5.2));
    }
}
