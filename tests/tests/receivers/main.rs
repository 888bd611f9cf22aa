//! Sinks with real receivers: ten containers under load for a minute. Every sample that the daemon
//! publishes is read back from each receiver, with its value and its time.
//!
//! `cargo xtask test --only receivers` fetches the receivers: Prometheus, `VictoriaMetrics`,
//! `InfluxDB` and collectd from Debian, `StatsD` from npm, a server of gRPC with OpenTelemetry's
//! messages from `PyPI`. Debian builds Prometheus without its receiver of OTLP, so
//! `VictoriaMetrics` gets OTLP over HTTP.

mod collectd;
mod read;
mod servers;

use std::{
    collections::BTreeMap,
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{
    docker::{Container, Run},
    lab::Lab,
    report::nanoseconds,
    stores::{InfluxDb, Stored},
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

use self::{
    read::{INFLUXDB, METRICS, Metric, SOURCES, Source},
    servers::Servers,
};

/// How long the containers are watched.
const WATCHED: Duration = Duration::from_secs(60);

/// How many samples of that time the test must have seen at least.
const SAMPLES_MIN: usize = 50;

/// collectd asks every two seconds, so it has a part of the samples.
const ROWS_MIN: usize = 20;

/// The pause between two looks at the latest sample. Each sample is there for a second.
const POLL: Duration = Duration::from_millis(150);

/// The numbers of the containers in one sample, by container and metric.
type Sample = BTreeMap<(String, &'static str), f64>;

/// The samples of the daemon, by their time in nanoseconds since 1970.
type Samples = BTreeMap<i64, Sample>;

/// Adds the latest sample, if it is a new one.
fn watch(daemon: &TareDaemon, names: &[&str], into: &mut Samples) -> Result<()> {
    let snapshot = daemon.json("/api/v1/snapshot")?;
    let time = nanoseconds(&snapshot["time"])?;
    if into.contains_key(&time) {
        return Ok(());
    }
    let mut sample = Sample::new();
    for row in snapshot["containers"].as_array().context("no containers")? {
        let Some(name) = row["name"].as_str().filter(|name| names.contains(name)) else { continue };
        for Metric { pointer, name: metric, .. } in &METRICS {
            let value = row.pointer(pointer).and_then(Value::as_f64);
            let value = value.with_context(|| format!("{name} has no {pointer}"))?;
            sample.insert((name.to_owned(), *metric), value);
        }
    }
    into.insert(time, sample);
    Ok(())
}

/// The values of these containers that a receiver lacks, with their times in its unit.
fn lacking<'a>(
    stored: &Stored,
    Source { unit, .. }: &Source,
    metric: &Metric,
    names: &[&'a str],
    samples: &Samples,
) -> Vec<(&'a str, i64, f64)> {
    let mut lacking = Vec::new();
    for name in names {
        let mut wanted: BTreeMap<i64, f64> = BTreeMap::new();
        for (time, sample) in samples {
            if let Some(value) = sample.get(&((*name).to_owned(), metric.name)) {
                // Of two samples within the receiver's unit of time, the later one stays.
                wanted.insert(time.div_euclid(*unit), *value);
            }
        }
        let values = stored.get(*name).map(Vec::as_slice).unwrap_or_default();
        wanted.retain(|time, value| !values.contains(&(*time, *value)));
        lacking.extend(wanted.into_iter().map(|(time, value)| (*name, time, value)));
    }
    lacking
}

/// Waits until a receiver has all samples of these containers, and the totals of another one.
fn ensure_stored(
    source: &Source,
    servers: &Servers,
    (names, samples): (&[&str], &Samples),
    (short, totals): (&str, &Samples),
) -> Result<()> {
    let mut left = Vec::new();
    let done = wait::until(&format!("all samples in {}", source.name), PATIENCE, || {
        left.clear();
        for (at, metric) in METRICS.iter().enumerate() {
            let stored = (source.read)(servers, metric)?;
            left.extend(lacking(&stored, source, metric, names, samples));
            if at == 0 {
                left.extend(lacking(&stored, source, metric, &[short], totals));
            }
        }
        Ok(left.is_empty().then_some(()))
    });
    done.with_context(|| format!("{} lacks {left:?}", source.name))?;
    println!("{}: {} samples of {} containers", source.name, samples.len(), names.len());
    Ok(())
}

fn ensure_nothing_dropped(daemon: &TareDaemon) -> Result<()> {
    let metrics = daemon.metrics()?;
    let lost = ["tare_sink_dropped_points_total", "tare_sink_missed_samples_total"];
    for line in metrics.lines().filter(|line| lost.iter().any(|name| line.starts_with(name))) {
        ensure!(line.ends_with(" 0"), "{line}");
    }
    Ok(())
}

#[test]
fn every_receiver_gives_back_every_sample_of_ten_containers_and_the_totals_of_a_short_one()
-> Result<()> {
    let lab = Lab::open()?;
    let servers = Servers::start(&lab)?;
    let config = lab.scratch.path().join("sinks.toml");
    fs::write(&config, servers.sinks())?;
    let config = config.to_str().context("not UTF-8")?;
    let daemon = TareDaemon::start(&lab.tare, &["--config", config])?;
    let collectd = collectd::Collectd::start(&lab, &daemon)?;
    let load = |at: usize| {
        let load = format!("spin --for 600s --threads {}", 1 + at % 2);
        lab.start(Run::load(&load).option("--cpus", "0.1"))
    };
    let containers = (0..10).map(load).collect::<Result<Vec<_>>>()?;
    let names: Vec<_> = containers.iter().map(Container::name).collect();
    wait::until("a sample of all containers", PATIENCE, || {
        let mut first = Samples::new();
        watch(&daemon, &names, &mut first)?;
        let is_whole = first.values().all(|sample| sample.len() == names.len() * METRICS.len());
        Ok(is_whole.then_some(()))
    })?;

    let short = lab.start(Run::load("spin --for 20ms"))?;
    short.outcome()?;
    let (mut samples, begun) = (Samples::new(), Instant::now());
    let taken = daemon.metric("tare_samples_total")?;
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < WATCHED {
        let asked = Instant::now();
        watch(&daemon, &names, &mut samples)?;
        slowest = slowest.max(asked.elapsed());
        sleep(POLL);
    }
    let taken = daemon.metric("tare_samples_total")? - taken;
    println!("{} of {taken} samples seen; the slowest answer took {slowest:?}", samples.len());
    ensure!(samples.len() >= SAMPLES_MIN, "{} samples in {WATCHED:?}", samples.len());
    let moved = |container: &Container| {
        let of =
            |sample: &Sample| sample.get(&(container.name().to_owned(), METRICS[0].name)).copied();
        let (first, last) =
            (samples.values().next().and_then(of), samples.values().last().and_then(of));
        last > first.map(|first| first + 1.0)
    };
    ensure!(containers.iter().all(moved), "the containers did not work");

    let ended = daemon.json("/api/v1/ended")?;
    let rows = ended.as_array().context("no ended containers")?;
    let row = rows.iter().find(|row| row["id"] == short.id()).context("no receipt")?;
    let total = row["cpu"]["usage_seconds"].as_f64().context("no CPU time")?;
    let totals = (short.name().to_owned(), METRICS[0].name);
    let of_short =
        Samples::from([(nanoseconds(&row["ended_at"])?, Sample::from([(totals, total)]))]);

    for source in &SOURCES {
        ensure_stored(source, &servers, (&names, &samples), (short.name(), &of_short))?;
    }
    servers.ensure_gauges_of_one_sample(&daemon, &names)?;
    servers.ensure_gauges(&of_short)?;
    collectd.ensure_values(&containers, &samples, ROWS_MIN)?;
    collectd.ensure_values(&[short], &of_short, 1)?;
    ensure_nothing_dropped(&daemon)
}

#[test]
fn a_minute_without_influxdb_loses_nothing() -> Result<()> {
    let lab = Lab::open()?;
    let mut influxdb = InfluxDb::start_in(&lab.scratch.subdirectory()?)?;
    let spool = lab.scratch.subdirectory()?;
    let url = influxdb.url();
    let spool = spool.to_str().context("not UTF-8")?;
    let daemon = TareDaemon::start(&lab.tare, &["--sink", &url, "--sink-spool", spool])?;
    let busy = lab.start(Run::load("spin --for 600s").option("--cpus", "0.1"))?;
    let names = [busy.name()];
    let mut samples = Samples::new();
    let begun = Instant::now();
    // 10 s, a minute without the receiver, and 10 s.
    for (seconds, is_up) in [(10, true), (70, false), (80, true)] {
        if is_up {
            influxdb.start()?;
        } else {
            influxdb.kill()?;
        }
        while begun.elapsed() < Duration::from_secs(seconds) {
            watch(&daemon, &names, &mut samples)?;
            sleep(POLL);
        }
    }
    samples.retain(|_, sample| !sample.is_empty());
    ensure!(samples.len() >= SAMPLES_MIN, "{} samples", samples.len());
    let [metric, ..] = &METRICS;
    let stored = wait::until("all samples", PATIENCE, || {
        let stored = influxdb.stored(metric.name, metric.family)?;
        let left = lacking(&stored, &INFLUXDB, metric, &names, &samples);
        Ok(left.is_empty().then_some(stored))
    })?;
    let stored = stored.get(busy.name()).context("no values")?;
    ensure!(stored.windows(2).all(|pair| pair[0].0 < pair[1].0), "a sample came twice");
    let labels = format!("{{sink=\"{}\"}}", url.trim_end_matches("/?db=tare"));
    ensure!(daemon.metric(&format!("tare_sink_retries_total{labels}"))? > 0.0, "no retries");
    ensure_nothing_dropped(&daemon)?;
    println!("{} samples, {} of them read back", samples.len(), stored.len());
    Ok(())
}
