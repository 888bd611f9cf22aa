//! One counter of the kernel: an event of a cgroup on a CPU.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use nix::libc;

use crate::families::perf_events::PerfEvent;

/// `struct perf_event_attr` of Linux 2.6.32, `PERF_ATTR_SIZE_VER0`. The kernel takes the fields of
/// later versions to be 0.
#[repr(C)]
#[derive(Default)]
struct Attribute {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
}

/// `PERF_FORMAT_TOTAL_TIME_ENABLED` and `PERF_FORMAT_TOTAL_TIME_RUNNING`.
const WITH_TIMES: u64 = 1 | 2;

/// `PERF_FLAG_PID_CGROUP` and `PERF_FLAG_FD_CLOEXEC`.
const OF_CGROUP: libc::c_ulong = (1 << 2) | (1 << 3);

/// A counter that counts until it is dropped.
#[derive(Debug)]
pub(super) struct Counter {
    file: File,
    last: Reading,
}

/// What a counter says (`perf_event_open(2)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// How often it happened while it was counted.
    pub(super) count: u64,
    /// Nanoseconds for which a process of the cgroup ran on the CPU.
    pub(super) enabled: u64,
    /// Nanoseconds of these in which the CPU had a counter for the event.
    pub(super) running: u64,
}

impl Counter {
    /// Counts an event of the cgroup whose directory is open, on a CPU.
    pub(super) fn open(event: PerfEvent, directory: &File, cpu: u32) -> io::Result<Self> {
        let (kind, config) = event.attribute();
        let size = size_of::<Attribute>() as u32;
        let attribute =
            Attribute { kind, size, config, read_format: WITH_TIMES, ..Attribute::default() };
        let no_group: RawFd = -1;
        // SAFETY: the attribute has the size that it says and outlives the call.
        let descriptor = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attribute,
                directory.as_raw_fd(),
                cpu,
                no_group,
                OF_CGROUP,
            )
        };
        let descriptor = RawFd::try_from(descriptor).ok().filter(|descriptor| *descriptor >= 0);
        let Some(descriptor) = descriptor else { return Err(io::Error::last_os_error()) };
        // SAFETY: the kernel has just opened it for us.
        let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self { file: owned.into(), last: Reading::default() })
    }

    /// What was counted since the last call. If the CPU had no counter free in all that time, it is
    /// part of the next call.
    pub(super) fn advance(&mut self) -> io::Result<Reading> {
        let mut bytes = [0; size_of::<[u64; 3]>()];
        self.file.read_exact(&mut bytes)?;
        let mut words = bytes.as_chunks().0.iter().copied().map(u64::from_ne_bytes);
        let mut word = || words.next().unwrap_or_default();
        let now = Reading { count: word(), enabled: word(), running: word() };
        let Some(counted) = since(self.last, now) else { return Ok(Reading::default()) };
        self.last = now;
        Ok(counted)
    }
}

/// The difference of two readings. The count is scaled to the whole time.
fn since(before: Reading, now: Reading) -> Option<Reading> {
    let enabled = now.enabled.checked_sub(before.enabled)?;
    let running = now.running.checked_sub(before.running)?;
    let count = now.count.checked_sub(before.count)?;
    let count = match running {
        0 if count > 0 => count,
        0 => return None,
        _ if running >= enabled => count,
        _ => u64::try_from(u128::from(count) * u128::from(enabled) / u128::from(running)).ok()?,
    };
    Some(Reading { count, enabled, running })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(count: u64, enabled: u64, running: u64) -> Reading {
        Reading { count, enabled, running }
    }

    #[test]
    fn what_was_not_counted_is_taken_to_be_like_the_rest() {
        let before = reading(100, 1000, 1000);
        assert_eq!(since(before, reading(150, 2000, 2000)), Some(reading(50, 1000, 1000)));
        assert_eq!(since(before, reading(150, 2000, 1500)), Some(reading(100, 1000, 500)));
        assert_eq!(since(before, reading(100, 2000, 1000)), None, "it is part of the next time");
        assert_eq!(since(before, before), None, "it did not run");
        assert_eq!(since(before, reading(90, 2000, 1500)), None);
    }

    #[test]
    fn the_attribute_is_as_large_as_its_first_version() {
        assert_eq!(size_of::<Attribute>(), 64);
    }
}
