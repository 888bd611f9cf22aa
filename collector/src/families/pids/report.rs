//! From readings of tasks to the contract.

use tare_model::Pids;

use crate::families::settings::Settings;

/// Tasks of a cgroup. Peaks are read seldom: more tasks since then are one, too.
pub fn report(
    tasks: Option<u64>,
    processes: Option<u64>,
    open_files_limit: Option<u64>,
    settings: &Settings,
) -> Pids {
    let Settings { pids_limit, pids_peak, pids_limit_hits, .. } = *settings;
    Pids {
        current: tasks,
        processes,
        peak: pids_peak.map(|peak| peak.max(tasks.unwrap_or(0))),
        limit: pids_limit,
        limit_hits: pids_limit_hits,
        open_files_limit,
    }
}
