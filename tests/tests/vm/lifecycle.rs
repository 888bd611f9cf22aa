//! Cgroups that come and go, and what remains when Tare has ended.

use std::{collections::BTreeSet, io, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::{libc, sys::signal::Signal};
use tare_tests::{
    lives::{Lives, Place, ensure_exact},
    wait::{self, PATIENCE},
};

use crate::machine::{Container, Driver, Machine, rows};

/// Ids of all BPF programs in the kernel.
fn programs() -> Result<BTreeSet<u32>> {
    const BPF_PROG_GET_NEXT_ID: libc::c_long = 11;
    let mut found = BTreeSet::new();
    // `start_id`, `next_id`, `open_flags` of `union bpf_attr`.
    let mut attributes = [0_u32; 3];
    loop {
        // SAFETY: the kernel reads and writes twelve bytes, which live until it returns.
        let done = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_PROG_GET_NEXT_ID,
                attributes.as_mut_ptr(),
                size_of_val(&attributes),
            )
        };
        if done < 0 {
            let error = io::Error::last_os_error();
            ensure!(error.raw_os_error() == Some(libc::ENOENT), "BPF_PROG_GET_NEXT_ID: {error}");
            return Ok(found);
        }
        found.insert(attributes[1]);
        attributes[0] = attributes[1];
    }
}

#[test]
fn no_program_is_left_in_the_kernel() -> Result<()> {
    let machine = Machine::take()?;
    let before = programs()?;
    let mut tare = machine.stream()?;
    tare.report()?;
    let during = programs()?;
    ensure!(during.difference(&before).count() >= 3, "only {during:?} while it runs");
    let done = tare.interrupt()?;
    ensure!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    // The kernel frees programs a little after their last reference.
    wait::until("its programs to be gone", PATIENCE, || {
        Ok(programs()?.is_subset(&before).then_some(()))
    })
}

#[test]
fn containers_that_come_and_go_disturb_nothing() -> Result<()> {
    let machine = Machine::take()?;
    let staying = Container::new(Driver::Cgroupfs)?;
    let mut load = machine.start(&staying, "serve", None)?;
    load.ready()?;
    let mut tare = machine.tare.stream("100ms")?;
    rows(&mut tare, [&staying])?;
    for n in 0..20 {
        let driver = if n % 2 == 0 { Driver::Cgroupfs } else { Driver::Systemd };
        let passing = Container::new(driver)?;
        if n % 4 == 0 {
            machine.start(&passing, "serve", None)?.ready()?;
        }
    }
    let report = tare.fresh()?;
    let row = report.row(staying.id()).context("the one that stays")?;
    ensure!(row.u64("/memory/usage_bytes")? > 0, "{row:?}");
    let rows = report.value()["containers"].as_array().map(Vec::len);
    ensure!(rows == Some(1), "not one row but {rows:?}: {report:?}");
    let done = tare.interrupt()?;
    ensure!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    Ok(())
}

#[test]
fn a_short_lived_container_leaves_a_receipt() -> Result<()> {
    let machine = Machine::take()?;
    // Longer than the container lives: no sample sees it.
    let mut tare = machine.tare.stream("3s")?;
    tare.report()?;
    let passing = Container::new(Driver::Cgroupfs)?;
    let id = passing.id().to_owned();
    let mut load = machine.start(&passing, "spin --for 300ms", None)?;
    load.outcome()?;
    drop(load);
    // A runtime takes some milliseconds to remove what is empty.
    std::thread::sleep(Duration::from_millis(100));
    drop(passing);
    let report = tare.fresh_with_ended(&[&id])?;
    let row = report.ended(&id).context("no receipt")?;
    for family in ["cpu", "memory", "pids", "network_sockets", "block"] {
        ensure!(row.get(&format!("/finality/{family}/state"))? == "final", "{family}: {row:?}");
    }
    // The load reports its own work; starting it takes more.
    let used = row.f64("/cpu/usage_seconds")?;
    ensure!((0.25..3.0).contains(&used), "{used} s of CPU: {row:?}");
    for sign in ["made_at", "exec_at"] {
        row.str(&format!("/startup/{sign}"))?;
    }
    ensure!(row.get("/startup/listen_at")?.is_null(), "{row:?}");
    let done = tare.interrupt()?;
    ensure!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    Ok(())
}

#[test]
fn an_oom_kill_names_its_victim() -> Result<()> {
    let machine = Machine::take()?;
    let mut tare = machine.stream()?;
    tare.report()?;
    let container = Container::new(Driver::Systemd)?;
    let id = container.id().to_owned();
    std::fs::write(container.file("memory.max"), "16M")?;
    let mut load = machine.start(&container, "allocate --bytes 64MiB --for 20s", None)?;
    ensure!(load.outcome().is_err(), "64 MiB fit into 16");
    drop(load);
    // A runtime takes some milliseconds to remove what is empty.
    std::thread::sleep(Duration::from_millis(100));
    drop(container);
    let report = tare.fresh_with_ended(&[&id])?;
    let row = report.ended(&id).context("no receipt")?;
    ensure!(row.u64("/memory/oom_kills")? >= 1, "{row:?}");
    ensure!(row.str("/memory/last_oom_kill/command")? == "tare-load", "{row:?}");
    ensure!(row.u64("/memory/last_oom_kill/pid")? > 1, "{row:?}");
    Ok(())
}

#[test]
fn what_ended_while_tare_stood_still_is_known_to_the_microsecond() -> Result<()> {
    let machine = Machine::take()?;
    let mut tare = machine.tare.stream("1s")?;
    let (state, reason) = tare
        .report()?
        .source("lifecycle")
        .map(|(state, reason)| (state.to_owned(), reason.map(str::to_owned)))?;
    ensure!(state == "on", "lifecycle is {state}: {reason:?}");
    let all = Lives::new()?;
    tare.signal(Signal::SIGSTOP)?;
    let mut lives = Vec::new();
    for number in 0..8 {
        let place = if number % 2 == 0 { Place::Container } else { Place::SubCgroup };
        let load = ["spin --for 50ms --threads 3", "allocate --bytes 6MiB --for 1ms"];
        lives.push(all.run(number, place, load[number as usize / 2 % 2])?);
    }
    tare.signal(Signal::SIGCONT)?;
    let ids: Vec<&str> = lives.iter().map(|life| life.id.as_str()).collect();
    let report = tare.fresh_with_ended(&ids)?;
    for life in &lives {
        ensure_exact(life, &report.ended(&life.id).context("no receipt")?)?;
    }
    // Linux 5.10 has no file for the peak, but counts it.
    let peak = report.ended(&lives[2].id).context("no receipt")?.u64("/memory/peak_bytes")?;
    ensure!((6 << 20..9 << 20).contains(&peak), "a peak of {peak} bytes for 6 MiB");
    Ok(())
}
