//! CPU time in user mode and in the kernel, as the kernel shows it.

/// Scales the times that ticks saw to the exact sum, no less than before: `cputime_adjust` of
/// `kernel/sched/cputime.c`, which every file goes through. Nanoseconds.
pub fn split(
    usage: u64,
    (user, system): (u64, u64),
    (user_before, system_before): (u64, u64),
) -> (u64, u64) {
    if user_before.saturating_add(system_before) >= usage {
        return (user_before, system_before);
    }
    let system = match (user, system) {
        (_, 0) => 0,
        (0, _) => usage,
        (user, system) => {
            let sum = u128::from(user) + u128::from(system);
            let scaled = u128::from(system) * u128::from(usage) / sum;
            u64::try_from(scaled).unwrap_or(usage)
        }
    };
    let system = system.max(system_before);
    let user = usage.saturating_sub(system);
    if user < user_before { (user_before, usage - user_before) } else { (user, system) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_scaled_to_the_sum_and_keep_their_ratio() {
        assert_eq!(split(1000, (30, 10), (0, 0)), (750, 250));
        assert_eq!(split(1000, (30, 0), (0, 0)), (1000, 0));
        assert_eq!(split(1000, (0, 10), (0, 0)), (0, 1000));
        assert_eq!(split(1000, (0, 0), (0, 0)), (1000, 0));
        assert_eq!(split(0, (0, 0), (0, 0)), (0, 0));
    }

    #[test]
    fn times_that_were_shown_do_not_fall() {
        assert_eq!(split(1000, (30, 10), (760, 200)), (760, 240));
        assert_eq!(split(1000, (30, 10), (700, 290)), (710, 290));
        assert_eq!(split(900, (30, 10), (700, 290)), (700, 290));
    }

    proptest! {
        #[test]
        fn the_parts_are_the_sum_and_never_fall(
            usage in 0..u64::MAX / 2, more in 0..u64::MAX / 2, ticks: (u64, u64), later: (u64, u64)
        ) {
            let before = split(usage, ticks, (0, 0));
            prop_assert_eq!(before.0 + before.1, usage);
            let after = split(usage + more, later, before);
            prop_assert_eq!(after.0 + after.1, usage + more);
            prop_assert!(after.0 >= before.0 && after.1 >= before.1);
        }
    }
}
