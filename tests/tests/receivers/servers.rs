//! The receivers, each with a directory and addresses of its own.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use serde_json::Value;
use tare_tests::{
    lab::Lab,
    process::Process,
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

use crate::{Samples, watch};

/// All receivers; stopped on drop.
pub(crate) struct Servers {
    pub(crate) influxdb: InfluxDb,
    pub(crate) prometheus: String,
    pub(crate) victoria: String,
    graphite: String,
    statsd: String,
    /// Where `StatsD` tells what it knows.
    statsd_management: String,
    _processes: Vec<Process>,
}

/// An `InfluxDB` that can be stopped and started again.
pub(crate) struct InfluxDb {
    pub(crate) address: String,
    config: PathBuf,
    process: Option<Process>,
}

/// A free address on the loopback device.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn free_udp_port() -> Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// One request over TCP; the body of the answer.
pub(crate) fn ask(address: &str, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "{request} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.split_once("\r\n\r\n").context("no answer")?.1.to_owned())
}

/// The same as JSON.
pub(crate) fn json(address: &str, request: &str) -> Result<Value> {
    let text = ask(address, request)?;
    serde_json::from_str(&text).with_context(|| text.clone())
}

/// Text in a URL.
pub(crate) fn encoded(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A path that `cargo xtask test --only receivers` sets.
pub(crate) fn named(variable: &str) -> Result<PathBuf> {
    let path = env::var_os(variable).with_context(|| {
        format!("{variable} is not set: start this with `cargo xtask test --only receivers`")
    })?;
    Ok(path.into())
}

impl InfluxDb {
    fn new(lab: &Lab) -> Result<Self> {
        let (directory, address) = (lab.scratch.subdirectory()?, free_address()?);
        let config = directory.join("influxdb.conf");
        let path = directory.display();
        let text = format!(
            "reporting-disabled = true\nbind-address = \"{}\"\n[meta]\ndir = \"{path}/meta\"\n\
             [data]\ndir = \"{path}/data\"\nwal-dir = \"{path}/wal\"\n\
             [http]\nbind-address = \"{address}\"\nlog-enabled = false\n",
            free_address()?
        );
        fs::write(&config, text)?;
        let mut influxdb = Self { address, config, process: None };
        influxdb.start()?;
        Ok(influxdb)
    }

    /// The URL of the sink.
    pub(crate) fn url(&self) -> String {
        format!("influx+http://{}/?db=tare", self.address)
    }

    /// Starts it with what it had stored before.
    pub(crate) fn start(&mut self) -> Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let mut influxd = Command::new(named("TARE_INFLUXDB_DIR")?.join("influxd"));
        influxd.arg("-config").arg(&self.config);
        self.process = Some(Process::spawn(influxd)?);
        wait::until("InfluxDB to answer", PATIENCE, || {
            let create = format!("POST /query?q={}", encoded("CREATE DATABASE tare"));
            Ok(json(&self.address, &create).ok().map(|_| ()))
        })
    }

    /// Kills it.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let Some(process) = self.process.take() else { return Ok(()) };
        process.signal(Signal::SIGKILL)?;
        process.finish(PATIENCE).map(drop)
    }
}

impl Servers {
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        let influxdb = InfluxDb::new(lab)?;
        let prometheus = free_address()?;
        let directory = lab.scratch.subdirectory()?;
        fs::write(directory.join("prometheus.yml"), "")?;
        let mut command = Command::new(named("TARE_PROMETHEUS_DIR")?.join("prometheus"));
        command.current_dir(&directory).arg(format!("--web.listen-address={prometheus}"));
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        command.arg("--web.enable-remote-write-receiver");
        let mut processes = vec![Process::spawn(command)?];

        let (victoria, graphite) = (free_address()?, free_address()?);
        let mut command = Command::new(named("TARE_VICTORIA_METRICS")?);
        command.arg(format!("-storageDataPath={}", lab.scratch.subdirectory()?.display()));
        command.arg(format!("-httpListenAddr={victoria}"));
        command.arg(format!("-graphiteListenAddr={graphite}"));
        processes.push(Process::spawn(command)?);

        let (port, statsd_management) = (free_udp_port()?, free_address()?);
        let management_port = statsd_management.rsplit(':').next().context("no port")?;
        let config = lab.scratch.subdirectory()?.join("config.js");
        let text = format!(
            "{{ address: '127.0.0.1', port: {port}, mgmt_address: '127.0.0.1', \
             mgmt_port: {management_port}, backends: [], keyNameSanitize: false }}\n"
        );
        fs::write(&config, text)?;
        let mut command = Command::new("node");
        command.arg(named("TARE_STATSD")?).arg(&config);
        processes.push(Process::spawn(command)?);

        for (what, address) in [
            ("Prometheus", &prometheus),
            ("VictoriaMetrics", &victoria),
            ("Graphite's port", &graphite),
            ("StatsD", &statsd_management),
        ] {
            wait::until(what, PATIENCE, || Ok(TcpStream::connect(address).ok().map(drop)))?;
        }
        wait::until("Prometheus to be ready", PATIENCE, || {
            Ok(json(&prometheus, "GET /api/v1/query?query=1").ok().map(|_| ()))
        })?;
        let statsd = format!("127.0.0.1:{port}");
        Ok(Self {
            influxdb,
            prometheus,
            victoria,
            graphite,
            statsd,
            statsd_management,
            _processes: processes,
        })
    }

    /// A configuration with a sink for each way into each receiver.
    pub(crate) fn sinks(&self) -> String {
        let Self { influxdb, prometheus, victoria, graphite, statsd, .. } = self;
        let sinks = [
            (influxdb.url(), "influx"),
            (format!("prometheus+http://{prometheus}"), "remote_write"),
            (format!("prometheus+http://{victoria}"), "remote_write"),
            (format!("otlp+http://{victoria}/opentelemetry/v1/metrics"), "otlp"),
            (format!("influx+http://{victoria}/?org=tare&bucket=tare"), "influx"),
            (format!("graphite://{graphite}"), "graphite"),
            (format!("statsd://{statsd}"), "statsd"),
        ];
        let table = |(url, way): &(String, &str)| {
            format!("[[sink]]\nurl = \"{url}\"\nlabels = {{ way = \"{way}\" }}\n")
        };
        sinks.iter().map(table).collect()
    }

    /// What `StatsD` has of a metric of a container.
    fn gauge(&self, text: &str, metric: &str, name: &str) -> Option<f64> {
        let of_metric = format!("'{metric};");
        let label = format!(";name={name}");
        let mut lines = text.lines().map(str::trim).filter(|line| line.starts_with(&of_metric));
        let line = lines.find(|line| line.contains(&label))?;
        line.rsplit_once(": ")?.1.trim_end_matches(',').parse().ok()
    }

    /// `StatsD` has no times: its gauges must be those of one sample.
    pub(crate) fn ensure_gauges_of_one_sample(
        &self,
        daemon: &TareDaemon,
        names: &[&str],
    ) -> Result<()> {
        let mut samples = Samples::new();
        wait::until("the gauges of one sample in StatsD", PATIENCE, || {
            watch(daemon, names, &mut samples)?;
            let mut stream = TcpStream::connect(&self.statsd_management)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(b"gauges\nquit\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            let is_it = |sample: &crate::Sample| {
                let mut all = sample.iter();
                all.all(|((name, metric), value)| self.gauge(&text, metric, name) == Some(*value))
            };
            Ok(samples.values().next_back().filter(|sample| is_it(sample)).map(|_| ()))
        })
    }
}
