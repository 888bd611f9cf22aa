//! Options of `tare run`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    cli::run::{AcadockApi, CadvisorApi, DEFAULT_DOCKER_API_SOCKET, Listen, RunArgs},
    config::Sink,
    families::perf_events::PerfEvent,
    identity::Socket,
    output::{Scope, prometheus},
};

/// What Tare itself may use. `None` is without a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Millionths of one CPU.
    pub cpu_millionths: Option<u32>,
    /// Resident memory in bytes.
    pub memory_bytes: Option<u64>,
}

/// Open connections at a time without `--max-connections`.
const CONNECTIONS_MAX: u32 = 128;

/// The same with the Docker API: `docker stats` opens a connection for each container.
const DOCKER_CONNECTIONS_MAX: u32 = 2048;

/// Where the API of Docker's Engine is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DockerApi {
    /// Unix socket.
    pub socket: Option<PathBuf>,
    /// Group of that socket, by name or number.
    pub group: Option<String>,
    /// TCP addresses.
    pub listen: Vec<SocketAddr>,
    /// File of the authorities of client certificates, which clients over TCP need then.
    pub client_ca: Option<PathBuf>,
}

impl DockerApi {
    /// Whether it is served at all.
    pub fn is_on(&self) -> bool {
        self.socket.is_some() || !self.listen.is_empty()
    }
}

/// Options of `tare run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The host's name; `None` is the kernel's.
    pub hostname: Option<String>,
    /// TCP addresses to serve on.
    pub listen: Vec<SocketAddr>,
    /// Unix socket to serve on.
    pub socket: Socket,
    /// The API of Docker's Engine.
    pub docker_api: DockerApi,
    /// Whether the API of acadock is served, and whose view of the network it has.
    pub acadock_api: AcadockApi,
    /// Whether the REST API of cAdvisor is served.
    pub cadvisor_api: CadvisorApi,
    /// Files of the certificates and their key, for TLS over TCP.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// File of tokens, of which clients over TCP need one.
    pub token_file: Option<PathBuf>,
    /// File of names and passwords, of which clients over TCP need one.
    pub basic_auth_file: Option<PathBuf>,
    /// Names that clients over TCP may use, besides those that are always allowed.
    pub allow_hosts: Vec<String>,
    /// Open connections at a time, at most.
    pub max_connections: u32,
    /// Time between two samples.
    pub interval: Duration,
    /// What is sampled and served.
    pub scope: Scope,
    /// Events that are counted of each instance.
    pub perf_events: Vec<PerfEvent>,
    /// How `/metrics` is written.
    pub metrics: prometheus::Options,
    /// How long the history is kept.
    pub history: Duration,
    /// The most that the history may take, in bytes.
    pub history_memory: usize,
    /// What Tare itself may use.
    pub limits: Limits,
    /// Time between two measurements of the BPF programs; 0 is never, `None` as often as possible
    /// without further capabilities.
    pub bpf_stats_interval: Option<Duration>,
    /// Nice value of the sampling thread; `None` is -20 where that is allowed.
    pub nice: Option<i8>,
    /// Where numbers are sent.
    pub sinks: Vec<Sink>,
    /// Where batches that are not delivered yet are kept on disk.
    pub spool: Option<Spool>,
    /// What is recorded to disk.
    pub record: Option<Record>,
    /// Whether to check the configuration only.
    pub check_config: bool,
}

/// What is recorded to disk, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The directory.
    pub directory: PathBuf,
    /// What it may take.
    pub limits: tare_record::Limits,
    /// Time between two recorded samples; 0 records every one, also one that is early after a late
    /// one.
    pub interval: Duration,
}

/// Where batches that are not delivered yet are kept on disk, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// The directory; each sink has one of its own in it.
    pub directory: PathBuf,
    /// The most bytes of one sink.
    pub bytes_max: u64,
    /// The longest time.
    pub age_max: Duration,
}

impl From<RunArgs> for Run {
    fn from(args: RunArgs) -> Self {
        let on = |listen| match listen {
            Listen::On(address) => Some(address),
            Listen::Off => None,
        };
        let docker_api = DockerApi {
            socket: match args.docker_api_socket {
                Socket::Off => None,
                Socket::Auto => Some(DEFAULT_DOCKER_API_SOCKET.into()),
                Socket::Path(path) => Some(path),
            },
            group: args.docker_api_group,
            listen: args.docker_api_listen.into_iter().filter_map(on).collect(),
            client_ca: args.docker_api_tls_client_ca,
        };
        let connections = if docker_api.is_on() { DOCKER_CONNECTIONS_MAX } else { CONNECTIONS_MAX };
        Self {
            hostname: args.hostname,
            listen: args.listen.into_iter().filter_map(on).collect(),
            socket: args.socket,
            docker_api,
            acadock_api: args.acadock_api,
            cadvisor_api: args.cadvisor_api,
            tls: args.tls_cert.zip(args.tls_key),
            token_file: args.token_file,
            basic_auth_file: args.basic_auth_file,
            allow_hosts: args.allow_host,
            max_connections: args.max_connections.unwrap_or(connections),
            interval: args.interval,
            scope: args.scope,
            perf_events: args.perf_events,
            metrics: prometheus::Options {
                label_set: args.label_set,
                timestamps: args.timestamps,
                ended: args.ended_metrics as usize,
                histograms: true,
                selection: prometheus::Selection::usual_and(&args.enable_metrics)
                    .without(&args.disable_metrics),
            },
            history: args.history,
            limits: Limits { cpu_millionths: args.max_cpu, memory_bytes: args.max_memory },
            bpf_stats_interval: args.bpf_stats_interval,
            nice: args.nice,
            sinks: args.sink.into_iter().map(Sink::of_flag).collect(),
            spool: args.sink_spool.map(|directory| Spool {
                directory,
                bytes_max: args.sink_spool_size,
                age_max: args.sink_spool_age,
            }),
            record: args.record.map(|directory| Record {
                directory,
                limits: tare_record::Limits {
                    bytes_max: args.record_size,
                    age_max: args.record_age,
                    sync_every: args.record_sync,
                    ..tare_record::Limits::default()
                },
                interval: args.record_interval.unwrap_or_default(),
            }),
            check_config: args.check_config,
            history_memory: usize::try_from(args.history_memory).unwrap_or(usize::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RunArgs,
    }

    #[test]
    fn without_an_interval_every_sample_is_recorded() {
        let interval = |more: &[&str]| {
            let line = [&["run", "--record", "/r"][..], more].concat();
            Run::from(Line::parse_from(line).args).record.map(|record| record.interval)
        };
        // A sample that is early after a late one is recorded, too.
        assert_eq!(interval(&[]), Some(Duration::ZERO));
        assert_eq!(interval(&["--record-interval", "10s"]), Some(Duration::from_secs(10)));
    }
}
