//! The command line: every option, its values and its help.

mod compare;
mod examples;
pub mod record;
pub mod run;
pub(crate) mod values;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint, builder::BoolishValueParser};
use clap_complete::Shell;

pub use self::compare::{BudgetArgs, BudgetFormat, DiffArgs};
use self::values::{duration, interval, keys, socket, window};
use crate::{
    config::DEFAULT_RECORDING,
    identity::{KeyFilter, Socket},
    logging::LogFormat,
    network::NamespaceSockets,
    output::{
        Format, Scope, Sort,
        columns::{self, Choice},
        filter::{self, Filter},
        template,
    },
};

/// The shortest time between two samples.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The longest time between two samples.
pub const MAX_INTERVAL: Duration = Duration::from_secs(3600);

/// Shows what every container on this host uses: CPU, memory, network and block I/O.
#[derive(Clone, Debug, Parser)]
#[command(name = "tare", version, after_help = examples::TARE, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The command.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Live table of what containers use, like `docker stats`
    #[command(after_help = examples::STATS)]
    Stats(StatsArgs),
    /// One page for an incident: which containers have a problem, and since when
    #[command(after_help = examples::SNAPSHOT)]
    Snapshot(SnapshotArgs),
    /// Two saved snapshots side by side: what changed, the worst first
    #[command(after_help = examples::DIFF)]
    Diff(DiffArgs),
    /// Check limits of containers over a window or a command, and exit with 1 if one is exceeded
    #[command(after_help = examples::BUDGET)]
    Budget(BudgetArgs),
    /// Full-screen view of all containers, like `htop`
    #[command(after_help = examples::TOP)]
    Top(TopArgs),
    /// What works on this host, what does not, why, and how to fix it
    #[command(after_help = examples::DOCTOR)]
    Doctor(DoctorArgs),
    /// Daemon: Prometheus metrics, JSON, events and recent history
    #[command(after_help = examples::RUN)]
    Run(Box<run::RunArgs>),
    /// Record this host into a file, for `--replay` of the other commands
    #[command(after_help = examples::RECORD)]
    Record(record::RecordArgs),
    /// Exit with 0 if the daemon of this host has a fresh sample, else with 1
    #[command(after_help = examples::HEALTH)]
    Health(HealthArgs),
    /// Plugin of collectd: writes `PUTVAL` lines
    #[command(after_help = examples::COLLECTD)]
    Collectd(CollectdArgs),
    /// Print a completion script for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Write the man pages
    #[command(hide = true)]
    Manuals(ManualsArgs),
}

/// Options of `tare health`.
#[derive(Args, Clone, Debug)]
pub struct HealthArgs {
    /// Socket of the daemon
    #[arg(long, env = "TARE_DAEMON", hide_env = true)]
    #[arg(value_name = "PATH", default_value = run::DEFAULT_SOCKET)]
    #[arg(value_hint = ValueHint::FilePath)]
    pub daemon: PathBuf,
}

/// Options of `tare collectd`.
#[derive(Args, Clone, Debug)]
pub struct CollectdArgs {
    /// Time between two samples, from 100ms to 1h [default: collectd's `COLLECTD_INTERVAL`, or
    /// 10s]
    #[arg(long, env = "TARE_INTERVAL", hide_env = true)]
    #[arg(value_name = "DURATION", value_parser = interval)]
    pub interval: Option<Duration>,
    /// Which rows to write
    #[arg(long, env = "TARE_SCOPE", hide_env = true)]
    #[arg(value_enum, default_value_t)]
    pub scope: Scope,
    /// Unix socket of a running `tare run`, which is asked first: a path, `off`, or `auto`
    /// (/run/tare/tare.sock, unless other options change what is sampled)
    #[arg(long, env = "TARE_DAEMON", hide_env = true)]
    #[arg(value_name = "PATH", default_value = "auto", value_parser = socket())]
    pub daemon: Socket,
}

/// Options of `tare completions`.
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Options of `tare manuals`.
#[derive(Args, Clone, Debug)]
pub struct ManualsArgs {
    /// An existing directory to write to
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct GlobalArgs {
    /// Whether to load eBPF programs. They count network and block I/O, and report containers
    /// when they start and end
    #[arg(long, global = true, env = "TARE_BPF", hide_env = true)]
    #[arg(value_enum, default_value_t, value_name = "WHEN", help_heading = "Kernel programs")]
    pub bpf: Bpf,
    /// Where CPU, memory, tasks and pressure come from: a walk over all cgroups by a program in
    /// the kernel, where that is possible, or a file for each number
    #[arg(long, global = true, env = "TARE_SOURCES", hide_env = true)]
    #[arg(value_enum, default_value_t, value_name = "WHICH", help_heading = "Kernel programs")]
    pub sources: CgroupSource,
    /// What the bytes of a container's sockets are: payload, or IP packets [default: payload; l3
    /// on kernels that do not offer payload]
    #[arg(long, global = true, env = "TARE_NET_LEVEL", hide_env = true)]
    #[arg(value_enum, value_name = "LEVEL", help_heading = "Kernel programs")]
    pub net_level: Option<NetLevel>,
    /// Whether a program in the kernel goes over all tasks every few seconds: tasks by state, load
    /// averages, waiting for CPUs, open descriptors
    #[arg(long, global = true, env = "TARE_TASKS", hide_env = true)]
    #[arg(value_enum, default_value_t, value_name = "WHEN", help_heading = "Kernel programs")]
    pub tasks: TaskPasses,
    /// Counter slots in the kernel, for sockets and for block I/O each. A cgroup takes one slot,
    /// and one for each block device that it uses
    #[arg(long, global = true, env = "TARE_SLOTS", hide_env = true)]
    #[arg(value_name = "N", default_value_t = 4096, help_heading = "Kernel programs")]
    #[arg(value_parser = clap::value_parser!(u32).range(16..=1_048_576))]
    pub slots: u32,
    /// Directory of the cgroup file systems [default: where this host mounts them]
    #[arg(long, global = true, env = "TARE_CGROUP_ROOT", hide_env = true)]
    #[arg(value_name = "DIR", help_heading = "Host file systems")]
    pub cgroup_root: Option<PathBuf>,
    /// Where the host's /proc is mounted
    #[arg(long, global = true, env = "TARE_PROC_ROOT", hide_env = true)]
    #[arg(value_name = "DIR", default_value = "/proc", help_heading = "Host file systems")]
    pub proc_root: PathBuf,
    /// Where the host's /sys is mounted
    #[arg(long, global = true, env = "TARE_SYS_ROOT", hide_env = true)]
    #[arg(value_name = "DIR", default_value = "/sys", help_heading = "Host file systems")]
    pub sys_root: PathBuf,
    /// Docker's unix socket, for names, images and labels: a path, `auto` (`DOCKER_HOST`, then the
    /// usual places) or `off`
    #[arg(long, global = true, env = "TARE_DOCKER_SOCKET", hide_env = true)]
    #[arg(value_name = "PATH", default_value = "auto", value_parser = socket())]
    #[arg(help_heading = "Names and labels")]
    pub docker_socket: Socket,
    /// Podman's unix socket: a path, `auto` (the usual places) or `off`
    #[arg(long, global = true, env = "TARE_PODMAN_SOCKET", hide_env = true)]
    #[arg(value_name = "PATH", default_value = "auto", value_parser = socket())]
    #[arg(help_heading = "Names and labels")]
    pub podman_socket: Socket,
    /// The unix socket of containerd or CRI-O: a path, `auto` (the usual places) or `off`
    #[arg(long, global = true, env = "TARE_CRI_SOCKET", hide_env = true)]
    #[arg(value_name = "PATH", default_value = "auto", value_parser = socket())]
    #[arg(help_heading = "Names and labels")]
    pub cri_socket: Socket,
    /// Container labels to publish, by key; a `*` at the end matches any ending [default: none]
    #[arg(long, global = true, env = "TARE_LABELS", hide_env = true)]
    #[arg(value_name = "KEY[,KEY]...", default_value = "", hide_default_value = true)]
    #[arg(value_parser = keys(), help_heading = "Names and labels")]
    pub labels: KeyFilter,
    /// Environment variables of containers to publish, by name; a `*` at the end matches any
    /// ending [default: none]
    #[arg(long, global = true, env = "TARE_ENVIRONMENT", hide_env = true)]
    #[arg(value_name = "NAME[,NAME]...", default_value = "", hide_default_value = true)]
    #[arg(value_parser = keys(), help_heading = "Names and labels")]
    pub environment: KeyFilter,
    /// Time between two readings of a container's memory.stat, from 100ms to 1h; 0 reads it in
    /// every sample. Numbers that come from it are as old as the reading
    #[arg(long, global = true, env = "TARE_MEMORY_STAT_INTERVAL", hide_env = true)]
    #[arg(value_name = "DURATION", default_value = "0", value_parser = window)]
    #[arg(help_heading = "Samples and receipts")]
    pub memory_stat_interval: Duration,
    /// What to read of the sockets of network namespaces: nothing, TCP and UDP sockets by state,
    /// or also the kernel's TCP counters
    #[arg(long, global = true, env = "TARE_NAMESPACE_SOCKETS", hide_env = true)]
    #[arg(value_enum, default_value_t, value_name = "WHAT", help_heading = "Samples and receipts")]
    pub namespace_sockets: NamespaceSockets,
    /// Receipts to keep: the last totals of ended containers. The oldest is dropped first
    #[arg(long, global = true, env = "TARE_RECEIPTS", hide_env = true)]
    #[arg(value_name = "N", default_value_t = 1024, help_heading = "Samples and receipts")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    pub receipts: u32,
    /// How long to keep a receipt
    #[arg(long, global = true, env = "TARE_RECEIPT_TTL", hide_env = true)]
    #[arg(value_name = "DURATION", default_value = "1h", value_parser = duration)]
    #[arg(help_heading = "Samples and receipts")]
    pub receipt_ttl: Duration,
    /// The least severe messages to log, on standard error
    #[arg(long, global = true, env = "TARE_LOG_LEVEL", hide_env = true)]
    #[arg(value_enum, default_value_t, value_name = "LEVEL", help_heading = "Log")]
    pub log_level: LogLevel,
    /// Format of the log
    #[arg(long, global = true, env = "TARE_LOG_FORMAT", hide_env = true)]
    #[arg(value_enum, default_value_t, value_name = "FORMAT", help_heading = "Log")]
    pub log_format: LogFormat,
}

/// Options of `tare stats`.
#[derive(Args, Clone, Debug)]
pub struct StatsArgs {
    /// Rows to show, by exact name, id or beginning of an id [default: all]
    #[arg(value_name = "NAME|ID")]
    pub names: Vec<String>,
    /// Kind of rows to show [default: containers, or all if names are given]
    #[arg(long, env = "TARE_SCOPE", hide_env = true, help_heading = "Rows")]
    #[arg(value_enum)]
    pub scope: Option<Scope>,
    /// Show only rows that match, such as `label=tier=web`; may be repeated
    #[arg(long, env = "TARE_FILTER", hide_env = true, help_heading = "Rows")]
    #[arg(value_name = "KEY=VALUE", value_parser = filter::parse)]
    pub filter: Vec<Filter>,
    /// Also show containers that ended
    #[arg(long, short, env = "TARE_ALL", hide_env = true, help_heading = "Rows")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub all: bool,
    /// Show only containers that ended, with their last totals
    #[arg(long, env = "TARE_ENDED", hide_env = true, help_heading = "Rows")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub ended: bool,
    /// Order of the rows; all but `name` put the largest first
    #[arg(long, env = "TARE_SORT", hide_env = true, help_heading = "Rows")]
    #[arg(value_enum, default_value_t, value_name = "COLUMN")]
    pub sort: Sort,
    /// Print one report and exit
    #[arg(long, env = "TARE_NO_STREAM", hide_env = true, help_heading = "Output")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub no_stream: bool,
    /// Time between two reports, from 100ms to 1h
    #[arg(long, env = "TARE_INTERVAL", hide_env = true, help_heading = "Output")]
    #[arg(value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// `table`, `json`, or a Go template as for `docker stats`; `table TEMPLATE` aligns its
    /// columns
    #[arg(long, env = "TARE_FORMAT", hide_env = true, help_heading = "Output")]
    #[arg(default_value = "table", value_parser = template::format)]
    pub format: Format,
    /// Columns of the table, separated by commas. +NAME adds one to the usual columns; `help`
    /// lists all
    #[arg(long, env = "TARE_COLUMNS", hide_env = true, help_heading = "Output")]
    #[arg(value_name = "NAMES", value_delimiter = ',', value_parser = columns::parse)]
    pub columns: Vec<Choice>,
    /// Show ids in full
    #[arg(long, env = "TARE_NO_TRUNC", hide_env = true, help_heading = "Output")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub no_trunc: bool,
    /// The recording to show.
    #[command(flatten)]
    pub replay: record::ReplayArgs,
}

/// Options of `tare snapshot`.
#[derive(Args, Clone, Debug)]
pub struct SnapshotArgs {
    /// Containers to show, by exact name, id or beginning of an id [default: all]
    #[arg(value_name = "NAME|ID")]
    pub names: Vec<String>,
    /// Time between the two samples that rates come from, from 100ms to 1h; 0 takes one sample
    /// and answers at once, without rates
    #[arg(long, env = "TARE_WINDOW", hide_env = true)]
    #[arg(value_name = "DURATION", default_value = "1s", value_parser = window)]
    pub window: Duration,
    /// Unix socket of a running `tare run`, which answers from its history: a path, `off`, or
    /// `auto` (/run/tare/tare.sock, unless other options change what is sampled)
    #[arg(long, env = "TARE_DAEMON", hide_env = true)]
    #[arg(value_name = "PATH", default_value = "auto", value_parser = socket())]
    pub daemon: Socket,
    /// Format of the output
    #[arg(long, env = "TARE_FORMAT", hide_env = true)]
    #[arg(value_enum, default_value_t)]
    pub format: PlainFormat,
    /// Also save everything as JSON; a name that ends in .zst is compressed
    #[arg(long, short, env = "TARE_OUTPUT", hide_env = true, conflicts_with = "read")]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Show a saved snapshot instead of this host; `-` is standard input
    #[arg(long, env = "TARE_READ", hide_env = true)]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub read: Option<PathBuf>,
    /// The recording to show.
    #[command(flatten)]
    pub replay: record::ReplayArgs,
    /// The stretch of it.
    #[command(flatten)]
    pub stretch: record::StretchArgs,
}

/// Options of `tare doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// Format of the output
    #[arg(long, env = "TARE_FORMAT", hide_env = true)]
    #[arg(value_enum, default_value_t)]
    pub format: PlainFormat,
    /// Exit with 1 if a family of numbers is off
    #[arg(long, env = "TARE_STRICT", hide_env = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub strict: bool,
    /// The directory of `tare run --record` to look at
    #[arg(long, value_name = "DIR", env = "TARE_RECORD", hide_env = true)]
    #[arg(default_value = DEFAULT_RECORDING)]
    pub record: PathBuf,
}

/// Format of a page that is also one JSON object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PlainFormat {
    /// Sections of at most 100 columns.
    #[default]
    Table,
    /// One JSON object.
    Json,
}

/// Options of `tare top`.
#[derive(Args, Clone, Debug)]
pub struct TopArgs {
    /// Time between two samples, from 100ms to 1h; the keys + and - change it
    #[arg(long, env = "TARE_INTERVAL", hide_env = true)]
    #[arg(value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// Order of the rows; all but `name` put the largest first
    #[arg(long, env = "TARE_SORT", hide_env = true)]
    #[arg(value_enum, default_value = "cpu", value_name = "COLUMN")]
    pub sort: Sort,
    /// Kind of rows to start with; the key s changes it
    #[arg(long, env = "TARE_SCOPE", hide_env = true)]
    #[arg(value_enum, default_value_t)]
    pub scope: Scope,
    /// Show only rows with this text in a name, id, image or cgroup path
    #[arg(long, env = "TARE_FILTER", hide_env = true)]
    #[arg(value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub filter: String,
    /// The recording to go back into with the Left key, `[`, `{`, `p` and `@`
    #[arg(long, env = "TARE_RECORD", hide_env = true)]
    #[arg(value_name = "DIR|FILE", default_value = DEFAULT_RECORDING)]
    pub record: PathBuf,
    /// The recording to show.
    #[command(flatten)]
    pub replay: record::ReplayArgs,
}

/// Whether to load eBPF programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Bpf {
    /// If the kernel and the privileges of the process allow it.
    #[default]
    Auto,
    /// Never; read files only.
    Off,
    /// Always; fail if that is not possible.
    Require,
}

/// What the numbers of cgroups come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CgroupSource {
    /// The walk for all that it has; files for the rest, or for everything if it is not possible.
    #[default]
    Auto,
    /// Files only.
    Files,
    /// The walk, also on kernels where `auto` reads files; fail if it is not possible.
    Walk,
    /// The same, or files if it is not possible: for `tare doctor`, which then says why.
    #[value(skip)]
    WalkOrFiles,
}

/// Whether all tasks of the host are gone over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TaskPasses {
    /// If the kernel and the privileges of the process allow it.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// What the bytes of a container's sockets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NetLevel {
    /// What programs write to and read from their sockets.
    Payload,
    /// IP packets with their headers.
    L3,
}

/// The least severe messages to log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum LogLevel {
    Error,
    #[default]
    Warn,
    Info,
    Debug,
    Trace,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn fault(args: &[&str]) -> (ErrorKind, i32) {
        let error = Cli::try_parse_from([&["tare"], args].concat()).unwrap_err();
        (error.kind(), error.exit_code())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_is_also_an_environment_variable() {
        let command = Cli::command();
        let commands = command.get_subcommands().flat_map(clap::Command::get_arguments);
        for option in command.get_arguments().chain(commands) {
            if let (Some(long), false) = (option.get_long(), option.is_positional()) {
                let variable = format!("TARE_{}", long.to_uppercase().replace('-', "_"));
                assert_eq!(option.get_env().and_then(|name| name.to_str()), Some(&*variable));
            }
        }
    }

    #[test]
    fn wrong_usage_is_exit_code_2() {
        assert_eq!(fault(&[]), (ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, 2));
        assert_eq!(fault(&["--bpf", "off"]).1, 2);
        assert_eq!(fault(&["stats", "--interval", "1"]), (ErrorKind::ValueValidation, 2));
        assert_eq!(fault(&["stats", "--interval", "99ms"]), (ErrorKind::ValueValidation, 2));
        assert_eq!(fault(&["stats", "--slots", "15"]), (ErrorKind::ValueValidation, 2));
        assert_eq!(fault(&["stats", "--sort", "size"]), (ErrorKind::InvalidValue, 2));
        assert_eq!(fault(&["--help"]), (ErrorKind::DisplayHelp, 0));
    }

    #[test]
    fn a_mistake_is_reported_with_a_remedy() {
        let said = |args: &[&str]| {
            Cli::try_parse_from([&["tare", "stats"], args].concat()).unwrap_err().to_string()
        };
        for (args, remedy) in [
            (["--format", "{{.Nam}}"], "at character 3: there is no placeholder `.Nam`; did you"),
            (["--columns", "cpu,swp"], "there is no column `swp`; did you mean swap?"),
            (["--filter", "imag=x"], "no filter looks at `imag`; did you mean image?"),
        ] {
            assert!(said(&args).contains(remedy), "{}", said(&args));
        }
    }

    #[test]
    fn global_options_may_stand_anywhere() {
        let cli = Cli::try_parse_from(["tare", "--bpf", "off", "stats", "--slots", "16", "web"]);
        let cli = cli.unwrap();
        assert_eq!((cli.global.bpf, cli.global.slots), (Bpf::Off, 16));
        let Command::Stats(stats) = cli.command else { panic!("{:?}", cli.command) };
        assert_eq!(stats.names, ["web"]);
    }
}
