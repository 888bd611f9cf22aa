//! Sinks with the real receivers: what they give back is what the daemon says.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;
use tare_tests::{
    docker::Run,
    http::Answer,
    lab::Lab,
    process::Process,
    receiver::{Behaviour, Receiver},
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

use crate::{
    daemon::{free_address, prometheus_with},
    docker_api_tls::Certificates,
};

/// One request over TCP; the answer's body as JSON.
fn json(address: &str, request: &str) -> Result<Value> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "{request} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (_, body) = text.split_once("\r\n\r\n").context("no answer")?;
    serde_json::from_str(body).with_context(|| text.clone())
}

fn encoded(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// An `InfluxDB` with a database.
fn influxdb(lab: &Lab, address: &str) -> Result<Process> {
    let directory = lab.scratch.subdirectory()?;
    let config = directory.join("influxdb.conf");
    let path = directory.display();
    let text = format!(
        "reporting-disabled = true\nbind-address = \"{}\"\n[meta]\ndir = \"{path}/meta\"\n\
         [data]\ndir = \"{path}/data\"\nwal-dir = \"{path}/wal\"\n\
         [http]\nbind-address = \"{address}\"\nlog-enabled = false\n",
        free_address()?
    );
    fs::write(&config, text)?;
    let of = env::var_os("TARE_INFLUXDB_DIR").map(PathBuf::from).unwrap_or_default();
    let mut influxd = Command::new(of.join("influxd"));
    influxd.arg("-config").arg(&config);
    let process = Process::spawn(influxd).context("the live tests need influxd")?;
    wait::until("InfluxDB to answer", PATIENCE, || {
        let create = format!("POST /query?q={}", encoded("CREATE DATABASE tare"));
        Ok(json(address, &create).ok().map(|_| ()))
    })?;
    Ok(process)
}

/// Times in nanoseconds and values of a field of a container.
fn influx_values(address: &str, field: &str, family: &str, name: &str) -> Result<Vec<(i64, f64)>> {
    let query = format!("SELECT \"{field}\" FROM \"tare_{family}\" WHERE \"name\" = '{name}'");
    let answer = json(address, &format!("GET /query?db=tare&epoch=ns&q={}", encoded(&query)))?;
    let values = answer.pointer("/results/0/series/0/values").and_then(Value::as_array);
    let row = |row: &Value| Some((row[0].as_i64()?, row[1].as_f64()?));
    Ok(values.into_iter().flatten().filter_map(row).collect())
}

/// Times in milliseconds and values of the series that a selector finds.
fn prometheus_values(address: &str, selector: &str) -> Result<Vec<(i64, f64)>> {
    let query = encoded(&format!("{selector}[1h]"));
    let answer = json(address, &format!("GET /api/v1/query?query={query}"))?;
    let values = answer.pointer("/data/result/0/values").and_then(Value::as_array);
    let row = |row: &Value| {
        let millis = (row[0].as_f64()? * 1e3).round() as i64;
        Some((millis, row[1].as_str()?.parse().ok()?))
    };
    Ok(values.into_iter().flatten().filter_map(row).collect())
}

/// The time of a report in nanoseconds since 1970.
fn nanoseconds(time: &Value) -> Result<i64> {
    let time: jiff::Timestamp = time.as_str().context("no time")?.parse()?;
    Ok(i64::try_from(time.as_nanosecond())?)
}

#[test]
fn receivers_give_back_the_samples_and_the_totals_of_a_container_of_20_ms() -> Result<()> {
    const USAGE: &str = "container_cpu_usage_seconds_total";
    let lab = Lab::open()?;
    let (influx, prometheus) = (free_address()?, free_address()?);
    let _influxdb = influxdb(&lab, &influx)?;
    let _prometheus = prometheus_with(&lab, &prometheus, &["--web.enable-remote-write-receiver"])?;
    wait::until("Prometheus to be ready", PATIENCE, || {
        let ready = json(&prometheus, "GET /api/v1/query?query=1");
        Ok(ready.ok().map(|_| ()))
    })?;
    let daemon = TareDaemon::start(
        &lab.tare,
        &[
            "--sink",
            &format!("influx+http://{influx}/?db=tare"),
            "--sink",
            &format!("prometheus+http://{prometheus}"),
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
    let name = busy.name();
    wait::until("the sample in InfluxDB", PATIENCE, || {
        let all = influx_values(&influx, USAGE, "cpu", name)?;
        Ok(all.contains(&(time, usage)).then_some(()))
    })?;
    let selector = format!("{USAGE}{{name=\"{name}\"}}");
    wait::until("the sample in Prometheus", PATIENCE, || {
        let all = prometheus_values(&prometheus, &selector)?;
        Ok(all.contains(&(time.div_euclid(1_000_000), usage)).then_some(()))
    })?;

    // The container that no sample saw.
    let ended = daemon.json("/api/v1/ended")?;
    let rows = ended.as_array().context("no ended containers")?;
    let row = rows.iter().find(|row| row["id"] == short.id()).context("no receipt")?;
    let total = row["cpu"]["usage_seconds"].as_f64().context("no CPU time")?;
    let ended_at = nanoseconds(&row["ended_at"])?;
    ensure!(total >= 0.02, "{total}");
    wait::until("the totals in InfluxDB", PATIENCE, || {
        let all = influx_values(&influx, USAGE, "cpu", short.name())?;
        Ok(all.contains(&(ended_at, total)).then_some(()))
    })?;
    let selector = format!("{USAGE}{{name=\"{}\"}}", short.name());
    wait::until("the totals in Prometheus", PATIENCE, || {
        let all = prometheus_values(&prometheus, &selector)?;
        Ok(all.contains(&(ended_at.div_euclid(1_000_000), total)).then_some(()))
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
    wait::until("the server", PATIENCE, || Ok(TcpStream::connect(&address).ok().map(drop)))?;
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
