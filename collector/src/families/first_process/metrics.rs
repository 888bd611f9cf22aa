//! Metrics of limits of the first process, and of the file system that the root is on.

use tare_model::{Container, RootFilesystem};

use crate::exposition::{Metric, Origin, Samples, gauge};

pub(crate) const ORIGIN: Origin = Origin {
    source: "`/proc/PID` of the first process in `cgroup.procs`",
    kernel: "all",
    cost: "every 30 s, of an idle container every 2 min: three system calls for the process, three for its limit and six for its root",
    exceptions: &[
        ("container_ulimits_soft", "`/proc/PID/limits`", "all"),
        ("container_fs_limit_bytes", "`statfs` of `/proc/PID/root`", "all"),
        ("container_fs_inodes_total", "`statfs` of `/proc/PID/root`", "all"),
        ("container_fs_inodes_free", "`statfs` of `/proc/PID/root`", "all"),
    ],
};

pub(crate) const METRICS: &[Metric] = &[
    gauge(
        "container_ulimits_soft",
        "Soft limit of open files of the first process.",
        |container, out| {
            out.with(&[("ulimit", "max_open_files")], container.pids.open_files_limit);
        },
    ),
    gauge(
        "container_fs_limit_bytes",
        "Size of the file system that the root is on, as df shows it there, in bytes.",
        |container, out| filesystem(container, out, |root| root.size_bytes),
    ),
    gauge(
        "container_fs_inodes_total",
        "Inodes of the file system that the root is on.",
        |container, out| filesystem(container, out, |root| root.inodes),
    ),
    gauge(
        "container_fs_inodes_free",
        "Free inodes of the file system that the root is on.",
        |container, out| filesystem(container, out, |root| root.inodes_free),
    ),
];

fn filesystem(container: &Container, out: &mut Samples, number: fn(&RootFilesystem) -> u64) {
    if let Some(root) = &container.root_filesystem {
        out.with(&[("device", &root.device)], number(root));
    }
}
