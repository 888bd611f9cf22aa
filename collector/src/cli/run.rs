//! Options of `tare run`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{
    Args, ValueEnum,
    builder::{BoolishValueParser, NonEmptyStringValueParser},
};

use crate::{
    cli::values::{age, bytes, duration, interval, socket, window},
    families::perf_events::PerfEvent,
    identity::Socket,
    output::{
        Scope,
        prometheus::{LabelSet, MetricPattern},
    },
};

/// Unix socket on which the daemon serves, unless `--socket` names another one.
pub const DEFAULT_SOCKET: &str = "/run/tare/tare.sock";

/// Unix socket for Docker clients with `--docker-api-socket auto`.
pub const DEFAULT_DOCKER_API_SOCKET: &str = "/run/tare/docker.sock";

/// Whether the API of acadock is served, and from which side its network is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AcadockApi {
    /// It is not served
    #[default]
    Off,
    /// The network is seen from the host, as acadock sees it: received is what a container sent
    Host,
    /// The network is seen from the container: received is what it received
    Container,
}

/// Whether the REST API of cAdvisor is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CadvisorApi {
    /// It is not served
    #[default]
    Off,
    /// It is served below /api/v1.0 to /api/v2.1
    On,
}

/// Whether runtimes are asked what containers have written to their roots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum WritableLayers {
    /// Those that have counted it already
    #[default]
    Auto,
    /// Never
    Off,
}

/// Options of `tare run`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub struct RunArgs {
    /// TOML file with options of `tare run` by their names. The command line and the environment
    /// take precedence
    #[arg(long, env = "TARE_CONFIG", hide_env = true, help_heading = "Configuration")]
    #[arg(value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of this host in reports and at sinks [default: the kernel's, which in a container is
    /// the container's]
    #[arg(long, env = "TARE_HOSTNAME", hide_env = true, value_name = "NAME")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub hostname: Option<String>,
    /// TCP address to listen on; may be repeated or separated by commas; `off` for none
    #[arg(long, env = "TARE_LISTEN", hide_env = true, value_delimiter = ',')]
    #[arg(value_name = "ADDRESS", default_value = "127.0.0.1:9753", value_parser = listen)]
    pub listen: Vec<Listen>,
    /// Unix socket to listen on, for the owner and the group of the process: a path, `off`, or
    /// `auto` (/run/tare/tare.sock, if it can be created)
    #[arg(long, env = "TARE_SOCKET", hide_env = true)]
    #[arg(value_name = "PATH", default_value = "auto", value_parser = socket())]
    pub socket: Socket,
    /// TLS certificate chain for TCP, in PEM
    #[arg(long, env = "TARE_TLS_CERT", hide_env = true)]
    #[arg(value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the TLS certificate, in PEM
    #[arg(long, env = "TARE_TLS_KEY", hide_env = true)]
    #[arg(value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Require a bearer token over TCP; the file has one token per line
    #[arg(long, env = "TARE_TOKEN_FILE", hide_env = true)]
    #[arg(value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Require a user name and password over TCP; the file has one `name:password` per line
    #[arg(long, env = "TARE_BASIC_AUTH_FILE", hide_env = true)]
    #[arg(value_name = "FILE")]
    pub basic_auth_file: Option<PathBuf>,
    /// Name that clients over TCP may use for this server, in which `*` stands for any text; may
    /// be repeated or separated by commas. `localhost`, IP addresses and the machine's name
    /// are always allowed. Pages under this name may read `/api/v1/live`
    #[arg(long, env = "TARE_ALLOW_HOST", hide_env = true, value_delimiter = ',')]
    #[arg(value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Open connections at a time; further ones are refused [default: 128; 2048 with the Docker
    /// API, whose clients open one for each container]
    #[arg(long, env = "TARE_MAX_CONNECTIONS", hide_env = true, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_connections: Option<u32>,
    /// Unix socket for Docker clients such as `docker stats`, read-only: a path, `off`, or `auto`
    /// (/run/tare/docker.sock). Where dockerd itself is, `--docker-socket` says
    #[arg(long, env = "TARE_DOCKER_API_SOCKET", hide_env = true, help_heading = "Docker API")]
    #[arg(value_name = "PATH", default_value = "off", value_parser = socket())]
    pub docker_api_socket: Socket,
    /// Group that may connect to that socket, by name or number [default: the group of the
    /// process]
    #[arg(long, env = "TARE_DOCKER_API_GROUP", hide_env = true, help_heading = "Docker API")]
    #[arg(value_name = "GROUP")]
    pub docker_api_group: Option<String>,
    /// TCP address for Docker clients; may be repeated or separated by commas; `off` for none.
    /// TLS, tokens and passwords are those of the server
    #[arg(long, env = "TARE_DOCKER_API_LISTEN", hide_env = true, value_delimiter = ',')]
    #[arg(value_name = "ADDRESS", default_value = "off", value_parser = listen)]
    #[arg(help_heading = "Docker API")]
    pub docker_api_listen: Vec<Listen>,
    /// Require a TLS certificate of these authorities from Docker clients over TCP, in PEM. It
    /// takes the place of tokens and passwords
    #[arg(long, env = "TARE_DOCKER_API_TLS_CLIENT_CA", hide_env = true)]
    #[arg(value_name = "FILE", requires = "tls_cert", help_heading = "Docker API")]
    pub docker_api_tls_client_ca: Option<PathBuf>,
    /// Serve the API of acadock-monitoring to its clients too
    #[arg(long, env = "TARE_ACADOCK_API", hide_env = true, help_heading = "Acadock API")]
    #[arg(value_enum, default_value_t, value_name = "VIEW")]
    pub acadock_api: AcadockApi,
    /// Serve the REST API of cAdvisor to its clients too
    #[arg(long, env = "TARE_CADVISOR_API", hide_env = true, help_heading = "cAdvisor API")]
    #[arg(value_enum, default_value_t, value_name = "STATE")]
    pub cadvisor_api: CadvisorApi,
    /// Time between two samples, from 100ms to 1h
    #[arg(long, env = "TARE_INTERVAL", hide_env = true, help_heading = "Samples and receipts")]
    #[arg(value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// What to sample
    #[arg(long, env = "TARE_SCOPE", hide_env = true, help_heading = "Samples and receipts")]
    #[arg(value_enum, default_value_t)]
    pub scope: Scope,
    /// How much history to keep; `0s` for none
    #[arg(long, env = "TARE_HISTORY", hide_env = true, help_heading = "Samples and receipts")]
    #[arg(value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub history: Duration,
    /// Memory for the history; the oldest samples are dropped first
    #[arg(long, env = "TARE_HISTORY_MEMORY", hide_env = true)]
    #[arg(value_name = "BYTES", default_value = "8MiB", value_parser = bytes)]
    #[arg(help_heading = "Samples and receipts")]
    pub history_memory: u64,
    /// Whether to ask containerd once a minute what each container has written to its root
    #[arg(long, env = "TARE_WRITABLE_LAYERS", hide_env = true)]
    #[arg(value_enum, default_value_t, value_name = "WHEN", help_heading = "Samples and receipts")]
    pub writable_layers: WritableLayers,
    /// Events to count of each container, such as `instructions,cache-misses`, by perf's names;
    /// may be repeated or separated by commas. Each takes a descriptor for each CPU and
    /// container, and makes changes between containers on a CPU slower [default: none]
    #[arg(long, env = "TARE_PERF_EVENTS", hide_env = true, value_delimiter = ',')]
    #[arg(value_enum, value_name = "EVENTS", hide_possible_values = true)]
    #[arg(help_heading = "Samples and receipts")]
    pub perf_events: Vec<PerfEvent>,
    /// Labels of the metrics: those of standalone cAdvisor, or of the kubelet's cAdvisor
    #[arg(long, env = "TARE_LABEL_SET", hide_env = true, help_heading = "Metrics")]
    #[arg(value_enum, default_value_t, value_name = "SET")]
    pub label_set: LabelSet,
    /// Add the time of the sample to the metrics of containers
    #[arg(long, env = "TARE_TIMESTAMPS", hide_env = true, help_heading = "Metrics")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub timestamps: bool,
    /// Metrics to add that are left out by default: the group `sched` (tasks by state, run time,
    /// load averages of 1, 5 and 15 minutes), or names of it
    #[arg(long, env = "TARE_ENABLE_METRICS", hide_env = true, value_delimiter = ',')]
    #[arg(value_name = "METRICS", help_heading = "Metrics")]
    pub enable_metrics: Vec<MetricPattern>,
    /// Metrics to leave out: groups (`block`, `cpu`, `memory` and others), or names in which `*`
    /// stands for any text; may be repeated or separated by commas
    #[arg(long, env = "TARE_DISABLE_METRICS", hide_env = true, value_delimiter = ',')]
    #[arg(value_name = "METRICS", help_heading = "Metrics")]
    pub disable_metrics: Vec<MetricPattern>,
    /// Ended containers to publish as metrics, the latest first
    #[arg(long, env = "TARE_ENDED_METRICS", hide_env = true, help_heading = "Metrics")]
    #[arg(value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=65_536))]
    pub ended_metrics: u32,
    /// Where to send numbers, such as `influx+http://host:8086/?db=tare`; may be repeated. More
    /// options of a sink are in the configuration file, in tables `[[sink]]`
    #[arg(long, env = "TARE_SINK", hide_env = true, help_heading = "Sinks")]
    #[arg(value_name = "URL", value_delimiter = ' ')]
    pub sink: Vec<String>,
    /// Directory for what sinks could not deliver yet. It survives the end of the process
    /// [default: memory only]
    #[arg(long, env = "TARE_SINK_SPOOL", hide_env = true, help_heading = "Sinks")]
    #[arg(value_name = "DIR")]
    pub sink_spool: Option<PathBuf>,
    /// The most that the spool of one sink may take; the oldest is dropped first
    #[arg(long, env = "TARE_SINK_SPOOL_SIZE", hide_env = true, help_heading = "Sinks")]
    #[arg(value_name = "BYTES", default_value = "1GiB", value_parser = bytes)]
    pub sink_spool_size: u64,
    /// For how long the spool keeps what could not be delivered
    #[arg(long, env = "TARE_SINK_SPOOL_AGE", hide_env = true, help_heading = "Sinks")]
    #[arg(value_name = "DURATION", default_value = "24h", value_parser = duration)]
    pub sink_spool_age: Duration,
    /// Directory to record every sample into, for `--replay` of the other commands [default: none]
    #[arg(long, env = "TARE_RECORD", hide_env = true, help_heading = "Recording")]
    #[arg(value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// The most that the recording may take; the oldest blocks go first
    #[arg(long, env = "TARE_RECORD_SIZE", hide_env = true, help_heading = "Recording")]
    #[arg(value_name = "BYTES", default_value = "256MiB", value_parser = bytes)]
    pub record_size: u64,
    /// For how long to keep what was recorded
    #[arg(long, env = "TARE_RECORD_AGE", hide_env = true, help_heading = "Recording")]
    #[arg(value_name = "DURATION", default_value = "7d", value_parser = age)]
    pub record_age: Duration,
    /// Time between two recorded samples: a multiple of --interval [default: every sample]
    #[arg(long, env = "TARE_RECORD_INTERVAL", hide_env = true, help_heading = "Recording")]
    #[arg(value_name = "DURATION", value_parser = interval)]
    pub record_interval: Option<Duration>,
    /// What a power failure may cost: the time after which recorded samples are on the disk; 0
    /// waits for the disk at every sample
    #[arg(long, env = "TARE_RECORD_SYNC", hide_env = true, help_heading = "Recording")]
    #[arg(value_name = "DURATION", default_value = "10s", value_parser = window)]
    pub record_sync: Duration,
    /// Check the configuration and connect to every sink once, then exit
    #[arg(long, env = "TARE_CHECK_CONFIG", hide_env = true, help_heading = "Configuration")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub check_config: bool,
    /// CPU budget in percent of one CPU. Above it Tare gives up histograms, then the history, then
    /// most readings of memory.stat, and then samples less often [default: no limit]
    #[arg(long, env = "TARE_MAX_CPU", hide_env = true, help_heading = "Budget")]
    #[arg(value_name = "PERCENT", value_parser = percent)]
    pub max_cpu: Option<u32>,
    /// Budget of resident memory. Above it Tare gives up histograms, then the history [default: no
    /// limit]
    #[arg(long, env = "TARE_MAX_MEMORY", hide_env = true, help_heading = "Budget")]
    #[arg(value_name = "BYTES", value_parser = bytes)]
    pub max_memory: Option<u64>,
    /// Time between two measurements, of one second each, of the run time of Tare's BPF programs:
    /// from 10s to 24h, or 0 for none. Keeps `CAP_SYS_ADMIN` [default: one, at the start]
    #[arg(long, env = "TARE_BPF_STATS_INTERVAL", hide_env = true, help_heading = "Budget")]
    #[arg(value_name = "DURATION", value_parser = bpf_stats_interval)]
    pub bpf_stats_interval: Option<Duration>,
    /// Nice value of the sampling thread, from -20 (first) to 19 (last) [default: -20 if allowed]
    #[arg(long, env = "TARE_NICE", hide_env = true, help_heading = "Samples and receipts")]
    #[arg(value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i8).range(-20..=19))]
    pub nice: Option<i8>,
}

/// Where to listen on TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On this address.
    On(SocketAddr),
    /// Nowhere.
    Off,
}

fn listen(text: &str) -> Result<Listen, String> {
    match text {
        "off" => Ok(Listen::Off),
        address => address
            .parse()
            .map(Listen::On)
            .map_err(|_| "must be an IP address and a port, such as 127.0.0.1:9753".to_owned()),
    }
}

/// Percent of one CPU, in millionths of a CPU.
fn percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let percent: f64 = number.parse().map_err(|_| format!("`{number}` is not a number"))?;
    if (0.01..=10_000.0).contains(&percent) {
        Ok((percent * 1e4) as u32)
    } else {
        Err("must be from 0.01% to 10000%".to_owned())
    }
}

/// A bound on the cost: statistics slow down every BPF program on the host.
fn bpf_stats_interval(text: &str) -> Result<Duration, String> {
    let duration = if text.trim() == "0" { Duration::ZERO } else { duration(text)? };
    let allowed = Duration::from_secs(10)..=Duration::from_secs(24 * 3600);
    if duration.is_zero() || allowed.contains(&duration) {
        Ok(duration)
    } else {
        Err("must be from 10s to 24h, or 0".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statistics_interval_is_long_or_zero() {
        let seconds = |text| bpf_stats_interval(text).map(|interval| interval.as_secs());
        assert_eq!((seconds("0"), seconds("0s"), seconds("1m")), (Ok(0), Ok(0), Ok(60)));
        assert!(seconds("9s").is_err() && seconds("25h").is_err() && seconds("60").is_err());
    }

    #[test]
    fn a_cpu_budget_is_a_percentage() {
        assert_eq!(
            (percent("1%"), percent("0.25"), percent("250 %")),
            (Ok(10_000), Ok(2_500), Ok(2_500_000))
        );
        for text in ["", "%", "0", "-1%", "NaN", "inf", "1e9"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_numeric() {
        assert_eq!(listen("off"), Ok(Listen::Off));
        assert!(listen("[::1]:80").is_ok() && listen("localhost:80").is_err());
    }
}
