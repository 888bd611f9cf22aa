//! Sinks with the real receivers: what they give back is what the daemon says.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{
    docker::Run,
    http::Answer,
    lab::Lab,
    process::Process,
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

use crate::daemon::{free_address, prometheus_with};

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
