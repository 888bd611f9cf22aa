//! What the BPF programs cost per event, compared with empty programs at the same hooks.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    effects::work,
    measure::program_ids,
    missing::Missing,
    plan::Plan,
    program::{Program, command},
    test_cgroups::hierarchies,
    tools::{Binaries, TareRun},
};
use crate::{cmd, wait::pause};

/// A program of Tare, its tracepoint, and the event that runs it.
const PROGRAMS: [(&str, &str, &str); 10] = [
    ("sock_send_length", "sock_send_length", "send on a socket"),
    ("sock_recv_length", "sock_recv_length", "receive on a socket"),
    ("inet_sock_set_state", "inet_sock_set_state", "change of a TCP socket's state"),
    ("block_rq_issue", "block_rq_issue", "request handed to a driver"),
    ("block_rq_complete", "block_rq_complete", "request completed"),
    ("cgroup_mkdir", "cgroup_mkdir", "cgroup made"),
    ("cgroup_rmdir", "cgroup_rmdir", "cgroup removed"),
    ("cgroup_attach_task", "cgroup_attach_task", "task moved into a cgroup"),
    ("cgroup_notify_populated", "cgroup_notify_populated", "cgroup's first task, or last"),
    ("sched_process_exec", "sched_process_exec", "program executed"),
];

/// Per packet: a program of Tare, the empty one, and the event that runs them.
const PACKETS: [(&str, &str, &str); 2] = [
    ("ingress", "empty_ingress", "packet received (`--net-level l3`)"),
    ("egress", "empty_egress", "packet sent (`--net-level l3`)"),
];

/// Minimum number of events for a mean.
const EVENTS_MIN: u64 = 100;

/// One BPF program in one round.
#[derive(Deserialize, Serialize)]
pub(crate) struct PerEvent {
    pub(crate) program: String,
    pub(crate) runs_at: String,
    pub(crate) round: usize,
    pub(crate) events: u64,
    pub(crate) ns: f64,
    /// Mean of the empty program for the same events.
    pub(crate) empty_ns: f64,
}

/// Measures with socket programs and with packet programs.
pub(crate) fn run(
    binaries: &Binaries,
    plan: &Plan,
    into: &mut Vec<PerEvent>,
    missing: &mut Missing,
) -> Result<()> {
    println!("Programs in the kernel");
    for round in 0..plan.repeat {
        for (options, packets) in [(&[][..], false), (&["--net-level", "l3"], true)] {
            match measure(binaries, options, packets, round) {
                Ok(found) => into.extend(found),
                Err(error) => missing.add("programs in the kernel", &error)?,
            }
        }
    }
    Ok(())
}

fn measure(
    binaries: &Binaries,
    options: &[&str],
    packets: bool,
    round: usize,
) -> Result<Vec<PerEvent>> {
    let cgroup2 = hierarchies()?.into_iter().find(|one| one.controllers.is_none());
    let mount = cgroup2.context("no cgroup2 hierarchy")?.mount;
    let daemon = TareRun::launch(binaries, options)?;
    let mut empty = command(&binaries.bench, ["empty"]);
    for (_, tracepoint, _) in PROGRAMS.iter().filter(|_| !packets) {
        empty.args(["--tracepoint", tracepoint]);
    }
    if packets {
        empty.arg("--cgroup").arg(mount);
    }
    let empty = Program::start_ready("empty", &empty)?;
    pause(Duration::from_millis(500))?;
    // Another Tare on this machine may have programs with the same names.
    let ours = program_ids(&[daemon.cgroup().pids(), empty.cgroup().pids()].concat());
    let before = counts(&ours)?;
    work(binaries)?;
    let after = counts(&ours)?;
    drop((empty, daemon));
    let found = |name: &str| -> Option<(u64, f64)> {
        let (events, ns) = after.get(name)?;
        let (earlier, earlier_ns) = before.get(name).copied().unwrap_or_default();
        let events = events.checked_sub(earlier).filter(|events| *events >= EVENTS_MIN)?;
        Some((events, (ns - earlier_ns) as f64 / events as f64))
    };
    let names: Vec<(&str, String, &str)> = if packets {
        PACKETS.iter().map(|(name, empty, at)| (*name, (*empty).to_owned(), *at)).collect()
    } else {
        let numbered = PROGRAMS.iter().enumerate();
        numbered.map(|(n, (name, _, at))| (*name, format!("empty_{n}"), *at)).collect()
    };
    Ok(names
        .into_iter()
        .filter_map(|(name, empty, at)| {
            let ((events, ns), (_, empty_ns)) = (found(name)?, found(&empty)?);
            println!("  {name}: {ns:.0} ns of {events} events, empty {empty_ns:.0} ns");
            let (program, runs_at) = (name.to_owned(), at.to_owned());
            Some(PerEvent { program, runs_at, round, events, ns, empty_ns })
        })
        .collect())
}

/// Run count and run time (ns) of these programs, by name.
fn counts(ids: &BTreeSet<u64>) -> Result<BTreeMap<String, (u64, u64)>> {
    let list = cmd::capture(&mut command("bpftool", ["--json", "prog", "show"]))?;
    let list: Vec<Value> = serde_json::from_str(&list).context("no JSON from bpftool")?;
    let one = |program: &Value| -> Option<(String, (u64, u64))> {
        let name = program["name"].as_str()?.to_owned();
        let runs = program["run_cnt"].as_u64().unwrap_or_default();
        Some((name, (runs, program["run_time_ns"].as_u64().unwrap_or_default())))
    };
    let ours = |program: &&Value| program["id"].as_u64().is_some_and(|id| ids.contains(&id));
    Ok(list.iter().filter(ours).filter_map(one).collect())
}
