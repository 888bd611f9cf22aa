//! Instants with their time of day and in recordings, and the unit of time in which the kernel
//! counts CPU time for user space.

pub mod instant;

use std::time::Instant;

use jiff::Timestamp;
use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

/// When something was read. The time of day is kept and not calculated later, or it would differ a
/// little each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Moment {
    /// For durations.
    #[serde(with = "instant")]
    pub instant: Instant,
    /// For people.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::required")]
    pub time: Timestamp,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self { instant: Instant::now(), time: Timestamp::now() }
    }
}

/// `USER_HZ`, if the system does not say: the same on every architecture with containers.
const DEFAULT_CLOCK_TICKS: u64 = 100;

/// Clock ticks a second (`USER_HZ`) in numbers for user space.
pub fn clock_ticks() -> u64 {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    ticks
        .and_then(|ticks| u64::try_from(ticks).ok())
        .filter(|ticks| *ticks > 0)
        .unwrap_or(DEFAULT_CLOCK_TICKS)
}
