//! The cost of sinks, beside that of a scrape.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{
    http,
    missing::Missing,
    plan::{Load, Plan},
    sampling::populate,
    test_cgroups::TestCgroups,
    tools::{Binaries, SETTLE, TareRun},
};
use crate::{cmd, wait::pause};

/// How many cgroups.
const SIZE: usize = 1_000;

/// One measurement lasts so many of the plan's windows.
const WINDOWS: u32 = 4;

/// What every request gets. A receiver of remote write 2.0 says how many samples it has written.
const ANSWER: &str =
    "HTTP/1.1 204 No Content\r\nX-Prometheus-Remote-Write-Samples-Written: 1\r\n\r\n";

/// One measurement of `tare run` with a sink, with a scrape each second, or with neither.
#[derive(Deserialize, Serialize)]
pub(crate) struct SinkCost {
    pub(crate) name: String,
    pub(crate) size: usize,
    pub(crate) round: usize,
    /// CPU time of the whole process, in percent of one CPU.
    pub(crate) cpu_percent: f64,
    pub(crate) rss_bytes: Option<u64>,
    /// What is sent for one sample.
    pub(crate) bytes_per_sample: f64,
    pub(crate) points_per_sample: f64,
    pub(crate) dropped_points: f64,
}

/// Measures each sink with a receiver that reads everything and keeps nothing.
pub(crate) fn run(
    binaries: &Binaries,
    plan: &Plan,
    into: &mut Vec<SinkCost>,
    missing: &mut Missing,
) -> Result<()> {
    println!("Sinks");
    let groups = TestCgroups::make(SIZE)?;
    let _processes = populate(binaries, &groups, Load::Idle)?;
    let (http, lines, datagrams) = (accept(answer)?, accept(read_all)?, read_datagrams()?);
    let sinks = [
        ("nothing", None),
        ("scrape, gzip", None),
        ("remote write 2.0", Some(format!("prometheus+http://{http}"))),
        ("remote write 1.0", Some(format!("prometheus+http://{http}?version=1"))),
        ("OTLP over HTTP", Some(format!("otlp+http://{http}"))),
        ("InfluxDB", Some(format!("influx+http://{http}?db=tare"))),
        ("Graphite", Some(format!("graphite://{lines}"))),
        ("StatsD", Some(format!("statsd://{datagrams}"))),
        ("standard output", Some("stdout:".to_owned())),
    ];
    for round in 0..plan.repeat {
        for (name, url) in &sinks {
            let options: Vec<_> = url.iter().flat_map(|url| ["--sink", url]).collect();
            let scrapes = *name == "scrape, gzip";
            match measure(binaries, &options, scrapes, plan.window * WINDOWS) {
                Ok(found) => {
                    let found = SinkCost { name: (*name).to_owned(), round, ..found };
                    println!("  {name}: {:.2} % of a CPU", found.cpu_percent);
                    into.push(found);
                }
                Err(error) => missing.add(&format!("sink {name}"), &error)?,
            }
        }
    }
    Ok(())
}

fn measure(
    binaries: &Binaries,
    options: &[&str],
    scrapes: bool,
    window: Duration,
) -> Result<SinkCost> {
    let daemon = TareRun::launch(binaries, options)?;
    pause(SETTLE)?;
    let metrics = || http::get(&TareRun::server()?, "/metrics");
    let (before, cpu, begin) = (metrics()?, daemon.cgroup().cpu()?, Instant::now());
    let mut scraped = 0;
    if scrapes {
        for second in 1..=window.as_secs() {
            scraped = scrape()?;
            pause(Duration::from_secs(second).saturating_sub(begin.elapsed()))?;
        }
    } else {
        pause(window)?;
    }
    let (used, took) = (daemon.cgroup().cpu()?.since(cpu), begin.elapsed());
    let after = metrics()?;
    let more = |name: &str| sum(&after, name) - sum(&before, name);
    let samples = more("tare_samples_total").max(1.0);
    let sent = more("tare_sink_sent_bytes_total{") / samples;
    Ok(SinkCost {
        name: String::new(),
        size: SIZE,
        round: 0,
        cpu_percent: used.total_ns as f64 / took.as_secs_f64() / 1e7,
        rss_bytes: daemon.cgroup().memory().rss_bytes,
        bytes_per_sample: if scrapes { scraped as f64 } else { sent },
        points_per_sample: more("tare_sink_delivered_points_total{") / samples,
        dropped_points: more("tare_sink_dropped_points_total{"),
    })
}

/// The sum of all series that begin like this.
fn sum(metrics: &str, name: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// The size of a compressed scrape.
fn scrape() -> Result<usize> {
    let mut curl = http::curl(&TareRun::server()?, "/metrics")?;
    curl.args(["--header", "Accept-Encoding: gzip", "--output", "/dev/null"]);
    let size = cmd::capture(curl.args(["--write-out", "%{size_download}"]))?;
    size.trim().parse().context("no size of the scrape")
}

/// Listens for TCP connections, each with a thread, as long as the process lives.
fn accept(serve: fn(TcpStream) -> Option<()>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn read_all(mut stream: TcpStream) -> Option<()> {
    let mut chunk = vec![0; 1 << 20];
    while stream.read(&mut chunk).ok()? > 0 {}
    Some(())
}

/// Accepts every request over HTTP.
fn answer(stream: TcpStream) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim().to_lowercase();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        writer.write_all(ANSWER.as_bytes()).ok()?;
    }
}

fn read_datagrams() -> Result<SocketAddr> {
    let socket = UdpSocket::bind("127.0.0.1:0").context("cannot bind")?;
    let address = socket.local_addr()?;
    thread::spawn(move || {
        let mut datagram = vec![0; 65_536];
        while socket.recv(&mut datagram).is_ok() {}
    });
    Ok(address)
}
