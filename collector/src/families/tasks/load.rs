//! Load averages, pure.
//!
//! The kernel's formula (`kernel/sched/loadavg.c`): `load = load × d + tasks × (1 − d)`, where `d`
//! is e to the power of minus the time since the last count, divided by the window. The kernel
//! begins with a load of 0 at the boot. An instance begins later than its first count, so the
//! weight of the time before is left out: a constant number of tasks is its own average from the
//! first count on.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Average numbers of tasks that run, are ready to run or sleep uninterruptibly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Windows {
    /// Over about 10 seconds, the window of cAdvisor.
    pub ten_seconds: f64,
    /// Over about a minute.
    pub one_minute: f64,
    /// Over about 5 minutes.
    pub five_minutes: f64,
    /// Over about 15 minutes.
    pub fifteen_minutes: f64,
}

/// The load averages of one instance.
#[derive(Clone, Debug, Default)]
pub struct Loads {
    last: Option<Instant>,
    windows: [Average; 4],
}

/// A weighted sum of counts, and the sum of the weights.
#[derive(Clone, Copy, Debug, Default)]
struct Average {
    sum: f64,
    weight: f64,
}

const WINDOWS: [Duration; 4] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(900),
];

/// The first count stands for so much time before it.
const FIRST: Duration = Duration::from_secs(5);

impl Loads {
    /// Adds a count of tasks.
    pub fn add(&mut self, tasks: u64, now: Instant) -> Windows {
        let since = self.last.map_or(FIRST, |last| now.saturating_duration_since(last));
        self.last = Some(now);
        for (average, window) in self.windows.iter_mut().zip(WINDOWS) {
            let decay = (-since.as_secs_f64() / window.as_secs_f64()).exp();
            average.sum = average.sum * decay + tasks as f64 * (1.0 - decay);
            average.weight = average.weight * decay + (1.0 - decay);
        }
        let [ten_seconds, one_minute, five_minutes, fifteen_minutes] =
            self.windows.map(|Average { sum, weight }| sum / weight);
        Windows { ten_seconds, one_minute, five_minutes, fifteen_minutes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn a_constant_number_of_tasks_is_its_own_average_from_the_first_count_on() {
        let (start, mut loads) = (Instant::now(), Loads::default());
        for second in [0, 5, 11, 300] {
            let Windows { ten_seconds, one_minute, five_minutes, fifteen_minutes } =
                loads.add(7, start + Duration::from_secs(second));
            for load in [ten_seconds, one_minute, five_minutes, fifteen_minutes] {
                close(load, 7.0);
            }
        }
    }

    /// After long idleness the weights are as good as whole, so this is the kernel's formula.
    #[test]
    fn a_load_that_begins_grows_as_the_kernels_does() {
        let (start, mut loads) = (Instant::now(), Loads::default());
        let mut at = start;
        for _ in 0..2000 {
            at += Duration::from_secs(5);
            loads.add(0, at);
        }
        // `EXP_1`, `EXP_5`, `EXP_15` of `include/linux/sched/loadavg.h`, in parts of 2048.
        let windows = loads.add(1, at + Duration::from_secs(5));
        for (load, exponent) in [
            (windows.one_minute, 1884.0),
            (windows.five_minutes, 2014.0),
            (windows.fifteen_minutes, 2037.0),
        ] {
            assert!((load - (1.0 - exponent / 2048.0)).abs() < 3e-4, "{load}");
        }
        let decay = (-0.5_f64).exp();
        assert!((windows.ten_seconds - (1.0 - decay)).abs() < 1e-6);
    }
}
