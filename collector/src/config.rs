//! Arguments → configuration: what the rest of the program is told, with every default decided.

use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use crate::cli::{self, Cli, LogLevel};
use crate::identity::docker::DockerSocket;
use crate::output::{Format, Scope, Sort, table};

pub use crate::cli::{Bpf, NetLevel};

/// What one run of the program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What every command needs.
    pub common: Common,
    /// The command.
    pub command: Command,
}

/// What every command needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Common {
    /// Whether to use eBPF.
    pub bpf: Bpf,
    /// What is counted at sockets; `None` takes the best that the kernel offers.
    pub net_level: Option<NetLevel>,
    /// Root of the cgroup file systems; `None` finds them in `proc_root`.
    pub cgroup_root: Option<PathBuf>,
    /// The host's `/proc`.
    pub proc_root: PathBuf,
    /// The host's `/sys`.
    pub sys_root: PathBuf,
    /// Where to ask for names.
    pub docker_socket: DockerSocket,
    /// Counter slots in the kernel for each family.
    pub slots: u32,
    /// How many receipts of ended containers are kept.
    pub receipts: usize,
    /// For how long.
    pub receipt_ttl: Duration,
    /// What is logged.
    pub log_level: LevelFilter,
}

/// The command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `tare stats`
    Stats(Stats),
    /// `tare top`
    Top(Top),
}

/// What `tare stats` is to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Names and ids of the wanted rows; empty for all.
    pub names: Vec<String>,
    /// Whether to go on after the first report.
    pub stream: bool,
    /// Time between two samples.
    pub interval: Duration,
    /// How to write reports.
    pub format: Format,
    /// Rows, their order and their ids' length.
    pub table: table::Options,
}

/// What `tare top` is to begin with; keys change all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// Time between two samples.
    pub interval: Duration,
    /// What orders the rows.
    pub sort: Sort,
    /// Which rows are shown.
    pub scope: Scope,
    /// What they must have in a name; empty for all.
    pub filter: String,
}

impl From<Cli> for Config {
    fn from(cli: Cli) -> Self {
        let command = match cli.command {
            cli::Command::Stats(args) => Command::Stats(args.into()),
            cli::Command::Top(args) => Command::Top(args.into()),
        };
        Self { common: cli.global.into(), command }
    }
}

impl From<cli::GlobalArgs> for Common {
    fn from(args: cli::GlobalArgs) -> Self {
        Self {
            bpf: args.bpf,
            net_level: args.net_level,
            cgroup_root: args.cgroup_root,
            proc_root: args.proc_root,
            sys_root: args.sys_root,
            docker_socket: args.docker_socket,
            slots: args.slots,
            receipts: args.receipts as usize,
            receipt_ttl: args.receipt_ttl,
            log_level: match args.log_level {
                LogLevel::Error => LevelFilter::ERROR,
                LogLevel::Warn => LevelFilter::WARN,
                LogLevel::Info => LevelFilter::INFO,
                LogLevel::Debug => LevelFilter::DEBUG,
                LogLevel::Trace => LevelFilter::TRACE,
            },
        }
    }
}

impl From<cli::StatsArgs> for Stats {
    fn from(args: cli::StatsArgs) -> Self {
        // Who names a service wants to see it.
        let implied = if args.names.is_empty() { Scope::Containers } else { Scope::All };
        let table = table::Options {
            scope: args.scope.unwrap_or(implied),
            sort: args.sort,
            no_trunc: args.no_trunc,
            ended: args.ended,
        };
        Self {
            names: args.names,
            stream: !args.no_stream,
            interval: args.interval,
            format: args.format,
            table,
        }
    }
}

impl From<cli::TopArgs> for Top {
    fn from(args: cli::TopArgs) -> Self {
        let cli::TopArgs { interval, sort, scope, filter } = args;
        Self { interval, sort, scope, filter }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn config(args: &[&str]) -> (Common, Stats) {
        let config =
            Config::from(Cli::try_parse_from([&["tare", "stats"], args].concat()).unwrap());
        let Command::Stats(stats) = config.command else { panic!("another command") };
        (config.common, stats)
    }

    #[test]
    fn defaults() {
        let (common, stats) = config(&[]);
        let expected = Common {
            bpf: Bpf::Auto,
            net_level: None,
            cgroup_root: None,
            proc_root: "/proc".into(),
            sys_root: "/sys".into(),
            docker_socket: DockerSocket::Auto,
            slots: 4096,
            receipts: 1024,
            receipt_ttl: Duration::from_secs(3600),
            log_level: LevelFilter::WARN,
        };
        assert_eq!(common, expected);
        let table = table::Options::default();
        let expected = Stats {
            names: Vec::new(),
            stream: true,
            interval: Duration::from_secs(1),
            format: Format::Table,
            table,
        };
        assert_eq!(stats, expected);
    }

    #[test]
    fn a_named_row_is_in_scope() {
        assert_eq!(config(&["ssh.service"]).1.table.scope, Scope::All);
        assert_eq!(config(&["web", "--scope", "containers"]).1.table.scope, Scope::Containers);
    }

    #[test]
    fn docker_sockets() {
        let socket = |text| config(&["--docker-socket", text]).0.docker_socket;
        assert_eq!(socket("off"), DockerSocket::Off);
        assert_eq!(socket("auto"), DockerSocket::Auto);
        assert_eq!(socket("/a/b"), DockerSocket::Path("/a/b".into()));
        assert_eq!(socket("unix:///a/b"), DockerSocket::Path("/a/b".into()));
    }
}
