//! What this process uses, from its own `/proc/self`.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

use crate::{cgroup::cpu::clock_ticks, output::prometheus::Process};

/// Reads what this process uses; what cannot be read is unknown.
pub(super) fn read() -> Process {
    let (cpu_seconds, resident_bytes) = cpu_and_memory();
    Process {
        cpu_seconds,
        resident_bytes,
        // The one that reads the directory is one of them.
        open_fds: fs::read_dir("/proc/self/fd")
            .ok()
            .map(|all| (all.count() as u64).saturating_sub(1)),
        started_at: None,
    }
}

/// CPU seconds and resident bytes.
pub(super) fn cpu_and_memory() -> (Option<f64>, Option<u64>) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let ticks = parse_cpu_ticks(&stat);
    (
        ticks.map(|ticks| ticks as f64 / clock_ticks() as f64),
        parse_resident_pages(&statm).zip(page_bytes()).map(|(pages, bytes)| pages * bytes),
    )
}

/// `utime` and `stime` (`fs/proc/array.c`, `do_task_stat`). The command before them may hold
/// anything, and ends at the last parenthesis.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut number = || fields.next()?.parse::<u64>().ok();
    number()?.checked_add(number()?)
}

fn parse_resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn page_bytes() -> Option<u64> {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_process_is_read() {
        let process = read();
        assert!(process.resident_bytes > Some(1 << 20));
        assert!(process.cpu_seconds.is_some() && process.open_fds > Some(2));
    }

    #[test]
    fn a_command_may_look_like_fields() {
        let stat = "7 (a) S 1 (2) S 1 1 1 0 -1 4194560 1 0 0 0 21 4 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse_cpu_ticks(stat), Some(25));
        assert_eq!(parse_cpu_ticks("7 (a) S 1"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text: String) {
            parse_cpu_ticks(&text);
            parse_cpu_ticks(&format!(") S 1 1 1 1 1 1 1 1 1 1 {text} {}", u64::MAX));
            parse_resident_pages(&text);
        }
    }
}
