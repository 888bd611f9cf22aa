//! Metrics of processes.

use crate::exposition::{Metric, gauge};

pub(crate) const METRICS: &[Metric] =
    &[gauge("container_processes", "Processes that exist.", |container, out| {
        out.value(container.pids.processes);
    })];
