//! What each kernel supports, and how Tare reports what it does not.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use tare_tests::{
    doctor::{Diagnosis, FAMILIES},
    report::Report,
};

use crate::machine::{Container, Driver, Machine};

/// Expectations for a kernel series. Tare itself checks BTF and files, never versions.
#[derive(Debug)]
pub(crate) struct Kernel {
    series: &'static str,
    /// What a byte means at the sockets.
    pub level: &'static str,
    /// Why it is not the payload.
    sockets_reason: Option<&'static str>,
    /// Whether `cgroup_skb` sees the SYN-ACK that a listener answers with over IPv6, which hangs
    /// on a request and not yet on a full socket; over IPv4 it always does.
    pub v6_syn_ack: bool,
    /// Whether `memory.peak` exists.
    pub memory_peak: bool,
    /// Why programs cannot walk the cgroups.
    pub no_walk: Option<&'static str>,
    /// Why they do not if nobody asks for it.
    pub not_walked: Option<&'static str>,
}

const NO_WALK: Option<&str> = Some("this kernel has no function bpf_iter_css_new for programs");

const NO_TRACEPOINT: Option<&str> =
    Some("packets, not payload: this kernel has no tracepoint sock_send_length");

const KERNELS: [Kernel; 4] = [
    Kernel {
        series: "5.10.",
        level: "l3",
        sockets_reason: NO_TRACEPOINT,
        v6_syn_ack: false,
        memory_peak: false,
        no_walk: NO_WALK,
        not_walked: NO_WALK,
    },
    Kernel {
        series: "6.1.",
        level: "l3",
        sockets_reason: NO_TRACEPOINT,
        v6_syn_ack: false,
        memory_peak: true,
        no_walk: None,
        not_walked: Some(
            "used only with --sources walk: no cgroup can be made or removed during this walk",
        ),
    },
    Kernel {
        series: "6.12.",
        level: "payload",
        sockets_reason: None,
        v6_syn_ack: true,
        memory_peak: true,
        no_walk: None,
        not_walked: None,
    },
    Kernel {
        series: "7.2.",
        level: "payload",
        sockets_reason: None,
        v6_syn_ack: true,
        memory_peak: true,
        no_walk: None,
        not_walked: None,
    },
];

/// Expectations for the running kernel.
pub(crate) fn running() -> Result<&'static Kernel> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("osrelease")?;
    let found = KERNELS.iter().find(|kernel| release.starts_with(kernel.series));
    found.with_context(|| format!("nothing is known of Linux {release}"))
}

fn ensure_sources(report: &Report) -> Result<()> {
    let kernel = running()?;
    for family in
        ["cpu", "memory", "pids", "network_interfaces", "network_tcp", "block", "lifecycle"]
    {
        report.require(family)?;
    }
    let (state, reason) = report.source("network_sockets")?;
    let expected = if kernel.sockets_reason.is_some() { "degraded" } else { "on" };
    ensure!(
        (state, reason) == (expected, kernel.sockets_reason),
        "network_sockets is {state}: {reason:?}; expected {kernel:?}"
    );
    Ok(())
}

#[test]
fn every_family_works_as_well_as_the_kernel_allows() -> Result<()> {
    let machine = Machine::take()?;
    let places = [Container::new(Driver::Cgroupfs)?, Container::new(Driver::Systemd)?];
    let mut loads = Vec::new();
    for place in &places {
        loads.push(machine.start(place, "serve", None)?);
    }
    for load in &mut loads {
        load.ready()?;
    }
    let mut tare = machine.stream()?;
    let report = tare.fresh_with(&[places[0].id(), places[1].id()])?;
    ensure_sources(&report)?;
    let identity = report.source("identity")?;
    ensure!(
        identity == ("degraded", Some("Docker Engine API is not asked")),
        "identity is {identity:?}"
    );
    ensure!(report.value()["host"]["cgroup_layout"] == "v2", "{report:?}");
    for place in &places {
        let row = report.row(place.id())?;
        ensure!(row.str("/runtime")? == "docker" && row.str("/kind")? == "container", "{row:?}");
        ensure!(row.str("/network/sockets/level")? == running()?.level, "{row:?}");
        ensure!(row.str("/block/source")? == "bpf", "{row:?}");
        ensure!(row.get("/memory/peak_bytes")?.is_u64() == running()?.memory_peak, "{row:?}");
    }
    let done = tare.interrupt()?;
    ensure!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    Ok(())
}

#[test]
fn the_doctor_finds_what_the_kernel_has() -> Result<()> {
    let machine = Machine::take()?;
    let kernel = running()?;
    let found = Diagnosis::of(&machine.tare)?;
    for family in FAMILIES {
        let on = family != "network_sockets" || kernel.sockets_reason.is_none();
        let expected = if on { "on" } else { "degraded" };
        ensure!(found.state(family)? == expected, "{family} is not {expected}: {found:?}");
        ensure!(found.at(&format!("/families/{family}/remedy"))?.is_null() == on, "{found:?}");
    }
    let tracepoints = found.at("/kernel_side/tracepoints")?.as_object().context("tracepoints")?;
    let lacking = tracepoints.iter().filter(|(_, arguments)| arguments.is_null());
    let lacking: Vec<&str> = lacking.map(|(name, _)| name.as_str()).collect();
    let (expected, program): (&[&str], _) = match kernel.sockets_reason {
        Some(_) => (&["sock_recv_length", "sock_send_length"], "egress"),
        None => (&[], "sock_send_length"),
    };
    ensure!(lacking == expected, "{lacking:?} are not here: {found:?}");
    let attached = found.attached()?;
    for program in [program, "tcp_retransmit_skb", "block_rq_complete", "cgroup_mkdir"] {
        ensure!(attached.contains(program), "{program} is not attached: {found:?}");
    }
    let bytes = found.at("/kernel_side/memory_bytes")?.as_u64();
    ensure!(bytes > Some(1 << 20), "{found:?}");
    ensure!(found.at("/cgroups/layout")? == "v2", "{found:?}");
    // What it reports about pressure is what the kernel has.
    let pressure = fs::read("/proc/pressure/cpu").is_ok();
    ensure!((found.at("/pressure/state")? == "on") == pressure, "{found:?}");
    ensure!(found.at("/pressure/remedy")?.is_null() == pressure, "{found:?}");
    ensure!(found.at("/clock/found")?.is_string(), "{found:?}");
    ensure!(
        found.all("/block_devices/*").iter().any(|disk| disk["counted"] == "requests"),
        "{found:?}"
    );
    Ok(())
}

#[test]
fn requiring_bpf_succeeds() -> Result<()> {
    let machine = Machine::take()?;
    let tare = machine.tare.option("--bpf", "require").option("--log-level", "debug");
    let done = tare.run(&["stats", "--no-stream", "--format", "json", "--interval", "200ms"])?;
    ensure!(done.status.success(), "{done:?}");
    ensure!(!done.stderr.contains("BPF program"), "a program was refused: {done:?}");
    ensure_sources(&Report::parse(done.stdout.trim())?)
}

#[test]
fn without_bpf_files_are_enough_and_reasons_are_given() -> Result<()> {
    let machine = Machine::take()?;
    let place = Container::new(Driver::Cgroupfs)?;
    let file = machine.scratch.path().join("file");
    let write = format!("write --bytes 1MiB --path {}", file.display());
    machine.start(&place, &write, None)?.outcome()?;
    let tare = machine.tare.option("--bpf", "off");
    let done = tare.run(&["stats", "--no-stream", "--format", "json", "--interval", "200ms"])?;
    ensure!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    let report = Report::parse(done.stdout.trim())?;
    for family in ["cpu", "memory", "pids"] {
        report.require(family)?;
    }
    let off = "switched off with --bpf off";
    ensure!(report.source("network_sockets")? == ("off", Some(off)), "{report:?}");
    let (state, reason) = report.source("block")?;
    ensure!(state == "degraded" && reason.is_some_and(|why| why.contains(off)), "{report:?}");
    Ok(())
}
