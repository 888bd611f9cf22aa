//! Receipts: how containers begin, what remains of them, and that nothing is mixed up or leaked.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{
    binaries,
    docker::{Container, Run},
    lab::Lab,
    process::{Process, output},
    report::Row,
    scratch::{Cgroup, cgroup2_mount},
    wait::{self, PATIENCE},
};

const MS: f64 = 1e-3;

/// Every family but the interfaces: a process may end before its namespace can be looked at.
fn ensure_final(row: &Row) -> Result<()> {
    let finality = row.get("/finality")?.as_object().context("no finality")?;
    for (family, how) in finality.iter().filter(|(family, _)| *family != "network_interfaces") {
        ensure!(how["state"] == "final", "{family} is {how} in {row:?}");
    }
    Ok(())
}

/// Seconds between two points in time of a row.
fn between(row: &Row, from: &str, to: &str) -> Result<f64> {
    let seconds = |pointer| -> Result<f64> {
        let text = row.str(pointer)?;
        let time = text.split_once('T').and_then(|(_, time)| time.strip_suffix('Z'));
        let parts = time.map(|time| time.split(':').map(str::parse::<f64>));
        let parts: Vec<_> = parts.context("no time")?.collect::<Result<_, _>>()?;
        Ok(parts.iter().fold(0.0, |sum, part| sum * 60.0 + part))
    };
    // Over midnight the difference is a day short.
    Ok((seconds(to)? - seconds(from)?).rem_euclid(86_400.0))
}

#[test]
fn two_hundred_short_lived_containers_are_accounted_in_full() -> Result<()> {
    const LIVES: usize = 200;
    const WRITTEN: u64 = 64 << 10;
    const SENT: u64 = 10_000;
    let lab = Lab::open()?;
    let data = lab.scratch.subdirectory()?;
    // Made with direct I/O: over cached pages a direct write falls back to buffered writing, which
    // v1 charges to the root.
    for n in 0..LIVES {
        let mut make = Command::new(binaries::load()?);
        make.args(["write", "--bytes", &WRITTEN.to_string(), "--path"]);
        make.arg(data.join(n.to_string()));
        output(make, PATIENCE)?;
    }
    let mut tare = lab.tare.stream("10s")?;
    let before = tare.report()?.reconciled("block")?;
    let load = format!("burst --write-bytes {WRITTEN} --tcp-bytes {SENT} --for 3ms --path /data/");
    let lives = (0..LIVES)
        .map(|n| {
            let run = Run::load(&format!("{load}{n}")).mount(&data, "/data");
            lab.start(run.option("--network", "none"))
        })
        .collect::<Result<Vec<Container>>>()?;
    let outcomes = lives.iter().map(Container::outcome).collect::<Result<Vec<Value>>>()?;
    let ids: Vec<_> = lives.iter().map(Container::id).collect();
    let report = tare.fresh_with_ended(&ids)?;
    let (mut longest, mut unseen, mut late): (f64, u64, usize) = (0.0, 0, 0);
    for (life, outcome) in lives.iter().zip(&outcomes) {
        let row = report.ended(life.id()).context("no receipt")?;
        // On a busy machine, a runtime may remove files before they are read.
        if ensure_final(&row).is_err() {
            late += 1;
            continue;
        }
        let written = row.u64("/block/write_bytes")?;
        ensure!(written == WRITTEN || written == 0, "{row:?}");
        unseen += u64::from(written == 0);
        ensure!(row.u64("/network/sockets/tcp/rx_bytes")? == SENT, "{row:?}");
        ensure!(row.u64("/network/sockets/tcp/tx_bytes")? == SENT, "{row:?}");
        ensure!(row.str("/name")? == life.name(), "{row:?}");
        // The load read its CPU time before its end.
        let seen = outcome["cgroup_cpu_nanoseconds"].as_f64().context("no CPU time")? * 1e-9;
        let used = row.f64("/cpu/usage_seconds")?;
        ensure!(used >= seen && used < seen + 10.0 * MS, "{used} s, it saw {seen} s: {row:?}");
        longest = longest.max(between(&row, "/startup/exec_at", "/ended_at")?);
    }
    ensure!(late <= LIVES / 25, "{late} of {LIVES} receipts are not final");
    // This machine's kernel may run no program for a completion; that is reported.
    let lost = report.reconciled("block")?.lost - before.lost;
    ensure!(unseen <= lost, "{unseen} of {LIVES} writes are missing, {lost} are said to be lost");
    println!("the longest life took {:.1} ms from its first program to its end", longest / MS);
    Ok(())
}

#[test]
fn a_thousand_cgroups_in_a_tight_loop_leave_nothing_behind() -> Result<()> {
    const CGROUPS: usize = 1000;
    let lab = Lab::open()?;
    let root = cgroup2_mount()?.join("docker");
    let staying = lab.start(Run::load("serve"))?;
    let mut tare = lab.tare.stream("100ms")?;
    let before = tare.fresh_with(&[staying.id()])?.row(staying.id())?;
    let process = format!("/proc/{}", tare.id());
    let descriptors = || -> Result<usize> { Ok(fs::read_dir(format!("{process}/fd"))?.count()) };
    let open = descriptors()?;
    for n in 0..CGROUPS {
        // Named as Docker names them, so that each is taken for a container.
        let path = root.join(format!("{n:064x}"));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        fs::remove_dir(&path).with_context(|| path.display().to_string())?;
    }
    let last = format!("{:064x}", CGROUPS - 1);
    let report = tare.fresh_with_ended(&[&last])?;
    let ended = report.value()["ended"].as_array().context("no receipts")?.len();
    ensure!(ended == CGROUPS, "{ended} receipts of {CGROUPS} cgroups");
    report.require("lifecycle")?;
    // Receipts and names are bounded: once they are full, memory stays as it is.
    let mut resident = 0;
    for round in 1..=6 {
        for n in 0..CGROUPS {
            let path = root.join(format!("{:064x}", n + round * CGROUPS));
            fs::create_dir(&path)?;
            fs::remove_dir(&path)?;
        }
        tare.fresh()?;
        if round == 3 {
            resident = memory(&process)?;
        }
    }
    let after = tare.fresh()?.row(staying.id())?;
    for counter in ["/network/sockets/tx_bytes", "/block/write_bytes"] {
        ensure!(after.growth(&before, counter)? == 0, "{counter} of an idle container grew");
    }
    // The events of the last ends may still be in the ring.
    wait::until(&format!("no more than the {open} descriptors that were open"), PATIENCE, || {
        let now = descriptors()?;
        Ok((now <= open + 2).then_some(()))
    })?;
    let grown = memory(&process)?.saturating_sub(resident);
    ensure!(grown < 4 << 20, "resident memory grew by {grown} bytes over 3,000 cgroups");
    let done = tare.interrupt()?;
    ensure!(done.status.success() && done.stderr.is_empty(), "it complained: {}", done.stderr);
    Ok(())
}

/// Resident bytes of a process.
fn memory(process: &str) -> Result<u64> {
    let status = fs::read_to_string(Path::new(process).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
    Ok(kib.trim().parse::<u64>()? << 10)
}

#[test]
fn the_time_to_ready_is_measured_from_kernel_events() -> Result<()> {
    let lab = Lab::open()?;
    let mut tare = lab.tare.stream("200ms")?;
    tare.report()?;
    let silent = lab.start(Run::load("serve"))?;
    let server = lab.start(Run::load("listen --proto tcp --addr 0.0.0.0:5000 --after 700ms"))?;
    server.ready()?;
    let report = tare.fresh_with(&[server.id(), silent.id()])?;
    let row = report.row(server.id())?;
    let ready = between(&row, "/startup/exec_at", "/startup/listen_at")?;
    ensure!((650.0 * MS..750.0 * MS).contains(&ready), "{ready} s: {row:?}");
    let start = between(&row, "/startup/made_at", "/startup/exec_at")?;
    ensure!(start < 5.0, "{start} s from the cgroup to the first program: {row:?}");
    let row = report.row(silent.id())?;
    ensure!(row.get("/startup/listen_at")?.is_null(), "{row:?}");
    row.str("/startup/exec_at")?;
    Ok(())
}

#[test]
fn an_older_container_has_no_known_start() -> Result<()> {
    let lab = Lab::open()?;
    let older = lab.start(Run::load("serve"))?;
    older.ready()?;
    let row = lab.tare.report()?.row(older.id())?;
    for sign in ["made_at", "exec_at", "listen_at"] {
        ensure!(row.get(&format!("/startup/{sign}"))?.is_null(), "{row:?}");
    }
    ensure!(row.get("/network/sockets/since")?.is_string(), "{row:?}");
    Ok(())
}

#[test]
fn an_oom_kill_survives_its_container() -> Result<()> {
    let lab = Lab::open()?;
    let mut tare = lab.tare.stream("1s")?;
    tare.report()?;
    let load = Run::load("allocate --bytes 128MiB --for 10s").option("--memory", "32m");
    let victim = lab.start(load.option("--memory-swap", "32m"))?;
    let report = tare.fresh_with_ended(&[victim.id()])?;
    let row = report.ended(victim.id()).context("no receipt")?;
    ensure!(row.u64("/memory/oom_kills")? >= 1, "{row:?}");
    ensure!(row.str("/memory/last_oom_kill/command")? == "tare-load", "{row:?}");
    ensure!(row.u64("/memory/last_oom_kill/pid")? > 1, "{row:?}");
    let late = between(&row, "/memory/last_oom_kill/at", "/ended_at")?;
    ensure!(late < 5.0, "killed {late} s before its end: {row:?}");
    ensure!(row.u64("/memory/peak_bytes")? >= 31 << 20, "{row:?}");
    Ok(())
}

#[test]
fn a_restart_is_a_new_instance() -> Result<()> {
    let lab = Lab::open()?;
    let mut tare = lab.tare.stream("200ms")?;
    tare.report()?;
    let load = "pair --tcp 127.0.0.1:7000 --bytes 5000 --linger";
    let container = lab.start(Run::load(load))?;
    container.outcome()?;
    let first = tare.fresh_with(&[container.id()])?.row(container.id())?;
    ensure!(first.u64("/network/sockets/tcp/rx_bytes")? == 5000, "{first:?}");
    lab.docker.client(["restart", "--time", "1", container.id()])?;
    let report = tare.fresh_with_ended(&[container.id()])?;
    let receipt = report.ended(container.id()).context("no receipt")?;
    ensure!(receipt.u64("/network/sockets/tcp/rx_bytes")? == 5000, "{receipt:?}");
    let report = tare.fresh_with(&[container.id()])?;
    let second = report.row(container.id())?;
    ensure!(second.u64("/cgroup_id")? != first.u64("/cgroup_id")?, "{second:?}");
    let received = second.u64("/network/sockets/tcp/rx_bytes")?;
    ensure!(received <= 5000, "two lives are mixed: {second:?}");
    Ok(())
}

#[test]
fn receipts_are_bounded_in_number_and_age() -> Result<()> {
    let lab = Lab::open()?;
    let tare = lab.tare.clone().option("--receipts", "3").option("--receipt-ttl", "5s");
    let mut tare = tare.stream("200ms")?;
    tare.report()?;
    let mut last = String::new();
    for _ in 0..5 {
        let life = lab.start(Run::load("sleep --for 1ms").option("--network", "none"))?;
        life.outcome()?;
        last = life.id().to_owned();
    }
    let report = tare.fresh_with_ended(&[&last])?;
    let kept = report.value()["ended"].as_array().context("no receipts")?.len();
    ensure!(kept == 3, "{kept} receipts instead of 3");
    for _ in 0..60 {
        if tare.report()?.value()["ended"].as_array().is_some_and(Vec::is_empty) {
            return Ok(());
        }
    }
    anyhow::bail!("receipts outlive their time")
}

#[test]
fn ended_containers_have_a_table() -> Result<()> {
    let lab = Lab::open()?;
    let args = ["stats", "--ended", "--interval", "5s", "--no-stream"];
    let command = lab.tare.command(&args);
    let tare = Process::spawn(command)?;
    std::thread::sleep(Duration::from_secs(1));
    let life = lab.start(Run::load("sleep --for 1ms"))?;
    life.outcome()?;
    let done = tare.finish(PATIENCE)?;
    ensure!(done.stdout.starts_with("CONTAINER ID"), "{}", done.stdout);
    let row = done.stdout.lines().find(|line| line.contains(life.name()));
    let row = row.with_context(|| format!("no row of {} in {}", life.name(), done.stdout))?;
    ensure!(row.contains("s ago") && row.trim_end().ends_with("final"), "{row}");
    Ok(())
}

/// Runs a load of the host in a cgroup below a container's, to its end.
fn run_below(container: &Container, mount: &Path, lab: &Lab, load: &[&str]) -> Result<()> {
    let child = Cgroup::below(&mount.join("docker").join(container.id()))?;
    let gate = lab.scratch.subdirectory()?.join("open");
    let mut command = Command::new(binaries::load()?);
    command.args(load).arg("--start-when").arg(&gate);
    let process = Process::spawn(command)?;
    child.take(process.id())?;
    fs::write(&gate, "")?;
    let done = process.finish(PATIENCE)?;
    ensure!(done.status.success(), "{}", done.stderr);
    Ok(())
}

#[test]
fn what_a_removed_sub_cgroup_did_stays_with_its_container() -> Result<()> {
    let lab = Lab::open()?;
    let mount = cgroup2_mount()?;
    let container = lab.start(Run::load("serve"))?;
    let mut tare = lab.tare.stream("100ms")?;
    let before = tare.fresh_with(&[container.id()])?.row(container.id())?;
    let counter = "/network/sockets/tcp/rx_bytes";
    for round in 1..=3 {
        let load = ["pair", "--tcp", "127.0.0.1:0", "--bytes", "5000"];
        run_below(&container, &mount, &lab, &load)?;
        let row = tare.fresh()?.row(container.id())?;
        let grown = row.growth(&before, counter)?;
        ensure!(grown == round * 5000, "{grown} bytes after {round} sub-cgroups: {row:?}");
    }
    Ok(())
}

#[test]
fn a_network_namespace_is_released_with_its_container() -> Result<()> {
    let lab = Lab::open()?;
    // With a long interval only the event of the end can close it.
    let tare = lab.tare.stream("30s")?;
    let container = lab.start(Run::load("serve"))?;
    container.ready()?;
    let kept = |pid: u32| -> Result<usize> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd"))?;
        let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        Ok(links.filter(|link| link.to_string_lossy().contains("net/dev")).count())
    };
    let pid = tare.id();
    wait::until("the container's namespace to be opened", PATIENCE, || {
        Ok((kept(pid)? > 0).then_some(()))
    })?;
    let open = kept(pid)?;
    container.remove();
    wait::until("the container's namespace to be closed", Duration::from_secs(10), || {
        Ok((kept(pid)? < open).then_some(()))
    })?;
    let _ = tare.interrupt()?;
    Ok(())
}
