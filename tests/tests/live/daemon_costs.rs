//! What `tare run` reports about its own cost, and what it gives up to keep its budget.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use tare_tests::{
    docker::Run,
    lab::Lab,
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

/// The sum over all programs.
fn sum(metrics: &str, name: &str) -> f64 {
    let rows = metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
    rows.filter_map(|row| row.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// Waits until runs were counted for more than this many seconds; the seconds.
fn counted(daemon: &TareDaemon, seconds: f64) -> Result<(f64, String)> {
    wait::until("runs of BPF programs to be counted", PATIENCE, || {
        // Each request runs a BPF program, because a socket sends.
        let metrics = daemon.metrics()?;
        let row = metrics.lines().find_map(|row| row.strip_prefix("tare_bpf_stats_seconds_total "));
        let found = row.map(str::parse::<f64>).transpose().context("tare_bpf_stats_seconds")?;
        Ok(found.filter(|found| *found > seconds).map(|found| (found, metrics)))
    })
}

#[test]
fn runs_of_programs_are_counted_for_a_moment_at_the_start_and_not_again() -> Result<()> {
    let lab = Lab::open()?;
    let daemon = TareDaemon::start(&lab.tare, &["--interval", "200ms"])?;
    let (seconds, metrics) = counted(&daemon, 0.0)?;
    ensure!(seconds >= 1.0, "a window of {seconds} s");
    let runs = sum(&metrics, "tare_bpf_program_runs_total");
    let took = sum(&metrics, "tare_bpf_program_run_seconds_total");
    ensure!(runs >= 1.0, "no program has run: {metrics}");
    ensure!((1e-9..1e-3).contains(&(took / runs)), "{runs} runs took {took} s");
    let shown = |program: &str| {
        metrics.contains(&format!("tare_bpf_program_runs_total{{program=\"{program}\"}}"))
    };
    ensure!(shown("sock_send_length") && shown("cgroup_mkdir"), "{metrics}");
    ensure!(!shown("egress"), "a program that is not loaded: {metrics}");
    // The capability for another window is dropped, unless the host counts all runs anyway.
    ensure!(!metrics.contains("sys_admin"), "{metrics}");
    Ok(())
}

#[test]
fn runs_of_programs_are_counted_again_if_configured() -> Result<()> {
    let lab = Lab::open()?;
    let daemon = TareDaemon::start(&lab.tare, &["--bpf-stats-interval", "10s"])?;
    let (first, metrics) = counted(&daemon, 0.0)?;
    ensure!(metrics.contains("tare_capability_info{capability=\"cap_sys_admin\"} 1"), "{metrics}");
    let (second, later) = counted(&daemon, first)?;
    ensure!(second >= first + 1.0, "a second window of {} s", second - first);
    let runs = |metrics: &str| sum(metrics, "tare_bpf_program_runs_total");
    ensure!(runs(&later) > runs(&metrics), "{metrics}\n{later}");
    Ok(())
}

#[test]
fn without_the_right_to_count_runs_it_says_so_and_reports_none() -> Result<()> {
    let lab = Lab::open()?;
    let needed = ["bpf", "perfmon", "sys_ptrace", "dac_read_search"];
    let tare = lab.tare.clone().with_capabilities(&needed, &lab.scratch)?;
    let daemon = TareDaemon::start(&tare, &["--interval", "100ms", "--bpf-stats-interval", "10s"])?;
    let samples = daemon.metric("tare_samples_total")?;
    wait::until("two seconds of samples", PATIENCE, || {
        Ok((daemon.metric("tare_samples_total")? > samples + 20.0).then_some(()))
    })?;
    let metrics = daemon.metrics()?;
    let done = daemon.terminate()?;
    // `kernel.bpf_stats_enabled` may be set on this host.
    let setting = fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled")?;
    let permanent = setting.trim() == "1";
    ensure!(metrics.contains("tare_bpf_") == permanent, "{metrics}");
    ensure!(done.stderr.contains("needs CAP_SYS_ADMIN") != permanent, "{}", done.stderr);
    Ok(())
}

#[test]
fn with_a_budget_that_is_too_small_it_gives_up_work_and_runs_on() -> Result<()> {
    let lab = Lab::open()?;
    let _container = lab.start(Run::load("serve"))?;
    let daemon = TareDaemon::start(&lab.tare, &["--interval", "100ms", "--max-cpu", "0.01%"])?;
    ensure!(daemon.metric("tare_budget_level")? < 1.0, "nothing was used up yet");
    ensure!(daemon.metric("tare_history_bytes")? > 0.0, "there is no history at first");
    ensure!(daemon.metric("tare_memory_stat_interval_seconds")? < 0.1, "memory.stat is read");
    wait::until("a longer interval", 2 * PATIENCE, || {
        let (level, interval) =
            (daemon.metric("tare_budget_level")?, daemon.metric("tare_sample_interval_seconds")?);
        Ok((level >= 4.0 && interval > 0.15).then_some(()))
    })?;
    ensure!(daemon.metric("tare_history_bytes")? < 1.0, "the history takes memory still");
    let memory_stat = daemon.metric("tare_memory_stat_interval_seconds")?;
    ensure!((memory_stat - 1.0).abs() < 1e-9, "memory.stat is read every {memory_stat} s");
    let samples = daemon.metric("tare_samples_total")?;
    wait::until("a further sample", PATIENCE, || {
        Ok((daemon.metric("tare_samples_total")? > samples).then_some(()))
    })?;
    Ok(())
}
