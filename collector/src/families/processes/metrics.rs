//! Metrics of processes.

use crate::exposition::{Metric, Origin, gauge};

pub(crate) const ORIGIN: Origin = Origin {
    source: "`cgroup.procs` of the cgroup and those below it",
    kernel: "all",
    cost: "every 30 s, of an idle container every 2 min: three system calls for each cgroup",
    exceptions: &[],
};

pub(crate) const METRICS: &[Metric] =
    &[gauge("container_processes", "Processes that exist.", |container, out| {
        out.value(container.pids.processes);
    })];
