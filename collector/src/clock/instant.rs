//! An [`Instant`] in a recording: nanoseconds of `CLOCK_MONOTONIC`, which is what it is on Linux.
//!
//! The differences between instants stay what they were, also in a process that began later or runs
//! on another machine.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One moment in both forms.
static ANCHOR: LazyLock<(Instant, i64)> = LazyLock::new(|| {
    let nanoseconds = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        time.tv_sec().saturating_mul(1_000_000_000).saturating_add(time.tv_nsec())
    });
    (Instant::now(), nanoseconds)
});

/// As nanoseconds.
pub fn to_nanoseconds(instant: Instant) -> i64 {
    let (anchor, nanoseconds) = *ANCHOR;
    let distance = |later: Instant, earlier: Instant| {
        i64::try_from(later.saturating_duration_since(earlier).as_nanos()).unwrap_or(i64::MAX)
    };
    let step = distance(instant, anchor).saturating_sub(distance(anchor, instant));
    nanoseconds.saturating_add(step)
}

/// The inverse of [`to_nanoseconds`].
pub(super) fn from_nanoseconds(nanoseconds: i64) -> Instant {
    let (anchor, at) = *ANCHOR;
    let step = Duration::from_nanos(nanoseconds.abs_diff(at));
    let moved = if nanoseconds < at { anchor.checked_sub(step) } else { anchor.checked_add(step) };
    moved.unwrap_or(anchor)
}

/// Writes it.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<S: Serializer>(instant: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
    to_nanoseconds(*instant).serialize(serializer)
}

/// Reads it.
///
/// # Errors
///
/// Those of the deserializer.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Instant, D::Error> {
    i64::deserialize(deserializer).map(from_nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_before_and_after_the_anchor_comes_back() {
        let now = Instant::now();
        for step in [0, 1, 999, 3_600_000_000_000] {
            let step = Duration::from_nanos(step);
            for instant in [now + step, now.checked_sub(step).unwrap()] {
                assert_eq!(from_nanoseconds(to_nanoseconds(instant)), instant);
            }
        }
        // Before the boot of this machine.
        let old = from_nanoseconds(-5_000_000_000);
        assert_eq!(from_nanoseconds(-4_000_000_000) - old, Duration::from_secs(1));
    }
}
