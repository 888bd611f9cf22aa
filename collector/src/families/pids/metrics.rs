//! Metrics of tasks.

use crate::exposition::{Metric, gauge};

pub(crate) const METRICS: &[Metric] = &[
    gauge("container_threads", "Threads that exist.", |container, out| {
        out.value(container.pids.current);
    }),
    gauge(
        "container_threads_max",
        "Threads that may exist; absent without a limit.",
        |container, out| {
            out.value(container.pids.limit);
        },
    ),
];
