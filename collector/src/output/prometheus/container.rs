//! Metrics that identify a container and say what its runtime says about it.

use tare_model::Kind;

use crate::exposition::{Metric, Origin, gauge};

pub(crate) const ORIGIN: Origin = Origin {
    source: "the runtime; without one the kernel's events",
    kernel: "all",
    cost: "a request to the runtime at the start and at each event of a container",
    exceptions: &[],
};

pub(crate) const METRICS: &[Metric] = &[
    gauge(
        "container_last_seen",
        "When the container was last seen running, in seconds since 1970.",
        |_, out| {
            out.value(out.report_time);
        },
    ),
    gauge(
        "container_health_state",
        "Result of the health check: 1 is healthy, 0 is starting or unhealthy; absent without a health check.",
        |container, out| {
            out.value(container.health.as_deref().map(|health| u64::from(health == "healthy")));
        },
    ),
    gauge(
        "container_start_time_seconds",
        "When the container started, in seconds since 1970.",
        |container, out| {
            out.value(
                container.started_at.or(container.startup.exec_at).or(container.startup.made_at),
            );
        },
    ),
    gauge(
        "tare_container_info",
        "The labels identify the container; the value is always 1.",
        |container, out| {
            let kind = match container.kind {
                Kind::Container => "container",
                Kind::Service => "service",
                Kind::Other => "other",
            };
            let pod = container.pod.as_ref();
            let labels = [
                ("container_id", container.id.as_str()),
                ("kind", kind),
                ("runtime", container.runtime.as_deref().unwrap_or_default()),
                ("pod_uid", pod.and_then(|pod| pod.uid.as_deref()).unwrap_or_default()),
                ("qos", pod.and_then(|pod| pod.qos.as_deref()).unwrap_or_default()),
            ];
            out.with(&labels, 1_u64);
        },
    ),
];
