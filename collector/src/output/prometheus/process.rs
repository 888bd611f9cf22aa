//! Tasks, lives, identity.

use crate::{
    model::Kind,
    output::prometheus::family::{Family, counter, gauge},
};

pub(super) const FAMILIES: &[Family] = &[
    gauge("container_threads", "Threads that exist.", |row, out| out.value(row.pids.current)),
    gauge(
        "container_threads_max",
        "Threads that may exist; absent without a limit.",
        |row, out| {
            out.value(row.pids.limit);
        },
    ),
    gauge("container_last_seen", "When the container was last seen alive.", |row, out| {
        out.value(row.time);
    }),
    gauge(
        "container_health_state",
        "What the container's health check found: 1 healthy, 0 not or not yet; absent without one.",
        |row, out| out.value(row.health.as_deref().map(|health| u64::from(health == "healthy"))),
    ),
    gauge(
        "container_start_time_seconds",
        "When the container started, in seconds since 1970.",
        |row, out| out.value(row.started_at.or(row.startup.exec_at).or(row.startup.made_at)),
    ),
    gauge("tare_container_info", "Who the container is: always 1.", |row, out| {
        let kind = match row.kind {
            Kind::Container => "container",
            Kind::Service => "service",
            Kind::Other => "other",
        };
        let pod = row.pod.as_ref();
        let labels = [
            ("container_id", row.id.as_str()),
            ("kind", kind),
            ("runtime", row.runtime.as_deref().unwrap_or_default()),
            ("pod_uid", pod.and_then(|pod| pod.uid.as_deref()).unwrap_or_default()),
            ("qos", pod.and_then(|pod| pod.qos.as_deref()).unwrap_or_default()),
        ];
        out.with(&labels, 1_u64);
    }),
    gauge(
        "tare_container_startup_seconds",
        "From the making of the container's cgroup to a stage of its life.",
        |row, out| {
            let Some(made) = row.startup.made_at else { return };
            for (stage, at) in [("exec", row.startup.exec_at), ("listen", row.startup.listen_at)] {
                let since = at.map(|at| at.duration_since(made).as_secs_f64());
                out.with(&[("stage", stage)], since);
            }
        },
    ),
    counter("tare_container_tcp_retransmits_total", "TCP segments sent again.", |row, out| {
        out.value(row.network.tcp_events.and_then(|events| events.retransmits));
    }),
    counter(
        "tare_container_tcp_connections_total",
        "TCP connections by what became of them.",
        |row, out| {
            let connections = row.network.tcp_events.and_then(|events| events.connections);
            if let Some(connections) = connections {
                out.with(&[("event", "opened")], connections.opened);
                out.with(&[("event", "accepted")], connections.accepted);
                out.with(&[("event", "closed")], connections.closed);
                out.with(&[("event", "failed")], connections.failed);
            }
        },
    ),
];
