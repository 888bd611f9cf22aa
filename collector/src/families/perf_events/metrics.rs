//! Metrics of events, under cAdvisor's names.

use crate::exposition::{Metric, Origin, counter, gauge};

pub(crate) const ORIGIN: Origin = Origin {
    source: "`perf_event_open` with `PERF_FLAG_PID_CGROUP`",
    kernel: "CONFIG_CGROUP_PERF",
    cost: "only with `--perf-events`: each descriptor every 10 s while the container runs, 0.7 µs; what programs pay is [below](#events)",
    exceptions: &[],
};

pub(crate) const METRICS: &[Metric] = &[
    counter(
        "container_perf_events_total",
        "Events such as instructions and context-switches on all CPUs since Tare began to count; only with --perf-events.",
        |container, out| {
            for (name, event) in container.perf_events.iter().flatten() {
                out.with(&[("event", name)], event.count);
            }
        },
    ),
    gauge(
        "container_perf_events_scaling_ratio",
        "Share of the container's running time in which the CPU had a counter for the event.",
        |container, out| {
            for (name, event) in container.perf_events.iter().flatten() {
                out.with(&[("event", name)], event.counted_ratio);
            }
        },
    ),
];
