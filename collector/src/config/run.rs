//! What `tare run` is to do.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    cli::run::{Listen, RunArgs},
    identity::Socket,
    output::{Scope, prometheus},
};

/// What Tare may use. `None` is as much as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Millionths of one CPU.
    pub cpu_millionths: Option<u32>,
    /// Resident memory.
    pub memory_bytes: Option<u64>,
}

/// What `tare run` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// TCP addresses to serve on.
    pub listen: Vec<SocketAddr>,
    /// Unix socket to serve on.
    pub socket: Socket,
    /// Certificates and their key, for TLS over TCP.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Tokens of which one is needed over TCP.
    pub token_file: Option<PathBuf>,
    /// Names and passwords of which one is needed over TCP.
    pub basic_auth_file: Option<PathBuf>,
    /// Connections at a time.
    pub max_connections: u32,
    /// Time between two samples.
    pub interval: Duration,
    /// What is sampled and served.
    pub scope: Scope,
    /// How `/metrics` is written.
    pub metrics: prometheus::Options,
    /// How long a history is kept.
    pub history: Duration,
    /// What it may take in bytes.
    pub history_memory: usize,
    /// What Tare itself may use.
    pub limits: Limits,
    /// How often the runs of BPF programs are counted for a moment: 0 is never, `None` as often as
    /// that needs no further right.
    pub bpf_stats_interval: Option<Duration>,
}

impl From<RunArgs> for Run {
    fn from(args: RunArgs) -> Self {
        let on = |listen| match listen {
            Listen::On(address) => Some(address),
            Listen::Off => None,
        };
        Self {
            listen: args.listen.into_iter().filter_map(on).collect(),
            socket: args.socket,
            tls: args.tls_cert.zip(args.tls_key),
            token_file: args.token_file,
            basic_auth_file: args.basic_auth_file,
            max_connections: args.max_connections,
            interval: args.interval,
            scope: args.scope,
            metrics: prometheus::Options {
                label_set: args.label_set,
                timestamps: args.timestamps,
                ended: args.ended_metrics as usize,
                histograms: true,
            },
            history: args.history,
            limits: Limits { cpu_millionths: args.max_cpu, memory_bytes: args.max_memory },
            bpf_stats_interval: args.bpf_stats_interval,
            history_memory: usize::try_from(args.history_memory).unwrap_or(usize::MAX),
        }
    }
}
