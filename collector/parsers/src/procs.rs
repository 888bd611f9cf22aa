//! Processes of a cgroup: `cgroup.procs`.

use crate::text::{lines, number};

/// Finds the first process in the text of a `cgroup.procs`.
pub fn parse_first_pid(text: &[u8]) -> Option<u32> {
    let mut pids = lines(text).filter_map(|line| u32::try_from(number(line)?).ok());
    pids.find(|pid| *pid != 0)
}
