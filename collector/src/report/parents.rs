//! The cgroups above containers: the root, which is the whole host, and those of pods.

use std::collections::{BTreeMap, HashMap};

use tare_model::{Container, Cpu, Host, Interface, Kind, Memory, Network, Pod};

use crate::{
    families::network_interfaces,
    identity::pod_cgroup,
    report::{Pair, pod},
    sample::{Sample, Usage},
};

/// The path of the root.
const ROOT: &str = "/";

/// The rows of these cgroups. They include their containers, so a sum over both counts twice.
pub(super) fn parents(pair: &Pair, sample: &Sample, host: &Host) -> Vec<Container> {
    let mut names: HashMap<&str, Pod> = HashMap::new();
    for usage in &sample.usages {
        if let (Some(cgroup), Some(pod)) = (pod_cgroup(&usage.instance.path), pod(usage)) {
            let known = names.entry(cgroup).or_default();
            // Not every container has been named by its runtime yet.
            if known.name.is_none() {
                *known = Pod { container: None, ..pod };
            }
        }
    }
    let is_known = |usage: &&Usage| {
        usage.readings.cpu.usage_nanoseconds.is_some()
            || usage.readings.memory.usage_bytes.is_some()
    };
    let pods = sample.pods.iter().filter(is_known).map(|usage| {
        let mut row = pair.container(usage);
        row.pod = names.remove(row.cgroup.as_str());
        // A kill is reported by the container's row; alerts on sums would count it twice.
        row.memory.oom_kills = None;
        row
    });
    // Where there is no other cgroup, the root itself stands in for a container.
    let is_row = sample.usages.iter().any(|usage| usage.instance.path == ROOT);
    let root = (!is_row).then(|| root(sample, host));
    root.into_iter().chain(pods).collect()
}

/// The host, from `/proc`, as the kernel has it for a root that has files of its own
/// (`kernel/cgroup/rstat.c`, `root_cgroup_cputime`), without time that the hypervisor has stolen.
fn root(sample: &Sample, host: &Host) -> Container {
    let sum = |parts: &[Option<f64>]| parts.iter().copied().sum::<Option<f64>>();
    let user_seconds = sum(&[host.cpu.user_seconds, host.cpu.nice_seconds]);
    let system_seconds =
        sum(&[host.cpu.system_seconds, host.cpu.irq_seconds, host.cpu.softirq_seconds]);
    let cpu = Cpu {
        usage_seconds: sum(&[user_seconds, system_seconds]),
        user_seconds,
        system_seconds,
        pressure: host.pressure.cpu,
        ..Cpu::default()
    };
    Container {
        cgroup: ROOT.to_owned(),
        started_at: host.booted_at,
        cpu,
        memory: Memory { pressure: host.pressure.memory, ..memory(sample) },
        network: Network { interfaces: interfaces(sample), ..Network::default() },
        ..Container::unknown(Kind::Other, ROOT.to_owned())
    }
}

/// The working set of the root.
pub(crate) fn host_working_set(sample: &Sample) -> Option<u64> {
    let memory = &sample.host.memory;
    let charged = [
        memory.anonymous_bytes,
        memory.cached_bytes,
        memory.buffers_bytes,
        memory.swap_cached_bytes,
    ];
    let charged = charged.into_iter().sum::<Option<u64>>()?;
    Some(charged.saturating_sub(memory.inactive_file_bytes?))
}

/// The host's devices, if a container is on its network. They are in the row of the host only, so
/// that they count once.
fn interfaces(sample: &Sample) -> Option<BTreeMap<String, Interface>> {
    let devices = sample.namespaces.get(&sample.host_namespace?)?;
    Some(network_interfaces::report(devices))
}

/// Memory that a limit of the root would be about: anonymous memory and the page cache.
fn memory(sample: &Sample) -> Memory {
    let memory = &sample.host.memory;
    let rss_bytes = memory.anonymous_bytes;
    let cache = [memory.cached_bytes, memory.buffers_bytes, memory.swap_cached_bytes];
    let cache_bytes = cache.into_iter().sum::<Option<u64>>();
    let usage_bytes = [rss_bytes, cache_bytes].into_iter().sum::<Option<u64>>();
    let inactive = memory.inactive_file_bytes;
    let stat = [("inactive_file", inactive), ("file_mapped", memory.mapped_bytes)];
    let stat = stat.into_iter().filter_map(|(name, bytes)| Some((name, bytes?))).collect();
    Memory {
        usage_bytes,
        working_set_bytes: host_working_set(sample),
        rss_bytes,
        cache_bytes,
        swap_bytes: memory.swap_bytes.zip(memory.swap_free_bytes).map(|(all, free)| {
            // The two are of slightly different moments.
            all.saturating_sub(free)
        }),
        mapped_bytes: memory.mapped_bytes,
        stat,
        ..Memory::default()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use tare_model::Report;
    use tare_parsers::cpu::CpuUsage;

    use super::*;
    use crate::{
        host::{CpuTimes, HostFacts, HostMemory, HostUsage},
        report::{ReportOptions, build},
        sample::Receipts,
    };

    fn report(extent: ReportOptions, sample: &Sample) -> Report {
        let (receipts, facts) = (Receipts::new(0, Duration::ZERO), HostFacts::default());
        build(extent, None, sample, &receipts, &facts, "v2", BTreeMap::new()).report()
    }

    fn parents(sample: &Sample) -> Vec<Container> {
        report(ReportOptions { parents: true, ..ReportOptions::WHOLE }, sample).parents
    }

    #[test]
    fn the_root_is_the_host() {
        let cpu = CpuTimes {
            user_nanoseconds: Some(1_000_000_000),
            nice_nanoseconds: Some(2_000_000_000),
            system_nanoseconds: Some(4_000_000_000),
            irq_nanoseconds: Some(0),
            softirq_nanoseconds: Some(500_000_000),
            steal_nanoseconds: Some(9_000_000_000),
            ..CpuTimes::default()
        };
        let memory = HostMemory {
            anonymous_bytes: Some(100),
            cached_bytes: Some(50),
            buffers_bytes: Some(7),
            swap_cached_bytes: Some(3),
            inactive_file_bytes: Some(20),
            swap_bytes: Some(9),
            swap_free_bytes: Some(4),
            ..HostMemory::default()
        };
        let host = HostUsage { cpu, memory, ..HostUsage::default() };
        let sample = Sample { host, ..Sample::empty() };
        let [root] = &parents(&sample)[..] else { panic!("not the root alone") };
        assert_eq!((root.cgroup.as_str(), root.kind), ("/", Kind::Other));
        assert_eq!((root.cpu.usage_seconds, root.cpu.user_seconds), (Some(7.5), Some(3.0)));
        let Memory { usage_bytes, working_set_bytes, swap_bytes, mapped_bytes, .. } = root.memory;
        assert_eq!((usage_bytes, working_set_bytes), (Some(160), Some(140)));
        assert_eq!((swap_bytes, mapped_bytes), (Some(5), None));
    }

    #[test]
    fn what_the_host_lacks_is_unknown_of_the_root() {
        let sample = Sample::empty();
        let [root] = &parents(&sample)[..] else { panic!("not the root alone") };
        assert_eq!((root.cpu.usage_seconds, root.memory.usage_bytes), (None, None));
        assert!(root.memory.stat.is_empty());
        // The root is a row already.
        let sample = Sample { usages: vec![Usage::of_path(1, "/")], ..Sample::empty() };
        assert_eq!(parents(&sample), []);
    }

    #[test]
    fn the_host_is_the_same_without_rows() {
        let memory = HostMemory { total_bytes: Some(7), ..HostMemory::default() };
        let host = HostUsage { memory, ..HostUsage::default() };
        let sample = Sample { host, usages: vec![Usage::of_path(1, "/a")], ..Sample::empty() };
        let (receipts, facts) = (Receipts::new(0, Duration::ZERO), HostFacts::default());
        let draft = |extent| build(extent, None, &sample, &receipts, &facts, "v2", BTreeMap::new());
        let (whole, bare) =
            (draft(ReportOptions::WHOLE).report(), draft(ReportOptions::FRAME).frame);
        assert_eq!((whole.containers.len(), bare.containers.len()), (1, 0));
        assert_eq!((bare.host.memory_bytes, &bare.host), (Some(7), &whole.host));
    }

    #[test]
    fn a_pod_that_cannot_be_read_any_more_has_no_row() {
        let mut read = Usage::of_path(u64::MAX, "/kubepods/pod1");
        read.readings_mut().cpu =
            CpuUsage { usage_nanoseconds: Some(2_000_000_000), ..CpuUsage::default() };
        read.readings_mut().memory.events.oom_kill = Some(1);
        let gone = Usage::of_path(u64::MAX, "/kubepods/pod2");
        let sample = Sample { pods: vec![read, gone], ..Sample::empty() };
        let [_, pod] = &parents(&sample)[..] else { panic!("not the root and one pod") };
        assert_eq!((pod.cgroup.as_str(), pod.cpu.usage_seconds), ("/kubepods/pod1", Some(2.0)));
        assert_eq!(pod.memory.oom_kills, None);
    }
}
