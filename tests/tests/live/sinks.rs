//! Sinks with the real receivers: what they give back is what the daemon says.

use std::{
    fs,
    io::{Read as _, Write as _, copy},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{Receiver, channel},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tare_tests::{
    docker::Run,
    http::Answer,
    lab::Lab,
    process::{Finished, Process},
    receiver::{Behaviour, Receiver as Influx},
    report::nanoseconds,
    stores::{InfluxDb, Prometheus, Stored},
    tare::Tare,
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
pub(crate) struct SmallDisk(pub(crate) PathBuf);

impl SmallDisk {
    pub(crate) fn mount(directory: PathBuf, options: &str) -> Result<Self> {
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
    let (dead, healthy) = (free_address()?, Influx::start("127.0.0.1:0", Behaviour::Accept)?);
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
    let revived = Influx::start(&dead, Behaviour::Accept)?;
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

/// An encrypted server that answers nothing.
fn encrypted(address: &str, certificates: &Certificates) -> Result<Process> {
    let mut server = Command::new("openssl");
    server.args(["s_server", "-quiet", "-accept", address]);
    server.args(["-cert", &certificates.path("server-cert.pem")]);
    server.args(["-key", &certificates.path("server-key.pem")]);
    let server = Process::spawn(server)?;
    tcp::wait_for("the server", address)?;
    Ok(server)
}

/// `--check-config` of one sink.
fn check(lab: &Lab, tare: &Tare, sink: &str) -> Result<Finished> {
    let file = lab.scratch.path().join("sinks.toml");
    fs::write(&file, format!("\n[[sink]]\n{sink}\n"))?;
    tare.run(&["run", "--config", file.to_str().context("not UTF-8")?, "--check-config"])
}

#[test]
fn a_receiver_with_another_certificate_is_refused_with_the_remedy() -> Result<()> {
    let lab = Lab::open()?;
    let good = Certificates::make(lab.scratch.subdirectory()?)?;
    let other = Certificates::make(lab.scratch.subdirectory()?)?;
    let address = free_address()?;
    let _server = encrypted(&address, &good)?;
    let sink = |authority: &str| {
        format!("url = \"influx+https://{address}/?db=a\"\nca-file = \"{authority}\"")
    };
    let done = check(&lab, &lab.tare, &sink(&other.path("ca.pem")))?;
    for part in ["line 2: ", "certificate", "`ca-file` names further certificates"] {
        ensure!(!done.status.success() && done.stderr.contains(part), "{part}: {}", done.stderr);
    }
    let done = check(&lab, &lab.tare, &sink(&good.path("ca.pem")))?;
    ensure!(done.status.success() && done.stdout.contains("1 sinks can be reached"), "{done:?}");
    Ok(())
}

/// A proxy that leads every tunnel to one address; the heads of the requests for tunnels.
fn proxy_to(target: &str) -> Result<(String, Receiver<String>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (address, target) = (listener.local_addr()?.to_string(), target.to_owned());
    let (sender, heads) = channel();
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
                head.extend(byte);
            }
            let Ok(mut server) = TcpStream::connect(&target) else { return };
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            let (Ok(mut from), Ok(mut to)) = (client.try_clone(), server.try_clone()) else {
                return;
            };
            thread::spawn(move || drop(copy(&mut from, &mut to)));
            thread::spawn(move || drop(copy(&mut server, &mut client)));
            let _ = sender.send(String::from_utf8_lossy(&head).into_owned());
        }
    });
    Ok((address, heads))
}

#[test]
fn an_encrypted_sink_goes_through_a_tunnel_of_the_proxy() -> Result<()> {
    let lab = Lab::open()?;
    let certificates = Certificates::make(lab.scratch.subdirectory()?)?;
    let address = free_address()?;
    let _server = encrypted(&address, &certificates)?;
    let (proxy, heads) = proxy_to(&address)?;
    let tare = lab.tare.clone().environment("https_proxy", &format!("http://me:word@{proxy}"));
    let authority = certificates.path("ca.pem");
    let sink = |host: &str| {
        format!("url = \"influx+https://{host}:4444/?db=a\"\nca-file = \"{authority}\"")
    };
    let done = check(&lab, &tare, &sink("behind.test"))?;
    ensure!(done.status.success(), "{done:?}");
    let head = heads.recv_timeout(PATIENCE)?;
    ensure!(head.starts_with("CONNECT behind.test:4444 HTTP/1.1\r\n"), "{head}");
    ensure!(head.contains("Proxy-Authorization: Basic bWU6d29yZA==\r\n"), "{head}");
    // The tunnel changes nothing about whom the certificate must name.
    let done = check(&lab, &tare, &sink("other.test"))?;
    ensure!(!done.status.success() && done.stderr.contains("certificate"), "{done:?}");
    // A host that `no_proxy` names is asked directly.
    let tare = tare.environment("no_proxy", "behind.test");
    let done = check(&lab, &tare, &sink("behind.test"))?;
    ensure!(done.stderr.contains("cannot connect to behind.test:4444"), "{done:?}");
    Ok(())
}
