//! Metrics of tasks.

use crate::exposition::{Metric, Origin, gauge};

pub(crate) const ORIGIN: Origin = Origin {
    source: "`pids.current`, or the walk",
    kernel: "all",
    cost: "one read in a sample when the container ran, else every 10 s",
    exceptions: &[("container_threads_max", "`pids.max`", "all")],
};

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
