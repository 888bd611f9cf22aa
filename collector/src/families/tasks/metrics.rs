//! Metrics of tasks. Names and labels that cAdvisor has are as there.

use crate::exposition::{Metric, Origin, counter, gauge};

pub(crate) const ORIGIN: Origin = Origin {
    source: "a program that passes over all tasks (`iter/task`)",
    kernel: "5.10 and BTF",
    cost: "every 5 s, and less often where a pass would take more than 0.1 % of a CPU: one pass over all tasks of the host",
    exceptions: &[],
};

/// cAdvisor publishes its load average in thousandths, as a whole number.
const THOUSANDTHS: f64 = 1000.0;

/// The usual ones.
pub(crate) const METRICS: &[Metric] = &[
    gauge(
        "container_cpu_load_average_10s",
        "Tasks running, ready to run or in uninterruptible sleep, averaged over 10 seconds, times 1000 as in cAdvisor.",
        |container, out| {
            out.value(container.tasks.load.map(|load| (load.ten_seconds * THOUSANDTHS).round()));
        },
    ),
    counter(
        "container_cpu_schedstat_runqueue_seconds_total",
        "Time that tasks were ready to run and waited for a CPU, in seconds.",
        |container, out| out.value(container.tasks.run_queue_seconds),
    ),
    gauge(
        "container_file_descriptors",
        "Open file descriptors of all processes.",
        |container, out| {
            out.value(container.tasks.file_descriptors);
        },
    ),
    gauge(
        "container_sockets",
        "Open file descriptors of all processes that are sockets.",
        |container, out| out.value(container.tasks.sockets),
    ),
];

/// Those that a scrape has by option only, as cAdvisor's.
pub(crate) const DETAILS: &[Metric] = &[
    gauge(
        "container_load1",
        "Tasks running, ready to run or in uninterruptible sleep, averaged over one minute.",
        |container, out| out.value(container.tasks.load.map(|load| load.one_minute)),
    ),
    gauge(
        "container_load5",
        "Tasks running, ready to run or in uninterruptible sleep, averaged over 5 minutes.",
        |container, out| out.value(container.tasks.load.map(|load| load.five_minutes)),
    ),
    gauge(
        "container_load15",
        "Tasks running, ready to run or in uninterruptible sleep, averaged over 15 minutes.",
        |container, out| out.value(container.tasks.load.map(|load| load.fifteen_minutes)),
    ),
    gauge(
        "container_tasks_state",
        "Tasks by state; runnable ones are part of running, and iowaiting ones of uninterruptible.",
        |container, out| {
            let tasks = &container.tasks;
            let running = tasks.running.zip(tasks.runnable);
            let states = [
                ("running", running.map(|(running, runnable)| running + runnable)),
                ("runnable", tasks.runnable),
                ("sleeping", tasks.sleeping),
                ("stopped", tasks.stopped),
                ("uninterruptible", tasks.uninterruptible),
                ("iowaiting", tasks.io_wait),
                ("zombie", tasks.zombies),
            ];
            for (state, tasks) in states {
                if let Some(tasks) = tasks {
                    out.with(&[("state", state)], tasks);
                }
            }
        },
    ),
    counter(
        "container_cpu_schedstat_run_seconds_total",
        "Time that tasks ran on a CPU, in seconds.",
        |container, out| out.value(container.tasks.run_seconds),
    ),
    counter(
        "container_cpu_schedstat_run_periods_total",
        "Times that a task was given a CPU.",
        |container, out| out.value(container.tasks.run_periods),
    ),
];
