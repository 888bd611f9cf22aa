//! Processes of containers, read when a client asks for them.

pub(super) mod ps;

use std::{fs, path::Path};

use jiff::{Timestamp, tz::TimeZone};

use self::ps::{Facts, Process};
use crate::{clock::clock_ticks, process::page_bytes, sample::Sample};

/// Processes that are listed at most.
pub(super) const PROCESSES_MAX: usize = 16_384;

/// The longest list of arguments that is shown, in bytes.
pub(super) const ARGUMENTS_BYTES_MAX: usize = 4096;

/// What columns need besides a process. Names of users are those of Tare's own `/etc/passwd`.
pub(super) fn facts(boot_seconds: u64, memory_bytes: u64) -> Facts {
    Facts {
        now: Timestamp::now(),
        boot_seconds,
        memory_bytes,
        clock_ticks: clock_ticks(),
        users: ps::parse_users(&fs::read_to_string("/etc/passwd").unwrap_or_default()),
        time_zone: TimeZone::system(),
    }
}

/// When the host booted, in seconds since 1970, and its memory; 0 if unknown.
pub(super) fn boot_and_memory(sample: &Sample) -> (u64, u64) {
    let host = &sample.host;
    (host.boot_time_seconds.unwrap_or_default(), host.memory.total_bytes.unwrap_or_default())
}

/// Reads processes. Those that end meanwhile are left out.
pub(super) fn read_all(proc_root: &Path, pids: &[u32]) -> impl Iterator<Item = Process> {
    let page_bytes = page_bytes().unwrap_or(0);
    pids.iter().filter_map(move |pid| read(proc_root, *pid, page_bytes))
}

fn read(proc_root: &Path, pid: u32, page_bytes: u64) -> Option<Process> {
    let directory = proc_root.join(pid.to_string());
    let text = |name: &str| fs::read(directory.join(name)).ok();
    let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let mut process = ps::parse_stat(&lossy(text("stat")?), page_bytes)?;
    process.uid = ps::parse_uid(&lossy(text("status")?))?;
    let mut arguments = text("cmdline").unwrap_or_default();
    arguments.truncate(ARGUMENTS_BYTES_MAX);
    let arguments = lossy(arguments);
    process.arguments = arguments.trim_end_matches('\0').replace('\0', " ");
    Some(process)
}
