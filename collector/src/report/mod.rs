//! From samples to reports: rates and gauges of two samples.
//!
//! Pure: no clock, no files, no kernel. Every family makes its own part of a container.

mod host;
mod parents;
mod point;

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use tare_model::{
    Compose, Container, Ended, Family, Finality, Kind, Network, Pod, Report, Sources, TcpEvents,
};

pub(crate) use self::parents::host_working_set;
pub use self::point::{block_operations, point};
use self::{host::host, parents::parents};
use crate::{
    families::{
        block::{self, BlockInputs},
        cpu, first_process,
        memory::{self, MemoryInputs},
        namespace_sockets, network_interfaces, network_sockets, network_tcp, perf_events, pids,
        state, tasks, writable_layer,
    },
    host::HostFacts,
    identity::{IdentityKind, PodMetadata},
    network::NamespaceId,
    registry::InstanceId,
    sample::{self, Families, Receipt, Receipts, Sample, Usage},
};

/// The most ids of containers in the same network namespace that a row lists. Without a limit, a
/// report would grow with the square of the containers on the host's network.
pub const NEIGHBOURS_MAX: usize = 64;

/// How much of a report is wanted.
#[derive(Clone, Copy, Debug)]
pub struct ReportOptions {
    /// Whether it has rates, which need the sample before.
    pub rates: bool,
    /// Whether it lists the containers that share a network namespace.
    pub neighbours: bool,
    /// The most receipts in it, the latest first.
    pub ended_max: usize,
    /// Whether it has the cgroups above containers: the root and pods.
    pub parents: bool,
}

impl ReportOptions {
    /// All that is shown.
    pub const WHOLE: Self =
        Self { rates: true, neighbours: true, ended_max: usize::MAX, parents: false };

    /// All but containers.
    pub const FRAME: Self = Self { rates: true, neighbours: false, ended_max: 0, parents: false };
}

/// A report whose containers are made one at a time, on demand: thousands of them take much
/// memory.
pub struct ReportBuilder<'a> {
    /// Everything else; it holds no containers.
    pub frame: Report,
    pair: Pair<'a>,
}

impl ReportBuilder<'_> {
    /// Makes the containers of some kinds, in no promised order.
    pub fn containers(&self, wanted: impl Fn(Kind) -> bool) -> impl Iterator<Item = Container> {
        let usages = self.pair.newer.usages.iter().filter(move |usage| wanted(kind(usage)));
        usages.map(|usage| self.pair.container(usage))
    }

    /// Makes the rows of some kinds, each with its instance, in no promised order.
    pub fn rows(
        &self,
        wanted: impl Fn(Kind) -> bool,
    ) -> impl Iterator<Item = (InstanceId, Container)> {
        let usages = self.pair.newer.usages.iter().filter(move |usage| wanted(kind(usage)));
        usages.map(|usage| (usage.instance.id, self.pair.container(usage)))
    }

    /// Makes one row of the newer sample.
    pub fn container(&self, usage: &Usage) -> Container {
        self.pair.container(usage)
    }

    /// Makes the row of a receipt, which may be newer than the sample.
    pub fn ended(&self, receipt: &Receipt) -> Ended {
        self.pair.ended(receipt)
    }

    /// The whole report.
    pub fn report(self) -> Report {
        // As many as there are usages: room for all is made at once.
        let usages = self.pair.newer.usages.iter();
        let containers = usages.map(|usage| self.pair.container(usage)).collect();
        Report { containers, ..self.frame }
    }
}

/// Derives what people read out from a sample and, for rates, one taken before it.
pub fn build<'a>(
    extent: ReportOptions,
    older: Option<&'a Sample>,
    newer: &'a Sample,
    receipts: &Receipts,
    facts: &HostFacts,
    cgroup_layout: &'static str,
    sources: Sources,
) -> ReportBuilder<'a> {
    let older = older.filter(|_| extent.rates);
    let elapsed = older.map(|older| newer.taken_at.saturating_duration_since(older.taken_at));
    let pair = Pair {
        older,
        system_nanoseconds: older.and_then(|older| {
            newer.host.system_nanoseconds?.checked_sub(older.host.system_nanoseconds?)
        }),
        members: extent.neighbours.then(|| members(newer)),
        newer,
    };
    let host_percent = older.and_then(|older| pair.host_percent(older));
    let ended = receipts.iter().rev().take(extent.ended_max);
    let host = host(&newer.host, host_percent, facts, cgroup_layout);
    let frame = Report {
        time: newer.time,
        interval_seconds: elapsed.map(|elapsed| elapsed.as_secs_f64()),
        parents: if extent.parents { parents(&pair, newer, &host) } else { Vec::new() },
        host,
        sources,
        containers: Vec::new(),
        ended: ended.map(|receipt| pair.ended(receipt)).collect(),
    };
    ReportBuilder { frame, pair }
}

/// What rows are made of.
pub(super) struct Pair<'a> {
    /// The sample before, for rates.
    older: Option<&'a Sample>,
    /// Time that all CPUs together spent between the samples, as `docker stats` counts it.
    system_nanoseconds: Option<u64>,
    /// The usages in each network namespace, if wanted.
    members: Option<HashMap<NamespaceId, Vec<&'a Usage>>>,
    newer: &'a Sample,
}

impl Pair<'_> {
    pub(super) fn container(&self, usage: &Usage) -> Container {
        let instance = &usage.instance;
        let identity = instance.identity.as_ref();
        let metadata = usage.metadata.as_deref();
        let processes = usage.tasks.as_ref().map(|tasks| tasks.live.processes);
        let processes = processes.or(usage.readings.processes);
        Container {
            kind: kind(usage),
            id: id(usage).to_owned(),
            name: metadata.map(|metadata| metadata.name.clone()),
            image: metadata.and_then(|metadata| metadata.image.clone()),
            runtime: identity.map(|identity| identity.runtime.as_str().into()),
            cgroup: instance.path.clone(),
            cgroup_id: instance.cgroup_id,
            pod: pod(usage),
            sandbox: metadata.and_then(|metadata| metadata.sandbox),
            compose: metadata.and_then(|metadata| metadata.compose.as_ref()).map(|compose| {
                Compose { project: compose.project.clone(), service: compose.service.clone() }
            }),
            labels: metadata.map(|metadata| metadata.labels.clone()).unwrap_or_default(),
            environment: metadata.map(|metadata| metadata.environment.clone()).unwrap_or_default(),
            state: if usage.readings.state.frozen == Some(true) { "frozen" } else { "running" }
                .into(),
            started_at: started_at(usage),
            restart_count: metadata.and_then(|metadata| metadata.restart_count),
            health: metadata
                .and_then(|metadata| metadata.health)
                .map(|health| health.as_str().into()),
            exit_code: None,
            oom_killed: None,
            startup: (&*usage.startup).into(),
            cpu: self.cpu(usage),
            memory: self.memory(usage),
            network: self.network(usage),
            block: block::report(block_inputs(usage, self.since(usage)), &self.newer.block),
            pids: pids::report(
                usage.readings.pids,
                processes,
                usage.readings.first_process.open_files_limit,
                &usage.readings.settings,
            ),
            root_filesystem: first_process::report(&usage.readings.first_process),
            writable_layer: usage.writable_layer.as_deref().map(writable_layer::report),
            tasks: tasks::report(usage.tasks.as_deref(), usage.open_files.as_deref()),
            perf_events: perf_events::report(&usage.readings.perf_events),
            tree: state::report(usage.readings.state, &usage.readings.settings),
        }
    }

    fn ended(&self, receipt: &Receipt) -> Ended {
        let usage = &receipt.usage;
        let mut container = self.container(usage);
        container.state = "ended".into();
        container.tasks = tasks::of_ended(container.tasks);
        container.exit_code = receipt.end.and_then(|end| end.exit_code);
        container.oom_killed = receipt.end.and_then(|end| end.oom_killed);
        container.network.interfaces =
            receipt.interfaces.as_deref().map(|devices| network_interfaces::report(devices));
        // The number of a namespace that is gone may belong to another one by now.
        container.network.namespace = None;
        container.network.namespace_sockets = None;
        (container.network.shared_with, container.network.shared_with_count) = (None, None);
        let Families { cpu, memory, pids, interfaces, sockets, block } = receipt.finality;
        let tcp = match container.network.tcp_events {
            Some(_) => sockets,
            None => sample::Finality::Unknown,
        };
        let finality = [
            (Family::Cpu, cpu),
            (Family::Memory, memory),
            (Family::Pids, pids),
            (Family::NetworkInterfaces, interfaces),
            (Family::NetworkSockets, sockets),
            // Connections are counted in the table of the sockets.
            (Family::NetworkTcp, tcp),
            (Family::Block, block),
        ];
        Ended {
            container,
            ended_at: receipt.ended_at,
            finality: finality.map(|(family, how)| (family, finality_of(how))).into(),
        }
    }

    fn cpu(&self, usage: &Usage) -> tare_model::Cpu {
        let readings = &usage.readings;
        let before = self.older.and_then(|older| older.usage(usage.instance.id));
        let before = before.and_then(|before| before.readings.cpu.usage_nanoseconds);
        let used = before
            .zip(readings.cpu.usage_nanoseconds)
            .map(|(before, now)| now.saturating_sub(before));
        let percent = self.percent_of_a_cpu(used);
        cpu::report(&readings.cpu, &readings.settings, readings.pressure.cpu, percent)
    }

    fn memory(&self, usage: &Usage) -> tare_model::Memory {
        let inputs = MemoryInputs {
            usage: &usage.readings.memory,
            settings: &usage.readings.settings,
            pressure: usage.readings.pressure.memory,
            oom_kill: usage.oom_kill.as_deref(),
            host_bytes: self.newer.host.memory.total_bytes,
            sampled_at: self.newer.time,
        };
        memory::report(inputs)
    }

    fn host_percent(&self, older: &Sample) -> Option<f64> {
        let before = older.host.busy_nanoseconds?;
        self.percent_of_a_cpu(Some(self.newer.host.busy_nanoseconds?.saturating_sub(before)))
    }

    /// `docker stats`: the share of the host's CPU time, times its CPUs, in percent.
    fn percent_of_a_cpu(&self, used: Option<u64>) -> Option<f64> {
        let system = self.system_nanoseconds.filter(|system| *system > 0)?;
        Some(used? as f64 / system as f64 * f64::from(self.newer.host.online_cpus?) * 100.0)
    }

    fn tcp_events(&self, usage: &Usage) -> Option<TcpEvents> {
        let Sample { retransmits, connections, .. } = *self.newer;
        let events = usage.net.as_ref().filter(|_| retransmits || connections)?.tcp_events;
        Some(network_tcp::report(&events, retransmits, connections, self.since(usage)))
    }

    fn network(&self, usage: &Usage) -> Network {
        let namespace = usage.namespace;
        let devices = namespace.and_then(|namespace| self.newer.namespaces.get(&namespace));
        let members = namespace.zip(self.members.as_ref());
        let members =
            members.map(|(namespace, all)| all.get(&namespace).map_or(&[][..], |all| all));
        let shared_with = members.map(|members| {
            let others = members.iter().filter(|other| other.instance.id != usage.instance.id);
            others.take(NEIGHBOURS_MAX).map(|other| id(other).to_owned()).collect()
        });
        Network {
            interfaces: devices.map(|devices| network_interfaces::report(devices)),
            sockets: usage
                .net
                .as_ref()
                .zip(self.newer.sockets)
                .map(|(cell, level)| network_sockets::report(cell, level, self.since(usage))),
            tcp_events: self.tcp_events(usage),
            namespace_sockets: namespace
                .and_then(|namespace| self.newer.socket_states.get(&namespace))
                .map(|states| namespace_sockets::report(states)),
            namespace,
            shared_with,
            shared_with_count: members.map(|members| members.len().saturating_sub(1)),
            host_namespace: namespace
                .zip(self.newer.host_namespace)
                .map(|(namespace, host)| namespace == host),
        }
    }

    /// When our programs began to count for an instance that is older.
    fn since(&self, usage: &Usage) -> Option<Timestamp> {
        usage.instance.preexisting.then_some(self.newer.counting_since)
    }
}

/// What block I/O's part of a report is made of.
fn block_inputs(usage: &Usage, since: Option<Timestamp>) -> BlockInputs<'_> {
    BlockInputs {
        cells: usage.block.as_ref(),
        latency: &usage.latency,
        files: usage.readings.block.as_ref(),
        since,
        has_baseline: usage.block_has_baseline,
        reason: usage.block_reason.as_ref(),
        pressure: usage.readings.pressure.io,
    }
}

fn members(sample: &Sample) -> HashMap<NamespaceId, Vec<&Usage>> {
    let mut members: HashMap<_, Vec<_>> = HashMap::new();
    for usage in &sample.usages {
        if let Some(namespace) = usage.namespace {
            members.entry(namespace).or_default().push(usage);
        }
    }
    members
}

/// What a usage is of.
pub(crate) fn kind(usage: &Usage) -> Kind {
    match usage.instance.identity.as_ref().map(|identity| identity.kind) {
        Some(IdentityKind::Container) => Kind::Container,
        Some(IdentityKind::Service) => Kind::Service,
        None => Kind::Other,
    }
}

fn id(usage: &Usage) -> &str {
    usage.instance.identity.as_ref().map_or(&usage.instance.path, |identity| &identity.id)
}

/// The pod that an instance belongs to, from its path and its runtime.
pub(super) fn pod(usage: &Usage) -> Option<Pod> {
    let by_path = usage.instance.identity.as_ref().and_then(|identity| identity.pod.as_ref());
    let by_runtime = usage.metadata.as_ref().and_then(|metadata| metadata.pod.as_ref());
    if by_path.is_none() && by_runtime.is_none() {
        return None;
    }
    let PodMetadata { uid, name, namespace, container } = by_runtime.cloned().unwrap_or_default();
    Some(Pod {
        uid: by_path.map(|pod| pod.uid.clone()).or(uid),
        qos: by_path.and_then(|pod| pod.qos).map(|qos| qos.as_str().into()),
        name,
        namespace,
        container,
    })
}

/// When the first process started, from the runtime. The runtime's answer may still be that of the
/// start before a restart; it is left out then.
pub(crate) fn started_at(usage: &Usage) -> Option<Timestamp> {
    const SKEW: Duration = Duration::from_secs(1);
    let reported = usage.metadata.as_deref()?.started_at?;
    let is_earlier = |made: Timestamp| reported.checked_add(SKEW).is_ok_and(|end| end < made);
    (!usage.startup.made_at.is_some_and(is_earlier)).then_some(reported)
}

fn finality_of(finality: sample::Finality) -> Finality {
    let (state, age) = match finality {
        sample::Finality::Final => ("final", None),
        sample::Finality::LastSample(age) => ("last_sample", Some(age)),
        sample::Finality::Unknown => ("unknown", None),
    };
    Finality { state: state.into(), age_seconds: age.map(|age| age.as_secs_f64()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identity::Metadata;

    #[test]
    fn the_start_before_a_restart_is_left_out() {
        let at = |second| Timestamp::new(second, 0).unwrap();
        let mut usage = Usage::of_path(1, "/docker/abc");
        let metadata = Metadata { started_at: Some(at(100)), ..Metadata::default() };
        usage.metadata = Some(Arc::new(metadata));
        for (made, expected) in [(None, Some(100)), (Some(99), Some(100)), (Some(300), None)] {
            usage.startup.make_mut().made_at = made.map(at);
            assert_eq!(started_at(&usage), expected.map(at), "{made:?}");
        }
    }
}
