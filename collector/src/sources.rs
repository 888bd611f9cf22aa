//! The sources of all families: collects what is known, and lets each family decide.

use std::collections::BTreeMap;

use tare_model::{Family, Reconciled};

use crate::{
    cgroup::{KeptFile, file::descriptor_limit},
    families::{
        Readers, block, cpu, lifecycle, memory, network_interfaces, network_sockets, network_tcp,
        perf_events, pids,
        source::{Comparison, Inputs, SourceStatus},
        tasks,
    },
    identity,
    registry::TrackedCgroup,
    sample::{Reconciliation, Sampler},
};

/// Decides the source of every family. Events are a family only if some are wanted.
pub fn decide(sampler: &Sampler) -> BTreeMap<Family, SourceStatus> {
    let inputs = collect(sampler);
    let decide = |family| {
        Some(match family {
            Family::Cpu => cpu::source(&inputs),
            Family::Memory => memory::source(&inputs),
            Family::Pids => pids::source(&inputs),
            Family::Tasks => tasks::source(&inputs),
            Family::NetworkInterfaces => network_interfaces::source(&inputs),
            Family::NetworkSockets => network_sockets::source(&inputs),
            Family::NetworkTcp => network_tcp::source(&inputs),
            Family::Block => block::source(&inputs),
            Family::Lifecycle => lifecycle::source(&inputs),
            Family::Identity => identity::source(&sampler.registry.resolver().statuses()),
            Family::PerfEvents => return perf_events::source(&inputs),
        })
    };
    let decided = |family| Some((family, decide(family)?));
    Family::ALL.into_iter().filter_map(decided).collect()
}

fn collect(sampler: &Sampler) -> Inputs<'_> {
    let Sampler { registry, kernel, walk, reconcilers, perf_events, .. } = sampler;
    let (requests, segments) = (reconcilers.block.result(), reconcilers.retransmits.result());
    let readers = || registry.tracked().filter_map(|tracked| tracked.readers.as_ref());
    let is_charged_above = |readers: &&Readers| readers.block_charged_to().is_some();
    let has_namespace = |tracked: &TrackedCgroup| tracked.namespace.is_some();
    Inputs {
        hierarchies: registry.hierarchies(),
        reopened_files: match KeptFile::is_any_reopened() {
            true => readers().map(Readers::reopened).sum(),
            false => 0,
        },
        descriptor_limit: descriptor_limit(),
        walk: walk.status(),
        kernel: kernel.status(),
        socket_ids: registry.socket_ids(),
        // This reads files, which is of use only if there are counters.
        inseparable: if kernel.sockets.is_ok() { registry.inseparable() } else { 0 },
        charged_above: readers().filter(is_charged_above).count(),
        any_namespace: registry.tracked().any(has_namespace),
        namespace_fault: registry.namespace_fault(),
        perf_events: perf_events.as_ref(),
        perf_refused: match perf_events {
            Some(_) => readers().filter(|readers| readers.lacks_perf_events()).count(),
            None => 0,
        },
        requests: requests.map(|found| Comparison {
            reconciled: reconciled(found, "/proc/diskstats"),
            what: format!("requests on {}", found.losers.join(", ")),
        }),
        segments: segments.map(|found| Comparison {
            reconciled: reconciled(found, "/proc/PID/net/snmp, /proc/PID/net/netstat"),
            what: "TCP segments sent again".to_owned(),
        }),
    }
}

fn reconciled(found: &Reconciliation, with: &'static str) -> Reconciled {
    let Reconciliation { since, total, covered, uncovered, .. } = found;
    Reconciled {
        with: with.into(),
        since: *since,
        expected: total.expected,
        counted: total.counted,
        lost: total.lost,
        lost_bytes: total.lost_bytes,
        covered: *covered,
        uncovered: *uncovered,
    }
}
