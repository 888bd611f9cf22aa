//! The service while it runs.

use std::{fs, thread::sleep, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tare_tests::wait;

use crate::installed::{Installed, LIMIT, call, properties};

/// The exposure that `systemd-analyze security` may find.
const EXPOSURE_MAX: f64 = 3.0;

/// Shorter than the package's, so that a test need not wait.
const WATCHDOG: &str = "[Service]\nWatchdogSec=4s\nTimeoutAbortSec=2s\n";
const WATCHDOG_TIME: Duration = Duration::from_secs(4);

#[test]
fn it_is_confined() -> Result<()> {
    let tare = Installed::new()?;
    let found = call("systemd-analyze", &["security", "--no-pager", "tare.service"])?;
    let line = found.lines().find(|line| line.contains("Overall exposure level"));
    let line = line.context("no exposure level")?;
    println!("{line}");
    let (_, score) = line.split_once(": ").context("no score")?;
    let score: f64 = score.split(' ').next().context("no score")?.parse()?;
    ensure!(score <= EXPOSURE_MAX, "{found}");
    let status = fs::read_to_string(format!("/proc/{}/status", tare.pid()?))?;
    let seccomp = status.lines().find(|line| line.starts_with("Seccomp:"));
    ensure!(seccomp == Some("Seccomp:\t2"), "{seccomp:?}");
    Ok(())
}

#[test]
fn it_reloads() -> Result<()> {
    let tare = Installed::new()?;
    tare.configure("TARE_LOG_LEVEL=info\n")?;
    let before = tare.pid()?;
    call("systemctl", &["reload", "tare.service"])?;
    wait::eventually("a line in the journal", LIMIT, || {
        let journal = call("journalctl", &["--unit=tare", "--no-pager", "--output=cat"])?;
        ensure!(journal.contains("the configuration was read again"), "{journal}");
        Ok(())
    })?;
    tare.active()?;
    ensure!(tare.pid()? == before, "the process is another one");
    Ok(())
}

#[test]
fn it_feeds_the_watchdog_and_hung_is_started_again() -> Result<()> {
    let tare = Installed::new()?;
    let directory = "/run/systemd/system/tare.service.d";
    fs::create_dir_all(directory)?;
    fs::write(format!("{directory}/watchdog.conf"), WATCHDOG)?;
    call("systemctl", &["daemon-reload"])?;
    call("systemctl", &["restart", "tare.service"])?;
    let check = || -> Result<()> {
        tare.active()?;
        let before = tare.pid()?;
        sleep(WATCHDOG_TIME * 3);
        ensure!(tare.pid()? == before, "the watchdog was not fed");
        kill(Pid::from_raw(before.try_into()?), Signal::SIGSTOP)?;
        wait::eventually("another process", LIMIT, || {
            let after = tare.pid()?;
            ensure!(after != 0 && after != before, "process {after}");
            Ok(())
        })?;
        tare.active()?;
        let restarts = properties("tare.service", "NRestarts")?;
        ensure!(restarts == ["1"], "{restarts:?}");
        Ok(())
    };
    let checked = check();
    fs::remove_dir_all(directory)?;
    call("systemctl", &["daemon-reload"])?;
    checked
}

#[test]
fn stopped_it_ends_well() -> Result<()> {
    let _tare = Installed::new()?;
    call("systemctl", &["stop", "tare.service"])?;
    let state = properties("tare.service", "ActiveState,Result,ExecMainStatus")?;
    ensure!(state == ["inactive", "success", "0"], "{state:?}");
    Ok(())
}
