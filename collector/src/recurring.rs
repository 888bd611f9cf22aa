//! What recurs: which occurrences of a fault are logged, and how long expensive work rests.

use std::time::Duration;

/// Work that is held to a share of a CPU may take one part in so many of it.
const CPU_SHARE: u32 = 1000;

/// How long work rests that took this time, so that it takes 0.1 % of a CPU at most.
pub fn rest_after(took: Duration) -> Duration {
    took.saturating_mul(CPU_SHARE)
}

/// Whether the occurrence with this number is logged: the 1st, the 10th, the 100th and so on.
pub fn is_worth_logging(times: u64) -> bool {
    times.checked_ilog10().is_some_and(|digits| 10_u64.pow(digits) == times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_rests_for_a_thousand_times_as_long_as_it_took() {
        assert_eq!(rest_after(Duration::from_millis(3)), Duration::from_secs(3));
        assert_eq!(rest_after(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn powers_of_ten_are_logged() {
        let logged: Vec<u64> = (0..=1000).filter(|times| is_worth_logging(*times)).collect();
        assert_eq!(logged, [1, 10, 100, 1000]);
    }
}
