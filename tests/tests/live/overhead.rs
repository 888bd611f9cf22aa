//! The system calls of a sample.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tare_tests::{
    docker::Run,
    lab::Lab,
    process::Process,
    wait::{self, PATIENCE},
};

/// Calls of one system call in a trace of many threads.
fn calls(trace: &str, name: &str) -> usize {
    let call = format!("{name}(");
    trace.lines().filter(|line| line.contains(&call)).count()
}

#[test]
fn bpf_counters_are_read_without_a_system_call() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("serve"))?;
    let mut tare = lab.tare.stream("100ms")?;
    let report = tare.fresh_with(&[container.id()])?;
    report.require("network_sockets")?;
    report.row(container.id())?.u64("/network/sockets/rx_bytes")?;

    let file = lab.scratch.path().join("trace");
    let mut strace = Command::new("strace");
    strace.args(["--follow-forks", "--trace=bpf,pread64,setns"]);
    strace.arg("--output").arg(&file).args(["--attach", &tare.id().to_string()]);
    let strace = Process::spawn(strace).context("the live tests need strace")?;
    let read = || fs::read_to_string(&file).unwrap_or_default();
    // The kept cgroup files are read once per sample: they show that strace sees the samples.
    wait::until("strace to see samples", PATIENCE, || {
        tare.report()?;
        Ok((calls(&read(), "pread64") > 0).then_some(()))
    })?;
    for _ in 0..20 {
        tare.report()?;
    }
    strace.signal(Signal::SIGINT)?;
    strace.finish(PATIENCE)?;

    let trace = read();
    ensure!(calls(&trace, "pread64") >= 20, "strace saw too little: {trace}");
    // The walk over the cgroups starts an iterator for each hierarchy; it reads no counters.
    let mut bpf = trace.lines().filter(|line| line.contains("bpf("));
    ensure!(bpf.all(|line| line.contains("BPF_ITER_CREATE")), "20 samples called bpf: {trace}");
    ensure!(calls(&trace, "setns") == 0, "20 samples called setns: {trace}");
    Ok(())
}
