//! The metric of writable layers, under cAdvisor's name.

use crate::exposition::{Metric, Origin, gauge};

pub(crate) const ORIGIN: Origin = Origin {
    source: "`ListContainerStats` of containerd's CRI, for containers in pods",
    kernel: "all",
    cost: "one request to containerd every 60 s, on which it asks the shim of each container for its usage; it counts the files itself, every 10 s, asked or not",
    exceptions: &[],
};

pub(crate) const METRICS: &[Metric] = &[gauge(
    "container_fs_usage_bytes",
    "Space that the container's own files take, apart from its image and volumes, in bytes.",
    |container, out| {
        let Some(layer) = &container.writable_layer else { return };
        let device = container.root_filesystem.as_ref().map_or("", |root| &root.device);
        out.with(&[("device", device)], layer.used_bytes);
    },
)];
