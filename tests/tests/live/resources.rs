//! Limits and states that Docker sets, and what happens at limits.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tare_tests::{
    docker::Run,
    lab::Lab,
    process,
    report::Report,
    wait::{self, PATIENCE},
};

#[test]
fn a_busy_container_is_throttled_at_its_limit() -> Result<()> {
    let lab = Lab::open()?;
    let load = Run::load("spin --for 600s").option("--cpus", "0.2");
    let container = lab.start(load)?;
    container.ready()?;
    let mut tare = lab.tare.stream("1s")?;
    let first = tare.fresh_with(&[container.id()])?.row(container.id())?;
    ensure!((first.f64("/cpu/limit_cores")? - 0.2).abs() < 1e-9, "{first:?}");
    ensure!((first.f64("/cpu/settings/quota_seconds")? - 0.02).abs() < 1e-9, "{first:?}");
    ensure!((first.f64("/cpu/settings/period_seconds")? - 0.1).abs() < 1e-9, "{first:?}");
    tare.report()?;
    tare.report()?;
    let last = tare.fresh()?.row(container.id())?;
    let periods = last.growth(&first, "/cpu/periods")?;
    let throttled = last.growth(&first, "/cpu/throttled_periods")?;
    ensure!(periods >= 10, "{periods} periods: {last:?}");
    // It needs more in each period, but may not get its share of a busy machine.
    ensure!(throttled * 2 > periods && throttled <= periods, "{throttled} of {periods}: {last:?}");
    let seconds = |row: &tare_tests::report::Row| row.f64("/cpu/throttled_seconds");
    ensure!(seconds(&last)? > seconds(&first)?, "{last:?}");
    ensure!(last.f64("/cpu/percent")? < 30.0, "{last:?}");
    Ok(())
}

#[test]
fn limits_are_those_that_docker_set() -> Result<()> {
    let lab = Lab::open()?;
    let load = Run::load("serve")
        .option("--cpu-shares", "512")
        .option("--cpuset-cpus", "0")
        .option("--memory", "64m")
        .option("--memory-reservation", "32m")
        .option("--pids-limit", "77");
    let container = lab.start(load)?;
    container.ready()?;
    let row = lab.tare.report()?.row(container.id())?;
    ensure!(row.str("/cpu/settings/cpus")? == "0", "{row:?}");
    ensure!(row.str("/cpu/settings/effective_cpus")? == "0", "{row:?}");
    ensure!(row.u64("/memory/limits/max_bytes")? == 64 << 20, "{row:?}");
    ensure!(row.u64("/memory/limit_bytes")? == 64 << 20, "{row:?}");
    ensure!(row.u64("/pids/limit")? == 77, "{row:?}");
    ensure!(row.get("/cpu/limit_cores")?.is_null(), "{row:?}");
    // The same options are other files on v1 and v2.
    let legacy = !row.get("/cpu/settings/shares")?.is_null();
    if legacy {
        ensure!(row.u64("/cpu/settings/shares")? == 512, "{row:?}");
        ensure!(row.u64("/memory/limits/soft_bytes")? == 32 << 20, "{row:?}");
        ensure!(*row.get("/memory/under_oom")? == false, "{row:?}");
        let per_cpu = row.get("/cpu/per_cpu_seconds")?.as_array().context("per_cpu_seconds")?;
        let sum: f64 = per_cpu.iter().filter_map(serde_json::Value::as_f64).sum();
        // It may run on the first CPU only, and the list may be older than the sum.
        ensure!(sum > 0.0 && sum <= row.f64("/cpu/usage_seconds")? + 1e-9, "{row:?}");
    } else {
        ensure!(row.u64("/cpu/settings/weight")? < 100, "{row:?}");
        ensure!(row.u64("/memory/limits/low_bytes")? == 32 << 20, "{row:?}");
    }
    Ok(())
}

#[test]
fn a_container_at_its_memory_limit_is_reported() -> Result<()> {
    let lab = Lab::open()?;
    let data = lab.scratch.subdirectory()?;
    let load = Run::load("write --bytes 96MiB --path /data/file --mode sync")
        .option("--memory", "16m")
        .mount(&data, "/data")
        .linger();
    let container = lab.start(load)?;
    container.outcome()?;
    let row = lab.tare.report()?.row(container.id())?;
    // Its page cache alone is more than it may have.
    ensure!(row.u64("/memory/events/max")? > 0, "{row:?}");
    ensure!(row.u64("/memory/usage_bytes")? <= 16 << 20, "{row:?}");
    ensure!(row.u64("/memory/limit_bytes")? == 16 << 20, "{row:?}");
    ensure!(row.u64("/memory/oom_kills")? == 0, "{row:?}");
    Ok(())
}

#[test]
fn a_paused_container_is_frozen() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("serve"))?;
    container.ready()?;
    let mut tare = lab.tare.stream("200ms")?;
    let mut until = |state: &str| {
        wait::until(&format!("it to be {state}"), PATIENCE, || {
            let row = tare.fresh_with(&[container.id()])?.row(container.id())?;
            Ok((row.str("/state")? == state).then_some(row))
        })
    };
    until("running")?;
    lab.docker.client(["pause", container.id()])?;
    let row = until("frozen")?;
    ensure!(*row.get("/tree/frozen")? == true && row.u64("/pids/current")? > 0, "{row:?}");
    lab.docker.client(["unpause", container.id()])?;
    until("running")?;
    Ok(())
}

#[test]
fn five_thousand_threads_are_counted() -> Result<()> {
    const THREADS: u64 = 5000;
    let lab = Lab::open()?;
    let container = lab.start(Run::load(&format!("threads --count {THREADS} --for 600s")))?;
    container.ready()?;
    let row = lab.tare.report()?.row(container.id())?;
    // And the one that made them.
    ensure!(row.u64("/pids/current")? == THREADS + 1, "{row:?}");
    // All of them are one process.
    ensure!(row.u64("/pids/processes")? == 1, "{row:?}");
    if !row.get("/pids/peak")?.is_null() {
        ensure!(row.u64("/pids/peak")? > THREADS, "{row:?}");
    }
    Ok(())
}

#[test]
fn memory_is_on_the_nodes() -> Result<()> {
    const BYTES: u64 = 96 << 20;
    let lab = Lab::open()?;
    let container = lab.start(Run::load(&format!("allocate --bytes {BYTES} --for 600s")))?;
    container.ready()?;
    let row = lab.tare.report()?.row(container.id())?;
    let nodes = row.get("/memory/numa_nodes")?.as_object().context("no nodes")?;
    let on_nodes: Option<u64> = nodes.values().map(|node| node["anon_bytes"].as_u64()).sum();
    let on_nodes = on_nodes.with_context(|| format!("unknown: {row:?}"))?;
    let rss = row.u64("/memory/rss_bytes")?;
    // The kernel counts a part per CPU before it adds it up.
    ensure!(on_nodes >= BYTES && on_nodes.abs_diff(rss) < BYTES / 16, "{on_nodes}: {row:?}");
    Ok(())
}

#[test]
fn a_private_cgroup_namespace_changes_nothing() -> Result<()> {
    let lab = Lab::open()?;
    let load = Run::load("serve").option("--cpus", "0.5").option("--memory", "64m");
    let container = lab.start(load)?;
    container.ready()?;
    let outside = lab.tare.report()?.row(container.id())?;
    let inner = lab.tare.command(&["stats", "--no-stream", "--format", "json"]);
    let mut command = Command::new("unshare");
    command.arg("--cgroup").arg(inner.get_program()).args(inner.get_args());
    let done = process::run(command, PATIENCE)?;
    ensure!(done.status.success(), "{}", done.stderr);
    let inside = Report::parse(done.stdout.trim())?.row(container.id())?;
    for pointer in ["/cgroup", "/cpu/settings", "/cpu/limit_cores", "/memory/limits", "/pids"] {
        let (outside, inside) = (outside.get(pointer)?, inside.get(pointer)?);
        ensure!(outside == inside, "{pointer}: {outside} outside, {inside} inside");
    }
    Ok(())
}

#[test]
fn with_few_descriptors_no_numbers_are_missing() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("serve"))?;
    container.ready()?;
    let stats = ["--bpf", "off", "stats", "--no-stream", "--format", "json"];
    let inner = lab.tare.command(&stats);
    let mut command = Command::new("prlimit");
    command.arg("--nofile=48").arg(inner.get_program()).args(inner.get_args());
    let done = process::run(command, PATIENCE)?;
    ensure!(done.status.success(), "{}", done.stderr);
    let report = Report::parse(done.stdout.trim())?;
    let row = report.row(container.id())?;
    ensure!(row.f64("/cpu/usage_seconds")? > 0.0, "{row:?}");
    for pointer in ["/memory/usage_bytes", "/memory/rss_bytes", "/pids/current"] {
        ensure!(row.u64(pointer)? > 0, "{pointer}: {row:?}");
    }
    for family in ["cpu", "memory", "pids"] {
        let (state, reason) = report.source(family)?;
        let said = reason.is_some_and(|reason| reason.contains("only 48 files"));
        ensure!(state == "degraded" && said, "{family} is {state}: {reason:?}");
    }
    Ok(())
}
