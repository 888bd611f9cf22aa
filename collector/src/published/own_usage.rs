//! What this process itself uses, from `/proc/self`.

use std::fs;

use crate::{clock::clock_ticks, process::page_bytes, telemetry::ProcessStats};

/// Reads what this process uses. A number that cannot be read is `None`.
pub(crate) fn read() -> ProcessStats {
    let (cpu_seconds, resident_bytes) = cpu_and_memory();
    ProcessStats {
        cpu_seconds,
        resident_bytes,
        open_fds: open_fds(),
        calls: calls(),
        started_at: None,
    }
}

/// The number of open descriptors: since Linux 6.2 the size of the directory (`fs/proc/fd.c`,
/// `proc_fd_getattr`), which is 0 before. Counting ten thousand takes longer than writing a scrape.
fn open_fds() -> Option<u64> {
    let directory = "/proc/self/fd";
    let size = fs::metadata(directory).ok().map(|metadata| metadata.len());
    // One of them is the descriptor that reads the directory.
    let count = || Some((fs::read_dir(directory).ok()?.count() as u64).saturating_sub(1));
    size.filter(|size| *size > 0).or_else(count)
}

/// CPU seconds and resident bytes of this process.
pub(crate) fn cpu_and_memory() -> (Option<f64>, Option<u64>) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let ticks = parse_cpu_ticks(&stat);
    (
        ticks.map(|ticks| ticks as f64 / clock_ticks() as f64),
        parse_resident_pages(&statm).zip(page_bytes()).map(|(pages, bytes)| pages * bytes),
    )
}

/// `utime` and `stime` (`fs/proc/array.c`, `do_task_stat`). The command before them may contain
/// anything and ends at the last parenthesis.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut number = || fields.next()?.parse::<u64>().ok();
    number()?.checked_add(number()?)
}

/// System calls that read and that wrote (`fs/proc/base.c`, `do_io_accounting`).
fn calls() -> Option<(u64, u64)> {
    parse_calls(&fs::read_to_string("/proc/self/io").ok()?)
}

fn parse_calls(io: &str) -> Option<(u64, u64)> {
    let number = |name: &str| {
        let line = io.lines().find_map(|line| line.strip_prefix(name));
        line?.trim().parse().ok()
    };
    number("syscr:").zip(number("syscw:"))
}

fn parse_resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
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
        assert!(process.calls.is_none_or(|(read, _)| read > 0));
    }

    #[test]
    fn a_command_may_look_like_fields() {
        let stat = "7 (a) S 1 (2) S 1 1 1 0 -1 4194560 1 0 0 0 21 4 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse_cpu_ticks(stat), Some(25));
        assert_eq!(parse_cpu_ticks("7 (a) S 1"), None);
        let io = "rchar: 12\nwchar: 5\nsyscr: 3\nsyscw: 2\nread_bytes: 0\n";
        assert_eq!((parse_calls(io), parse_calls("syscr: 3\n")), (Some((3, 2)), None));
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text: String) {
            parse_cpu_ticks(&text);
            parse_cpu_ticks(&format!(") S 1 1 1 1 1 1 1 1 1 1 {text} {}", u64::MAX));
            parse_resident_pages(&text);
            parse_calls(&text);
            parse_calls(&format!("rchar: 1\nsyscr: {text}\nsyscw:{}9", u64::MAX));
        }
    }
}
