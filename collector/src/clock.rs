//! The unit of time in which the kernel counts CPU time for user space, and instants in recordings.

pub mod instant;
pub mod optional_instant;

use nix::unistd::{SysconfVar, sysconf};

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
