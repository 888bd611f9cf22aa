//! `tare doctor`: its findings are true.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{
    docker::Run,
    doctor::{Diagnosis, FAMILIES},
    lab::Lab,
    process,
    wait::PATIENCE,
};

/// Every object of the contract, by JSON pointer (`*` is every member), and all its keys.
const OBJECTS: &[(&str, &str)] = &[
    (
        "",
        "version host fault families kernel_side rights cgroups cgroup_walk pressure clock \
         recording daemons block_devices",
    ),
    ("/host", "hostname kernel os_name"),
    ("/families/*", "source state reason reason_codes reconciled not_walked remedy"),
    ("/kernel_side", "object btf btf_reason tracepoints programs maps memory_bytes"),
    ("/kernel_side/programs/*", "kind attached verified_instructions memory_bytes"),
    ("/kernel_side/maps/*", "kind entries key_bytes value_bytes memory_bytes"),
    (
        "/rights",
        "user_id capabilities seccomp host_user_namespace host_pid_namespace \
         host_cgroup_namespace lockdown unprivileged_bpf_disabled bpf_jit_enable open_files_limit",
    ),
    ("/cgroups", "layout hierarchies"),
    ("/cgroups/hierarchies/*", "path version id controllers"),
    ("/cgroup_walk", "state found reason remedy files"),
    ("/pressure", "state found reason remedy"),
    ("/clock", "state found reason remedy"),
    ("/recording", "state found reason remedy"),
    ("/daemons/*", "name socket state"),
    ("/block_devices/*", "name counted reason"),
];

#[test]
fn root_has_every_family_and_sees_what_was_loaded() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("spin --for 600s"))?;
    let found = Diagnosis::of(&lab.tare)?;
    ensure!(found.at("/fault")?.is_null(), "{found:?}");
    for family in FAMILIES {
        // Other cgroups of the host may leave something unknown, which is reported.
        let reason = found.at(&format!("/families/{family}/reason"))?.as_str().unwrap_or_default();
        let others = ["not separable for", "charges the I/O of"];
        let theirs = others.iter().any(|known| reason.contains(known));
        let state = found.state(family)?;
        ensure!(state == "on" || state == "degraded" && theirs, "{family} is {state}: {found:?}");
    }
    ensure!(found.attached()?.contains("block_rq_complete"), "{found:?}");
    ensure!(found.at("/kernel_side/btf")? == true, "{found:?}");
    let maps = found.at("/kernel_side/maps")?.as_object().context("maps")?;
    let cells = maps.get("NET_CELLS").and_then(|map| map["memory_bytes"].as_u64());
    // 4,096 slots of one cell per CPU, each longer than a cache line.
    ensure!(cells > Some(4096 * 64), "{found:?}");
    let sum: u64 = maps.values().filter_map(|map| map["memory_bytes"].as_u64()).sum();
    ensure!(found.at("/kernel_side/memory_bytes")?.as_u64() > Some(sum), "{found:?}");
    ensure!(found.at("/rights/user_id")? == 0, "{found:?}");
    let daemons = found.at("/daemons")?.as_array().context("daemons")?;
    let docker = daemons.iter().find(|daemon| daemon["name"] == "docker").context("no docker")?;
    ensure!(docker["state"] == "answers", "{found:?}");
    let disks = found.at("/block_devices")?.as_object().context("block_devices")?;
    ensure!(disks.values().any(|disk| disk["counted"] == "requests"), "{found:?}");
    drop(container);
    Ok(())
}

#[test]
fn every_object_has_exactly_the_keys_of_the_contract() -> Result<()> {
    let found = Diagnosis::of(&Lab::open()?.tare)?;
    for (pointer, keys) in OBJECTS {
        let expected: BTreeSet<&str> = keys.split_whitespace().collect();
        let objects = found.all(pointer);
        ensure!(!objects.is_empty(), "no object at {pointer} in {found:?}");
        for object in objects {
            let keys = object.as_object().into_iter().flat_map(|object| object.keys());
            let keys: BTreeSet<&str> = keys.map(String::as_str).collect();
            ensure!(keys == expected, "{pointer} has {keys:?} instead of {expected:?}");
        }
    }
    Ok(())
}

#[test]
fn an_unprivileged_user_sees_which_capabilities_would_help() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("spin --for 600s"))?;
    let tare = lab.tare.clone().as_nobody(&lab.scratch)?;
    let found = Diagnosis::of(&tare)?;
    for family in ["network_sockets", "network_tcp", "block", "lifecycle"] {
        let remedy = found.str(&format!("/families/{family}/remedy"))?;
        ensure!(remedy.contains("CAP_BPF") && remedy.contains("CAP_PERFMON"), "{family}: {remedy}");
    }
    ensure!(found.state("cpu")? == "on" && found.state("memory")? == "on", "{found:?}");
    ensure!(found.state("network_sockets")? == "off", "{found:?}");
    // `nobody` may not see the namespace of a container that runs as root.
    let remedy = found.str("/families/network_interfaces/remedy")?;
    ensure!(remedy.contains("CAP_SYS_PTRACE"), "{found:?}");
    ensure!(found.at("/rights/capabilities/CAP_BPF")? == false, "{found:?}");
    ensure!(found.attached()?.is_empty(), "{found:?}");
    ensure!(found.at("/kernel_side/memory_bytes")?.is_null(), "{found:?}");

    let strict = tare.run(&["doctor", "--strict"])?;
    ensure!(strict.status.code() == Some(1), "{strict:?}");
    ensure!(strict.stdout.contains("FAMILIES OF NUMBERS"), "{strict:?}");
    drop(container);
    Ok(())
}

#[test]
fn root_of_a_user_namespace_sees_that_it_has_no_capabilities_on_the_host() -> Result<()> {
    let lab = Lab::open()?;
    let tare = lab.tare.command(&["doctor", "--format", "json"]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]).arg(tare.get_program()).args(tare.get_args());
    let done = process::run(command, PATIENCE)?;
    ensure!(done.status.success(), "{done:?}");
    let found = Diagnosis::parse(&done.stdout)?;
    ensure!(found.at("/rights/user_id")? == 0, "{found:?}");
    ensure!(found.at("/rights/capabilities/CAP_BPF")? == true, "{found:?}");
    ensure!(found.at("/rights/host_user_namespace")? == false, "{found:?}");
    let remedy = found.str("/families/block/remedy")?;
    ensure!(remedy.contains("user namespace"), "{remedy}");
    Ok(())
}

#[test]
fn without_cgroups_it_still_reports_what_it_finds() -> Result<()> {
    let lab = Lab::open()?;
    let empty = lab.scratch.subdirectory()?;
    let empty = empty.to_str().context("the path is not UTF-8")?;
    let tare = lab.tare.option("--cgroup-root", empty);
    let found = Diagnosis::of(&tare)?;
    let fault = found.str("/fault")?;
    ensure!(fault.contains("no cgroup hierarchy") && fault.contains("--cgroup-root"), "{fault}");
    ensure!(found.at("/kernel_side/btf")? == true, "{found:?}");
    for family in FAMILIES {
        ensure!(found.state(family)? == "off", "{family}: {found:?}");
    }
    let stats = tare.run(&["stats", "--no-stream"])?;
    ensure!(stats.status.code() == Some(1) && stats.stderr.contains(fault), "{stats:?}");
    Ok(())
}

#[test]
fn without_type_information_it_says_so() -> Result<()> {
    let lab = Lab::open()?;
    let empty = lab.scratch.subdirectory()?;
    let empty = empty.to_str().context("the path is not UTF-8")?;
    let found = Diagnosis::of(&lab.tare.option("--sys-root", empty))?;
    ensure!(found.at("/kernel_side/btf")? == false, "{found:?}");
    for key in ["/kernel_side/btf_reason", "/families/block/remedy"] {
        ensure!(found.str(key)?.contains("CONFIG_DEBUG_INFO_BTF"), "{found:?}");
    }
    let off: Vec<&Value> = found.all("/block_devices/*");
    ensure!(off.iter().all(|disk| disk["counted"].is_null()), "{found:?}");
    Ok(())
}
