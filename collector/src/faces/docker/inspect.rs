//! `/containers/ID/json`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{Docker, catalog::Item};
use crate::{
    cgroup::first_pid,
    faces::{body::json_answer, processes::ARGUMENTS_BYTES_MAX},
    server::answer::Answer,
};

/// The Engine counts CPUs in billionths.
const NANO_CPUS: u64 = 1_000_000_000;

/// What is known of a container. `None` is unknown, and not sent.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Inspection<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    args: &'a [String],
    state: State,
    image: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_count: Option<u64>,
    platform: &'static str,
    mounts: [(); 0],
    config: Config<'a>,
    host_config: HostConfig<'a>,
    network_settings: NetworkSettings,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: &'static str,
    running: bool,
    paused: bool,
    restarting: bool,
    #[serde(rename = "OOMKilled", skip_serializing_if = "Option::is_none")]
    oom_killed: Option<bool>,
    dead: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i64>,
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Health>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Config<'a> {
    image: &'a str,
    labels: BTreeMap<String, String>,
    /// The whole command: which part of it is the image's entry point is unknown.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    cmd: &'a [String],
    /// The variables that may be published; `null` if there are none.
    env: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    network_mode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_reservation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_shares: Option<u64>,
    /// The quota in CPUs. Clients ask for it first, then for the CPU set, then for quota and
    /// period.
    #[serde(skip_serializing_if = "Option::is_none")]
    nano_cpus: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_quota: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_period: Option<u64>,
    cpuset_cpus: &'a str,
    cpuset_mems: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pids_limit: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    networks: BTreeMap<(), ()>,
}

impl Docker {
    /// What is known of a container.
    pub(super) fn inspect(&self, item: Item<'_>) -> Answer {
        let metadata = item.metadata();
        let pid = if item.receipt().is_none() { self.first_pid(&item) } else { Some(0) };
        let known = metadata.map(|metadata| &*metadata.command).filter(|known| !known.is_empty());
        let read = if known.is_none() { self.command_of(pid) } else { Default::default() };
        let command = known.unwrap_or(&read);
        let (path, args) = match command.split_first() {
            Some((path, args)) => (Some(path.as_str()), args),
            None => (None, &[][..]),
        };
        let environment = metadata.map(|metadata| metadata.environment.iter());
        let env = environment.into_iter().flatten().map(|(name, value)| format!("{name}={value}"));
        let env = Some(env.collect()).filter(|env: &Vec<_>| !env.is_empty());
        json_answer(&Inspection {
            id: item.id(),
            created: item.created_at(),
            path,
            args,
            state: state(&item, pid),
            image: image_id(&item),
            name: format!("/{}", item.name()),
            restart_count: metadata.and_then(|metadata| metadata.restart_count),
            platform: "linux",
            mounts: [],
            config: Config { image: item.image(), labels: item.labels(), cmd: command, env },
            host_config: host_config(&item),
            network_settings: NetworkSettings { networks: BTreeMap::new() },
        })
    }

    fn first_pid(&self, item: &Item<'_>) -> Option<u32> {
        let hierarchies = &self.context.shared.processes.hierarchies;
        first_pid(hierarchies, &item.usage().instance.path).ok().flatten()
    }

    /// The arguments of a process, for containers whose runtime does not say what they run.
    fn command_of(&self, pid: Option<u32>) -> Vec<String> {
        let Some(pid) = pid.filter(|pid| *pid > 0) else { return Vec::new() };
        let file = self.context.shared.processes.proc_root.join(format!("{pid}/cmdline"));
        let Ok(mut bytes) = std::fs::read(file) else { return Vec::new() };
        bytes.truncate(ARGUMENTS_BYTES_MAX);
        let text = String::from_utf8_lossy(&bytes);
        let words = text.trim_end_matches('\0').split('\0').map(str::to_owned);
        words.filter(|_| !text.is_empty()).collect()
    }
}

fn state(item: &Item<'_>, pid: Option<u32>) -> State {
    let (receipt, metadata) = (item.receipt(), item.metadata());
    let end = receipt.and_then(|receipt| receipt.end);
    let health = metadata.and_then(|metadata| metadata.health);
    State {
        status: item.state(),
        running: receipt.is_none(),
        paused: item.state() == "paused",
        restarting: false,
        oom_killed: end.and_then(|end| end.oom_killed),
        dead: false,
        pid,
        exit_code: if receipt.is_none() { Some(0) } else { item.exit_code() },
        error: "",
        started_at: item.started_at(),
        finished_at: receipt.map(|receipt| receipt.ended_at),
        health: health.map(|health| Health { status: health.as_str() }),
    }
}

/// The id of the image. Clients cut it at the colon without asking, so that is there always; what
/// is unknown after it is empty, as Podman sends it.
fn image_id(item: &Item<'_>) -> String {
    let id = item.metadata().and_then(|metadata| metadata.image_id.as_deref()).unwrap_or_default();
    if id.contains(':') { id.to_owned() } else { format!("sha256:{id}") }
}

fn host_config<'a>(item: &Item<'a>) -> HostConfig<'a> {
    let settings = &item.usage().readings.settings;
    let cpu = &settings.cpu;
    let nano_cpus = |(quota, period): (u64, u64)| quota.checked_mul(NANO_CPUS)?.checked_div(period);
    HostConfig {
        network_mode: item.metadata().and_then(|metadata| metadata.network_mode.as_deref()),
        memory: settings.memory.max_bytes,
        memory_reservation: settings.memory.soft_bytes.or(settings.memory.low_bytes),
        cpu_shares: cpu.shares,
        nano_cpus: cpu.quota_microseconds.zip(cpu.period_microseconds).and_then(nano_cpus),
        cpu_quota: cpu.quota_microseconds,
        cpu_period: cpu.period_microseconds,
        cpuset_cpus: confining(&cpu.cpus, item.published().pair.newer.host.online_cpus),
        cpuset_mems: &cpu.mems,
        pids_limit: settings.pids_limit,
    }
}

/// A list of CPUs, or nothing if it has all that are online: cgroup v1 writes that where no list
/// was asked for, and clients would take it for a limit.
fn confining(cpus: &str, online: Option<u32>) -> &str {
    let is_all = match online {
        None | Some(0) => false,
        Some(1) => cpus == "0",
        Some(count) => cpus.strip_prefix("0-").is_some_and(|last| last.parse() == Ok(count - 1)),
    };
    if is_all { "" } else { cpus }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_all_cpus_confines_nothing() {
        for (cpus, online, sent) in [
            ("0-1", Some(2), ""),
            ("0", Some(1), ""),
            ("0", Some(2), "0"),
            ("0-1", Some(4), "0-1"),
            ("0,2-3", Some(4), "0,2-3"),
            ("0-1", None, "0-1"),
            ("", Some(2), ""),
        ] {
            assert_eq!(confining(cpus, online), sent, "{cpus} of {online:?}");
        }
    }
}
