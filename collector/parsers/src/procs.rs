//! Processes of a cgroup: `cgroup.procs`.

use crate::text::{lines, number};

/// The processes in the text of a `cgroup.procs`, without those outside the reader's PID namespace.
pub fn parse_pids(text: &[u8]) -> impl Iterator<Item = u32> {
    let pids = lines(text).filter_map(|line| u32::try_from(number(line)?).ok());
    pids.filter(|pid| *pid != 0)
}

/// Finds the first process in the text of a `cgroup.procs`.
pub fn parse_first_pid(text: &[u8]) -> Option<u32> {
    parse_pids(text).next()
}

/// Counts the processes in the text of a `cgroup.procs`, also those outside the reader's PID
/// namespace, which the kernel lists as 0.
pub fn parse_process_count(text: &[u8]) -> usize {
    lines(text).filter(|line| number(line).is_some()).count()
}
