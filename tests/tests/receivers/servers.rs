//! The receivers, each with a directory and addresses of its own.

use std::{
    env, fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tare_tests::{
    lab::Lab,
    process::Process,
    stores::{InfluxDb, Prometheus},
    tare_daemon::TareDaemon,
    tcp::{ask_line, free_address, wait_for},
    wait::{self, PATIENCE},
};

use crate::{Sample, Samples, read::METRICS, watch};

/// All receivers; stopped on drop.
pub(crate) struct Servers {
    pub(crate) influxdb: InfluxDb,
    pub(crate) prometheus: Prometheus,
    /// Where `VictoriaMetrics` listens for HTTP.
    pub(crate) victoria: String,
    graphite: String,
    statsd: String,
    /// Where `StatsD` tells what it knows.
    statsd_management: String,
    grpc: String,
    /// Where the server of gRPC writes what it gets.
    pub(crate) grpc_points: PathBuf,
    _processes: [Process; 3],
}

fn free_udp_port() -> Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A path that `cargo xtask test --only receivers` sets.
pub(crate) fn named(variable: &str) -> Result<PathBuf> {
    let path = env::var_os(variable).with_context(|| {
        format!("{variable} is not set: start this with `cargo xtask test --only receivers`")
    })?;
    Ok(path.into())
}

/// Starts `VictoriaMetrics` with its data in an empty directory.
fn victoria(directory: &Path, http: &str, graphite: &str) -> Result<Process> {
    let mut command = Command::new(named("TARE_VICTORIA_METRICS")?);
    command.arg(format!("-storageDataPath={}", directory.display()));
    command.arg(format!("-httpListenAddr={http}"));
    command.arg(format!("-graphiteListenAddr={graphite}"));
    let process = Process::spawn(command)?;
    wait_for("VictoriaMetrics", http)?;
    wait_for("VictoriaMetrics' port for Graphite", graphite)?;
    Ok(process)
}

/// Starts `StatsD`, which keeps what it gets.
fn statsd(directory: &Path, port: u16, management: &str) -> Result<Process> {
    let management_port = management.rsplit(':').next().context("no port")?;
    let config = directory.join("config.js");
    let text = format!(
        "{{ address: '127.0.0.1', port: {port}, mgmt_address: '127.0.0.1', \
         mgmt_port: {management_port}, backends: [], keyNameSanitize: false }}\n"
    );
    fs::write(&config, text)?;
    let mut command = Command::new("node");
    command.arg(named("TARE_STATSD")?).arg(&config);
    let process = Process::spawn(command)?;
    wait_for("StatsD", management)?;
    Ok(process)
}

/// Starts a server of OTLP over gRPC that writes the points of [`METRICS`] into a file.
fn grpc(address: &str, points: &Path) -> Result<Process> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/receivers/otlp_receiver.py");
    let mut command = Command::new(named("TARE_OTLP_PYTHON")?);
    command.arg(script).arg(address).arg(points);
    command.args(METRICS.iter().map(|metric| metric.otel));
    let process = Process::spawn(command)?;
    wait_for("the server of gRPC", address)?;
    Ok(process)
}

impl Servers {
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        let influxdb = InfluxDb::start_in(&lab.scratch.subdirectory()?)?;
        let prometheus = Prometheus::receiving(&lab.scratch.subdirectory()?)?;
        let (http, graphite) = (free_address()?, free_address()?);
        let victoria = victoria(&lab.scratch.subdirectory()?, &http, &graphite)?;
        let (port, management) = (free_udp_port()?, free_address()?);
        let statsd = statsd(&lab.scratch.subdirectory()?, port, &management)?;
        let (grpc_address, grpc_points) =
            (free_address()?, lab.scratch.subdirectory()?.join("points"));
        let grpc = grpc(&grpc_address, &grpc_points)?;
        Ok(Self {
            influxdb,
            prometheus,
            victoria: http,
            graphite,
            statsd: format!("127.0.0.1:{port}"),
            statsd_management: management,
            grpc: grpc_address,
            grpc_points,
            _processes: [victoria, statsd, grpc],
        })
    }

    /// A configuration with a sink for each way into each receiver.
    pub(crate) fn sinks(&self) -> String {
        let Self { influxdb, prometheus, victoria, graphite, statsd, grpc, .. } = self;
        let sinks = [
            (influxdb.url(), "influx"),
            (format!("prometheus+http://{}", prometheus.address()), "remote_write"),
            (format!("prometheus+http://{victoria}"), "remote_write"),
            (format!("otlp+http://{victoria}/opentelemetry/v1/metrics"), "otlp"),
            (format!("otlp+grpc://{grpc}"), "grpc"),
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
        // The next tag follows, or the end of the name.
        let labels = [format!(";name={name};"), format!(";name={name}'")];
        let mut lines = text.lines().map(str::trim).filter(|line| line.starts_with(&of_metric));
        let line = lines.find(|line| labels.iter().any(|label| line.contains(label)))?;
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
            let last = samples.values().next_back();
            let Some(last) = last else { return Ok(None) };
            Ok(self.has_gauges(last)?.then_some(()))
        })
    }

    /// `StatsD` has the values of these samples.
    pub(crate) fn ensure_gauges(&self, samples: &Samples) -> Result<()> {
        for sample in samples.values() {
            ensure!(self.has_gauges(sample)?, "StatsD lacks {sample:?}");
        }
        Ok(())
    }

    fn has_gauges(&self, sample: &Sample) -> Result<bool> {
        let text = ask_line(&self.statsd_management, "gauges")?;
        let mut all = sample.iter();
        Ok(all.all(|((name, metric), value)| self.gauge(&text, metric, name) == Some(*value)))
    }
}
