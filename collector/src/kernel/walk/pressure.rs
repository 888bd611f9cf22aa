//! Averages of pressure, brought up to date.
//!
//! The kernel works them out every 2 s while tasks run, and then when the file is read
//! (`kernel/sched/psi.c`, `update_averages`). A walk is no such reader, so what has faded since is
//! worked out here, in the same fixed-point arithmetic.

use nix::time::{ClockId, clock_getres};

/// Bits behind the point (`include/linux/sched/loadavg.h`, `FSHIFT`).
const SHIFT: u32 = 11;
const ONE: u64 = 1 << SHIFT;
/// `EXP_10s`, `EXP_60s` and `EXP_300s` (`kernel/sched/psi.c`).
const DECAYS: [u64; 3] = [1677, 1981, 2034];

/// The clock of pressure at the walk, and how often averages are worked out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) now: u64,
    pub(super) period: u64,
}

/// Averages over 10, 60 and 300 s as the kernel keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Averages(pub(super) [u64; 3]);

impl Averages {
    /// What the file would show now, if no task has waited since the kernel worked them out.
    /// While tasks run the kernel is in time and nothing changes.
    pub(super) fn at(self, clock: Clock, next_update: u64) -> Self {
        let Some(late) = clock.now.checked_sub(next_update) else { return self };
        let missed = late / clock.period.max(1);
        Self(std::array::from_fn(|i| {
            let skipped = decay(self.0[i], power(DECAYS[i], missed));
            decay(skipped, DECAYS[i])
        }))
    }

    /// In hundredths of a percent, cut off as the files cut them off.
    pub(super) fn hundredths(self) -> [u64; 3] {
        self.0.map(|average| {
            let part = average & (ONE - 1);
            (average >> SHIFT) * 100 + ((part * 100) >> SHIFT)
        })
    }
}

/// How long it is between two updates: `PSI_FREQ`, 2 s and a tick.
pub(super) fn period() -> Option<u64> {
    // The coarse clock goes by ticks.
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).ok()?;
    let tick = u64::try_from(tick.tv_nsec()).ok().filter(|tick| *tick > 0)?;
    let per_second = 1_000_000_000 / tick;
    Some((2 * per_second + 1) * tick)
}

/// `calc_load` without new load.
fn decay(average: u64, by: u64) -> u64 {
    average.saturating_mul(by) / ONE
}

/// `fixed_power_int` of `kernel/sched/loadavg.c`.
fn power(mut base: u64, mut times: u64) -> u64 {
    let mut result = ONE;
    while times > 0 {
        if times & 1 == 1 {
            result = (result * base + ONE / 2) >> SHIFT;
        }
        times >>= 1;
        base = (base * base + ONE / 2) >> SHIFT;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Clock = Clock { now: 100_000, period: 1000 };

    #[test]
    fn an_average_that_is_up_to_date_stays() {
        let kept = Averages([5000, 600, 70]);
        assert_eq!(kept.at(CLOCK, 100_001), kept);
    }

    #[test]
    fn an_average_fades_when_no_task_waits() {
        // A whole percent; a period of 2 s is over.
        let faded = Averages([ONE; 3]).at(CLOCK, 100_000);
        assert_eq!(faded, Averages(DECAYS));
        assert_eq!(faded.hundredths(), [81, 96, 99]);
        // 20 s and 2 s.
        let faded = Averages([100 * ONE; 3]).at(CLOCK, 90_000);
        assert_eq!(faded.hundredths().map(|share| share / 100), [11, 69, 92]);
        assert_eq!(Averages([100 * ONE; 3]).at(CLOCK, 0).0[0], 0);
    }

    #[test]
    fn the_period_is_two_seconds_and_a_tick() {
        let period = period().unwrap();
        assert!((2_000_000_001..=2_011_000_000).contains(&period), "{period}");
    }
}
