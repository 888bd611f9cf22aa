//! Arguments → configuration: what the rest of the program gets, with every default decided.

mod file;
mod record;
mod run;
mod sink;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use clap_complete::Shell;
use tracing::level_filters::LevelFilter;

use crate::{
    cli::{self, Cli, LogLevel},
    identity::{KeyFilter, RuntimeSockets, Socket},
    logging::LogFormat,
    network::NamespaceSockets,
    output::{
        Format, Scope, Sort,
        columns::{self, Choice},
        filter::Filters,
        table,
    },
};

pub use self::{
    file::read,
    record::{DEFAULT_RECORDING, ExportFormat, RecordCommand, RecordExport, Replay},
    run::{DockerApi, Limits, Run, Spool},
    sink::Sink,
};
pub use crate::cli::{
    Bpf, BudgetFormat, CgroupSource, NetLevel, PlainFormat, TaskPasses,
    run::{AcadockApi, CadvisorApi, DEFAULT_SOCKET, WritableLayers},
};

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The command line or the environment; also a request for help.
    #[error("{0}")]
    Usage(#[from] clap::Error),
    /// The configuration file.
    #[error("{0}")]
    File(String),
}

/// What one run of the program does.
#[derive(Clone, Debug, PartialEq)]
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
    /// What the numbers of cgroups come from.
    pub sources: CgroupSource,
    /// What is counted at sockets; `None` takes the best that the kernel offers.
    pub net_level: Option<NetLevel>,
    /// Whether all tasks of the host are gone over.
    pub tasks: TaskPasses,
    /// Root of the cgroup file systems; `None` finds them in `proc_root`.
    pub cgroup_root: Option<PathBuf>,
    /// The host's `/proc`.
    pub proc_root: PathBuf,
    /// The host's `/sys`.
    pub sys_root: PathBuf,
    /// Sockets of the runtimes that know names.
    pub sockets: RuntimeSockets,
    /// The labels to publish.
    pub labels: KeyFilter,
    /// The environment variables of containers to publish.
    pub environment: KeyFilter,
    /// Whether runtimes are asked what containers have written.
    pub writable_layers: bool,
    /// Time between two readings of `memory.stat`; 0 reads it for each sample.
    pub memory_stat_interval: Duration,
    /// What is read of the sockets of network namespaces.
    pub namespace_sockets: NamespaceSockets,
    /// Counter slots in the kernel, for each of network and block I/O.
    pub slots: u32,
    /// How many receipts of ended containers are kept at most.
    pub receipts: usize,
    /// How long they are kept.
    pub receipt_ttl: Duration,
    /// What is logged.
    pub log_level: LevelFilter,
    /// How a line of the log looks.
    pub log_format: LogFormat,
}

/// The command.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// `tare stats`
    Stats(Stats),
    /// `tare snapshot`
    Snapshot(Snapshot),
    /// `tare top`
    Top(Top),
    /// `tare doctor`
    Doctor(Doctor),
    /// `tare run`
    Run(Box<Run>),
    /// `tare diff`
    Diff(Diff),
    /// `tare budget`
    Budget(Budget),
    /// `tare budget help`
    Measures,
    /// `tare collectd`
    Collectd(Collectd),
    /// `tare stats --columns help`
    Columns,
    /// `tare record`
    Record(RecordCommand),
    /// `tare record export`
    RecordExport(RecordExport),
    /// `tare health`, with the socket of the daemon
    Health(PathBuf),
    /// `tare completions`
    Completions(Shell),
    /// `tare manuals`
    Manuals(PathBuf),
}

/// Options of `tare snapshot`.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Names and ids of the wanted rows; empty for all.
    pub names: Vec<String>,
    /// Time between two samples; zero takes one.
    pub window: Duration,
    /// The daemon to ask first. `Auto` is that of this host, unless options say what else to look
    /// at.
    pub daemon: Socket,
    /// How to print it.
    pub format: PlainFormat,
    /// The file to save it in.
    pub output: Option<PathBuf>,
    /// The file of a saved one to show instead of this host.
    pub read: Option<PathBuf>,
    /// The recording to show instead.
    pub replay: Option<Replay>,
}

/// Options of `tare diff`.
#[derive(Clone, Debug, PartialEq)]
pub struct Diff {
    /// The file of the earlier snapshot, or a recording and a time.
    pub before: PathBuf,
    /// The later one.
    pub after: PathBuf,
    /// Names and ids of the wanted containers; empty for all.
    pub names: Vec<String>,
    /// The time before an instant of a recording that rates are of.
    pub window: Duration,
    /// Changes by less than this are left out.
    pub percent: f64,
    /// How to print the result.
    pub format: PlainFormat,
}

/// Options of `tare budget`.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// The file with the limits.
    pub file: PathBuf,
    /// Time between the two samples, unless a command runs.
    pub window: Duration,
    /// A saved snapshot to check instead of this host.
    pub read: Option<PathBuf>,
    /// A stretch of a recording to check.
    pub replay: Option<Replay>,
    /// How to print the result.
    pub format: BudgetFormat,
    /// A command and its arguments; the samples are taken before and after it.
    pub command: Vec<OsString>,
}

/// Options of `tare collectd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collectd {
    /// Time between two samples; `None` is that of collectd.
    pub interval: Option<Duration>,
    /// Which rows are written.
    pub scope: Scope,
    /// The daemon to ask first.
    pub daemon: Socket,
}

/// Options of `tare doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doctor {
    /// How to write the findings.
    pub format: PlainFormat,
    /// Whether it is a failure that a family is off.
    pub strict: bool,
    /// The directory whose recording is looked at.
    pub record: PathBuf,
}

/// Options of `tare stats`.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// Whether to continue after the first report.
    pub stream: bool,
    /// Time between two samples.
    pub interval: Duration,
    /// How to write reports.
    pub format: Format,
    /// Rows, their order and their columns.
    pub table: table::Options,
    /// The recording to show instead of this host.
    pub replay: Option<Replay>,
}

/// Options of `tare top`. Keys change all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Top {
    /// Time between two samples.
    pub interval: Duration,
    /// What orders the rows.
    pub sort: Sort,
    /// Which rows are shown.
    pub scope: Scope,
    /// Text that a name of the row must contain; empty for all rows.
    pub filter: String,
    /// The recording that keys go back into.
    pub record: PathBuf,
    /// The recording to show instead of this host.
    pub replay: Option<Replay>,
}

impl From<Cli> for Config {
    fn from(cli: Cli) -> Self {
        let writable_layers = match &cli.command {
            cli::Command::Run(args) => args.writable_layers == WritableLayers::Auto,
            _ => false,
        };
        let command = match cli.command {
            cli::Command::Stats(args) if args.columns.contains(&Choice::Help) => Command::Columns,
            cli::Command::Stats(args) => Command::Stats(args.into()),
            cli::Command::Run(args) => Command::Run(Box::new((*args).into())),
            cli::Command::Snapshot(args) => {
                let cli::SnapshotArgs { names, window, daemon, format, output, read, .. } = args;
                let replay = Replay::of(args.replay, Some(args.stretch));
                Command::Snapshot(Snapshot { names, window, daemon, format, output, read, replay })
            }
            cli::Command::Diff(args) => {
                let cli::DiffArgs { before, after, names, window, percent, format } = args;
                Command::Diff(Diff { before, after, names, window, percent, format })
            }
            cli::Command::Budget(args) if args.file == Path::new("help") => Command::Measures,
            cli::Command::Budget(args) => {
                let cli::BudgetArgs { file, window, read, format, command, .. } = args;
                let replay = Replay::of(args.replay, Some(args.stretch)).map(Replay::whole);
                Command::Budget(Budget { file, window, read, replay, format, command })
            }
            cli::Command::Doctor(cli::DoctorArgs { format, strict, record }) => {
                Command::Doctor(Doctor { format, strict, record })
            }
            cli::Command::Record(args) => args.into(),
            cli::Command::Health(args) => Command::Health(args.daemon),
            cli::Command::Collectd(cli::CollectdArgs { interval, scope, daemon }) => {
                Command::Collectd(Collectd { interval, scope, daemon })
            }
            cli::Command::Completions(args) => Command::Completions(args.shell),
            cli::Command::Manuals(args) => Command::Manuals(args.directory),
            cli::Command::Top(args) => Command::Top(args.into()),
        };
        let mut common = Common::from(cli.global);
        if let Command::Stats(Stats { table, .. }) = &command {
            table.filters.labels().for_each(|label| common.labels.allow(label));
            table.filters.variables().for_each(|name| common.environment.allow(name));
        }
        common.writable_layers = writable_layers;
        Self { common, command }
    }
}

impl From<cli::GlobalArgs> for Common {
    fn from(args: cli::GlobalArgs) -> Self {
        Self {
            bpf: args.bpf,
            sources: args.sources,
            net_level: args.net_level,
            tasks: args.tasks,
            cgroup_root: args.cgroup_root,
            proc_root: args.proc_root,
            sys_root: args.sys_root,
            sockets: RuntimeSockets {
                docker: args.docker_socket,
                podman: args.podman_socket,
                cri: args.cri_socket,
            },
            labels: args.labels,
            environment: args.environment,
            writable_layers: false,
            memory_stat_interval: args.memory_stat_interval,
            namespace_sockets: args.namespace_sockets,
            slots: args.slots,
            receipts: args.receipts as usize,
            receipt_ttl: args.receipt_ttl,
            log_format: args.log_format,
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
        // A name may be that of a service.
        let implied = if args.names.is_empty() { Scope::Containers } else { Scope::All };
        let filters = Filters(args.filter);
        let all = args.all || filters.want_ended();
        let table = table::Options {
            names: args.names,
            scope: args.scope.unwrap_or(implied),
            filters,
            sort: args.sort,
            no_trunc: args.no_trunc,
            all,
            ended: args.ended,
            columns: columns::chosen(&args.columns, columns::usual(args.ended, all)),
        };
        Self {
            stream: !args.no_stream,
            interval: args.interval,
            format: args.format,
            table,
            replay: Replay::of(args.replay, None),
        }
    }
}

impl From<cli::TopArgs> for Top {
    fn from(args: cli::TopArgs) -> Self {
        let cli::TopArgs { interval, sort, scope, filter, record, replay } = args;
        Self { interval, sort, scope, filter, record, replay: Replay::of(replay, None) }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn config(args: &[&str]) -> (Common, Stats) {
        let config =
            Config::from(Cli::try_parse_from([&["tare", "stats"], args].concat()).unwrap());
        let Command::Stats(stats) = config.command else { panic!("{args:?}") };
        (config.common, stats)
    }

    #[test]
    fn defaults() {
        let (common, stats) = config(&[]);
        let expected = Common {
            bpf: Bpf::Auto,
            sources: CgroupSource::Auto,
            net_level: None,
            tasks: TaskPasses::Auto,
            cgroup_root: None,
            proc_root: "/proc".into(),
            sys_root: "/sys".into(),
            sockets: RuntimeSockets::default(),
            labels: KeyFilter::default(),
            environment: KeyFilter::default(),
            writable_layers: false,
            memory_stat_interval: Duration::ZERO,
            namespace_sockets: NamespaceSockets::Off,
            slots: 4096,
            receipts: 1024,
            receipt_ttl: Duration::from_secs(3600),
            log_level: LevelFilter::WARN,
            log_format: LogFormat::Text,
        };
        assert_eq!(common, expected);
        let table = table::Options::default();
        let (interval, format, replay) = (Duration::from_secs(1), Format::Table, None);
        let expected = Stats { stream: true, interval, format, table, replay };
        assert_eq!(stats, expected);
    }

    #[test]
    fn a_named_row_is_in_scope() {
        assert_eq!(config(&["ssh.service"]).1.table.scope, Scope::All);
        assert_eq!(config(&["web", "--scope", "containers"]).1.table.scope, Scope::Containers);
    }

    #[test]
    fn labels() {
        let labels = |text| config(&["--labels", text]).0.labels;
        assert_eq!(labels("app, team.*"), KeyFilter::new(["app", "team.*"]));
        assert_eq!(labels(""), KeyFilter::default());
    }

    #[test]
    fn ended_containers_are_shown_on_request() {
        let last = |args: &[&str]| {
            let table = config(args).1.table;
            (table.all, table.columns.last().map(|column| column.name))
        };
        assert_eq!(last(&[]), (false, Some("pids")));
        assert_eq!(last(&["-a"]), (true, Some("state")));
        assert_eq!(last(&["--filter", "state=ended"]), (true, Some("state")));
        assert_eq!(last(&["--ended", "-a"]), (true, Some("totals")));
        assert_eq!(last(&["--columns", "+swap"]), (false, Some("swap")));
    }

    #[test]
    fn a_label_to_filter_by_must_be_known() {
        let config = config(&["--filter", "label=tier=front"]);
        assert_eq!(config.0.labels, KeyFilter::new(["tier"]));
        let config = self::config(&["--filter", "env=ZONE=a", "--environment", "AB*"]);
        assert_eq!(config.0.environment, KeyFilter::new(["AB*", "ZONE"]));
    }

    #[test]
    fn sockets() {
        let socket = |text| config(&["--docker-socket", text]).0.sockets.docker;
        assert_eq!(socket("off"), Socket::Off);
        assert_eq!(socket("auto"), Socket::Auto);
        assert_eq!(socket("/a/b"), Socket::Path("/a/b".into()));
        assert_eq!(socket("unix:///a/b"), Socket::Path("/a/b".into()));
        let (common, _) = config(&["--podman-socket", "/p", "--cri-socket", "/c"]);
        let expected = RuntimeSockets {
            docker: Socket::Auto,
            podman: Socket::Path("/p".into()),
            cri: Socket::Path("/c".into()),
        };
        assert_eq!(common.sockets, expected);
    }
}
