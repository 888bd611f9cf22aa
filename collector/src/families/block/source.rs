//! Block I/O.

use crate::{
    cgroup::Version,
    families::source::{Gap, Inputs, SourceStatus},
    kernel::BlockStatus,
    reason::Reason,
};

/// Decides the source: completed requests, or else cgroup files, which know no latencies.
pub fn source(inputs: &Inputs<'_>) -> SourceStatus {
    match &inputs.kernel.block {
        Ok(status) => programs(inputs, status),
        Err(reason) => files(inputs, reason),
    }
}

fn programs(inputs: &Inputs<'_>, status: &BlockStatus<'_>) -> SourceStatus {
    let source = match status.bios {
        Ok(true) => "tp_btf/block_rq_complete, tp_btf/block_bio_queue",
        Ok(false) | Err(_) => "tp_btf/block_rq_complete",
    };
    let cgroups = inputs.charged_above;
    let missing = |what, counted: Option<&Reason>| counted.map(|reason| Gap::new(what, reason));
    let gaps = [
        status.overflow.clone().map(Gap::from),
        (cgroups > 0).then(|| Reason::IoChargedAbove { cgroups }.into()),
        missing("no requests in flight", status.in_flight.err()),
        missing("no merges", status.merges.err()),
        missing("devices without requests are not counted", status.bios.err()),
        inputs.requests.as_ref().and_then(Gap::not_seen),
    ];
    SourceStatus::new(source, gaps.into_iter().flatten().collect())
        .compared(inputs.requests.as_ref())
}

fn files(inputs: &Inputs<'_>, reason: &Reason) -> SourceStatus {
    let (source, what) = match inputs.version("blkio") {
        Some(Version::V2) => ("io.stat", "no latency"),
        Some(Version::V1) => ("blkio.throttle.*", "counts only throttled I/O on most kernels"),
        None => return SourceStatus::off(reason),
    };
    SourceStatus::new(source, vec![Gap::new(what, reason)])
}
