//! Metrics of tasks.

use crate::exposition::{Metric, gauge};

pub(crate) const METRICS: &[Metric] = &[
    gauge("container_threads", "Number of threads.", |container, out| {
        out.value(container.pids.current);
    }),
    gauge(
        "container_threads_max",
        "Limit of the number of threads; absent without a limit.",
        |container, out| {
            out.value(container.pids.limit);
        },
    ),
];
