//! CPU time in user mode and in the kernel, as the kernel shows it.

/// Scales the times that ticks saw to the exact sum, no less than before: `cputime_adjust` of
/// `kernel/sched/cputime.c`, which every file goes through. Nanoseconds.
pub fn split(usage: u64, (user, system): (u64, u64), before: (u64, u64)) -> (u64, u64) {
    let system = match (user, system) {
        (_, 0) => 0,
        (0, _) => usage,
        (user, system) => {
            let sum = u128::from(user) + u128::from(system);
            let scaled = u128::from(system) * u128::from(usage) / sum;
            u64::try_from(scaled).unwrap_or(usage)
        }
    };
    no_less(usage, (usage.saturating_sub(system), system), before)
}

/// Moves time between two parts of the usage until neither is less than before.
///
/// With each tick the ratio of the two changes: a part would fall where it grows more slowly than
/// its share of the sum shrinks.
pub(super) fn no_less(
    usage: u64,
    (user, system): (u64, u64),
    (user_before, system_before): (u64, u64),
) -> (u64, u64) {
    if user_before.saturating_add(system_before) >= usage {
        (user_before, system_before)
    } else if system < system_before {
        (usage - system_before, system_before)
    } else if user < user_before {
        (user_before, usage - user_before)
    } else {
        (user, system)
    }
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

    #[test]
    fn what_was_published_does_not_fall_where_the_file_says_less() {
        // The file was read when the ticks said something else than at the walk before.
        let published = (700, 290);
        let shown = split(1000, (60, 40), (0, 0));
        assert_eq!(shown, (600, 400));
        assert_eq!(no_less(1010, split(1010, (60, 40), shown), published), (700, 310));
        assert_eq!(no_less(980, (600, 380), published), published);
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
            let own = no_less(usage + more, split(usage + more, later, (0, 0)), before);
            prop_assert_eq!(own, after, "the order does not matter");
        }
    }
}
