//! Metrics of the start of a container.

use crate::exposition::{Metric, Origin, gauge};

pub(crate) const ORIGIN: Origin = Origin {
    source: "programs at `cgroup_mkdir`, `sched_process_exec` and the first `LISTEN`",
    kernel: "BTF",
    cost: "a few µs for each container and program that starts",
    exceptions: &[],
};

pub(crate) const METRICS: &[Metric] = &[gauge(
    "tare_container_startup_seconds",
    "Time from the creation of the cgroup to the first exec or the first listening socket, in seconds.",
    |container, out| {
        let Some(made) = container.startup.made_at else { return };
        for (stage, at) in
            [("exec", container.startup.exec_at), ("listen", container.startup.listen_at)]
        {
            let since = at.map(|at| at.duration_since(made).as_secs_f64());
            out.with(&[("stage", stage)], since);
        }
    },
)];
