//! Sinks with the real receivers: what they give back is what the daemon says.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tare_tests::{
    docker::Run,
    http::Answer,
    lab::Lab,
    process::Process,
    receiver::{Behaviour, Receiver},
    report::nanoseconds,
    stores::{InfluxDb, Prometheus, Stored},
    tare_daemon::TareDaemon,
    tcp::{self, free_address},
    wait::{self, PATIENCE},
};

use crate::docker_api_tls::Certificates;

#[test]
fn receivers_give_back_the_samples_and_the_totals_of_a_container_of_20_ms() -> Result<()> {
    const USAGE: &str = "container_cpu_usage_seconds_total";
    let lab = Lab::open()?;
    let influxdb = InfluxDb::start_in(&lab.scratch.subdirectory()?)?;
    let prometheus = Prometheus::receiving(&lab.scratch.subdirectory()?)?;
    let daemon = TareDaemon::start(
        &lab.tare,
        &[
            "--sink",
            &influxdb.url(),
            "--sink",
            &format!("prometheus+http://{}", prometheus.address()),
        ],
    )?;
    let busy = lab.start(Run::load("spin --for 600s"))?;
    let short = lab.start(Run::load("spin --for 20ms"))?;
    short.outcome()?;

    // The same sample, by the daemon and by the receivers.
    let (time, usage) = wait::until("a sample of the busy container", PATIENCE, || {
        let snapshot = daemon.json("/api/v1/snapshot")?;
        let rows = snapshot["containers"].as_array().context("no containers")?;
        let row = rows.iter().find(|row| row["id"] == busy.id() && row["name"] == busy.name());
        let usage = row.and_then(|row| row["cpu"]["usage_seconds"].as_f64());
        usage.map(|usage| Ok((nanoseconds(&snapshot["time"])?, usage))).transpose()
    })?;
    // A receiver's times, in its unit of time, and values.
    let has = |stored: &Stored, name: &str, time: i64, value: f64| {
        stored.get(name).is_some_and(|values| values.contains(&(time, value))).then_some(())
    };
    let name = busy.name();
    wait::until("the sample in InfluxDB", PATIENCE, || {
        Ok(has(&influxdb.stored(USAGE, "cpu")?, name, time, usage))
    })?;
    wait::until("the sample in Prometheus", PATIENCE, || {
        Ok(has(&prometheus.stored(USAGE)?, name, time.div_euclid(1_000_000), usage))
    })?;

    // The container that no sample saw.
    let ended = daemon.json("/api/v1/ended")?;
    let rows = ended.as_array().context("no ended containers")?;
    let row = rows.iter().find(|row| row["id"] == short.id()).context("no receipt")?;
    let total = row["cpu"]["usage_seconds"].as_f64().context("no CPU time")?;
    let ended_at = nanoseconds(&row["ended_at"])?;
    ensure!(total >= 0.02, "{total}");
    wait::until("the totals in InfluxDB", PATIENCE, || {
        Ok(has(&influxdb.stored(USAGE, "cpu")?, short.name(), ended_at, total))
    })?;
    wait::until("the totals in Prometheus", PATIENCE, || {
        Ok(has(&prometheus.stored(USAGE)?, short.name(), ended_at.div_euclid(1_000_000), total))
    })?;

    let answer: Answer = daemon.get("/metrics")?;
    let dropped =
        answer.text()?.lines().filter(|line| line.starts_with("tare_sink_dropped_points"));
    for line in dropped {
        ensure!(line.ends_with(" 0"), "{line}");
    }
    Ok(())
}

/// A small disk; unmounted on drop.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(directory: PathBuf, options: &str) -> Result<Self> {
        let none = None::<&Path>;
        mount(none, &directory, Some("tmpfs"), MsFlags::empty(), Some(options))
            .with_context(|| format!("mount a disk at {}", directory.display()))?;
        Ok(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn with_a_full_disk_batches_wait_in_memory_and_arrive_once_and_in_order() -> Result<()> {
    let lab = Lab::open()?;
    let disk = SmallDisk::mount(lab.scratch.subdirectory()?, "size=64k")?;
    let (dead, healthy) = (free_address()?, Receiver::start("127.0.0.1:0", Behaviour::Accept)?);
    let spool = disk.0.to_str().context("not UTF-8")?;
    let sink = |address: &str| format!("influx+http://{address}/?db=a");
    let (dead_sink, healthy_sink) = (sink(&dead), sink(&healthy.address()));
    let args = ["--interval", "100ms", "--sink", &dead_sink, "--sink", &healthy_sink];
    let daemon = TareDaemon::start(&lab.tare, &[&args[..], &["--sink-spool", spool]].concat())?;
    let label = format!("{{sink=\"influx+http://{dead}\"");
    let value = |name: &str| {
        let metrics = daemon.metrics()?;
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{label}")));
        let line = line.with_context(|| format!("no {name}{label} in {metrics}"))?;
        line.rsplit(' ').next().context("no value")?.parse::<f64>().context("no number")
    };
    // Most of the batches find no room on the disk.
    wait::until("the disk to be full", PATIENCE, || {
        let in_memory = value("tare_sink_queue_bytes")? - value("tare_sink_spool_bytes")?;
        Ok((healthy.times().len() > 40 && in_memory > 64.0 * 1024.0).then_some(()))
    })?;
    let before = healthy.times();
    let revived = Receiver::start(&dead, Behaviour::Accept)?;
    wait::until("what waited", PATIENCE, || {
        Ok((revived.times().len() > before.len()).then_some(()))
    })?;
    let (after, all) = (revived.times(), healthy.times());
    let common = after.len().min(all.len());
    ensure!(after[..common] == all[..common], "{} and {}", after.len(), all.len());
    ensure!(value("tare_sink_dropped_points_total")? == 0.0);
    let finished = daemon.terminate()?;
    let said = finished.stderr.matches("batches are in memory only").count();
    ensure!((1..10).contains(&said), "{}", finished.stderr);
    Ok(())
}

#[test]
fn a_receiver_with_another_certificate_is_refused_with_the_remedy() -> Result<()> {
    let lab = Lab::open()?;
    let good = Certificates::make(lab.scratch.subdirectory()?)?;
    let other = Certificates::make(lab.scratch.subdirectory()?)?;
    let address = free_address()?;
    let mut server = Command::new("openssl");
    server.args([
        "s_server",
        "-quiet",
        "-accept",
        &address,
        "-cert",
        &good.path("server-cert.pem"),
    ]);
    let _server = Process::spawn({
        server.args(["-key", &good.path("server-key.pem")]);
        server
    })?;
    tcp::wait_for("the server", &address)?;
    let file = lab.scratch.path().join("sinks.toml");
    let check = |authority: &str| {
        let sink = format!("url = \"influx+https://{address}/?db=a\"\nca-file = \"{authority}\"");
        fs::write(&file, format!("\n[[sink]]\n{sink}\n"))?;
        let file = file.to_str().context("not UTF-8")?;
        lab.tare.run(&["run", "--config", file, "--check-config"])
    };
    let done = check(&other.path("ca.pem"))?;
    for part in ["line 2: ", "certificate", "`ca-file` names further certificates"] {
        ensure!(!done.status.success() && done.stderr.contains(part), "{part}: {}", done.stderr);
    }
    let done = check(&good.path("ca.pem"))?;
    ensure!(done.status.success() && done.stdout.contains("1 sinks can be reached"), "{done:?}");
    Ok(())
}
