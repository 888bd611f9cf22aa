//! The command line: the one place that says which options exist, and what each may be.

pub mod run;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

use self::values::{duration, interval, keys, socket, window};
use crate::identity::{KeyFilter, Socket};
use crate::logging::LogFormat;
use crate::output::columns::{self, Choice};
use crate::output::filter::{self, Filter};
use crate::output::{Format, Scope, Sort, template};

/// The shortest time between two samples.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The longest time between two samples.
pub const MAX_INTERVAL: Duration = Duration::from_secs(3600);

const EXAMPLES: &str = "\
Examples:
  tare top                            all containers on a whole terminal, with keys and mouse
  tare stats                          live table of all containers
  tare stats --no-stream --sort cpu   one table, the busiest first
  tare stats --help                   all that `stats` can do
  tare snapshot                       who is in trouble, on one page
  tare doctor                         what works on this host, and what would help
  tare run                            serve http://127.0.0.1:9753/metrics

Exit codes: 0 done, 1 failed, 2 wrong usage.";

const STATS_EXAMPLES: &str = "\
Examples:
  tare stats web db                       two containers, by name or id
  tare stats --filter 'image=*nginx*'     those of an image
  tare stats --columns +throttled,+swap   two more columns
  tare stats --columns help               all columns and placeholders
  tare stats --no-stream --format 'table {{.Name}}\\t{{.CPUPerc}}'
                                          a table of one's own, as for `docker stats`
  tare stats --ended                      what ended, with its last totals
  tare stats --format json | jq .         one JSON object per second

Templates have placeholders ({{.Name}}), Docker's functions (join, json, lower, pad, split, title,
truncate, upper), pipelines ({{.Name | upper}}), \\t and \\n. {{json .}} is what Docker's is.

Filters look at id (its beginning), label and env (KEY or KEY=VALUE), state (running, frozen, ended), or
with the wildcards * and ? at name, image, runtime, pod and namespace. Of several filters with the
same key one must fit, but all labels and variables must.";

const SNAPSHOT_EXAMPLES: &str = "\
Examples:
  tare snapshot                           who is in trouble: two samples, one second apart
  tare snapshot --window 10s web db       two containers, by name or id, over ten seconds
  tare snapshot --window 0                at once: totals so far, no rates
  tare snapshot --output now.json.zst     the page, and everything known in a file
  tare snapshot --read now.json.zst       the page of that file
  zstdcat now.json.zst | tare snapshot --read - --format json | jq .

A section is shown only if somebody stands out. Nothing stays in the kernel afterwards.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  tare completions bash > /usr/share/bash-completion/completions/tare
  tare completions zsh > \"${fpath[1]}/_tare\"
  tare completions fish > ~/.config/fish/completions/tare.fish";

const TOP_EXAMPLES: &str = "\
Examples:
  tare top                      all containers, the busiest first
  tare top --sort memory        those with the most memory first
  tare top --filter web         those that have `web` in a name, an id or an image
  tare top --scope services     services of systemd
  NO_COLOR=1 tare top           without colours

Keys: ? shows them all; / filters, Enter looks into a container, F5 groups, q quits.";

/// Tells what every container on this host uses: CPU, memory, network and block I/O.
#[derive(Clone, Debug, Parser)]
#[command(name = "tare", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Live table of what containers use, like `docker stats`
    #[command(after_help = STATS_EXAMPLES)]
    Stats(StatsArgs),
    /// Who is in trouble, how, and since when: one page, for an incident
    #[command(after_help = SNAPSHOT_EXAMPLES)]
    Snapshot(SnapshotArgs),
    /// All containers on a whole terminal, like `htop`: sort, filter, look into one
    #[command(after_help = TOP_EXAMPLES)]
    Top(TopArgs),
    /// What this host offers, what Tare uses of it, why the rest is off and what helps
    Doctor(DoctorArgs),
    /// Sample all the time and serve it: metrics for Prometheus, JSON, events, recent history
    Run(Box<run::RunArgs>),
    /// Print a script that completes the command line
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Write the man pages
    #[command(hide = true)]
    Manuals(ManualsArgs),
}

/// Options of `tare completions`.
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell that is to complete
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Options of `tare manuals`.
#[derive(Args, Clone, Debug)]
pub struct ManualsArgs {
    /// Where they go; the directory must be there
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Whether to use eBPF programs for network and block I/O
    #[arg(long, global = true, env = "TARE_BPF", hide_env_values = true)]
    #[arg(value_enum, default_value_t, value_name = "WHEN")]
    pub bpf: Bpf,
    /// What the bytes of a container's sockets are: what its programs pass to them, or IP packets
    /// with their headers [default: payload, or l3 where the kernel cannot tell]
    #[arg(long, global = true, env = "TARE_NET_LEVEL", hide_env_values = true)]
    #[arg(value_enum, value_name = "LEVEL")]
    pub net_level: Option<NetLevel>,
    /// Root of the cgroup file systems, instead of where this host has them mounted
    #[arg(long, global = true, env = "TARE_CGROUP_ROOT", hide_env_values = true)]
    #[arg(value_name = "DIR")]
    pub cgroup_root: Option<PathBuf>,
    /// Where the host's /proc is mounted
    #[arg(long, global = true, env = "TARE_PROC_ROOT", hide_env_values = true)]
    #[arg(value_name = "DIR", default_value = "/proc")]
    pub proc_root: PathBuf,
    /// Where the host's /sys is mounted
    #[arg(long, global = true, env = "TARE_SYS_ROOT", hide_env_values = true)]
    #[arg(value_name = "DIR", default_value = "/sys")]
    pub sys_root: PathBuf,
    /// Docker's unix socket, asked for names only: a path, `auto` (DOCKER_HOST or the usual
    /// places) or `off`
    #[arg(long, global = true, env = "TARE_DOCKER_SOCKET", hide_env_values = true)]
    #[arg(value_name = "PATH", default_value = "auto", value_parser = socket())]
    pub docker_socket: Socket,
    /// Podman's unix socket, likewise
    #[arg(long, global = true, env = "TARE_PODMAN_SOCKET", hide_env_values = true)]
    #[arg(value_name = "PATH", default_value = "auto", value_parser = socket())]
    pub podman_socket: Socket,
    /// The unix socket of containerd or CRI-O, likewise
    #[arg(long, global = true, env = "TARE_CRI_SOCKET", hide_env_values = true)]
    #[arg(value_name = "PATH", default_value = "auto", value_parser = socket())]
    pub cri_socket: Socket,
    /// Labels to publish, by key; a `*` at the end stands for any ending
    #[arg(long, global = true, env = "TARE_LABELS", hide_env_values = true)]
    #[arg(value_name = "KEY[,KEY]...", default_value = "", hide_default_value = true)]
    #[arg(value_parser = keys())]
    pub labels: KeyFilter,
    /// Environment variables of containers to publish, by name; a `*` at the end stands for any
    /// ending
    #[arg(long, global = true, env = "TARE_ENVIRONMENT", hide_env_values = true)]
    #[arg(value_name = "NAME[,NAME]...", default_value = "", hide_default_value = true)]
    #[arg(value_parser = keys())]
    pub environment: KeyFilter,
    /// Time between two readings of a container's memory.stat, from 100ms to 1h; 0 reads it for
    /// each sample. What is derived from it is of that time
    #[arg(long, global = true, env = "TARE_MEMORY_STAT_INTERVAL", hide_env_values = true)]
    #[arg(value_name = "DURATION", default_value = "0", value_parser = window)]
    pub memory_stat_interval: Duration,
    /// Counter slots in the kernel for each of network and block I/O: one for each cgroup (and
    /// device)
    #[arg(long, global = true, env = "TARE_SLOTS", hide_env_values = true)]
    #[arg(value_name = "N", default_value_t = 4096)]
    #[arg(value_parser = clap::value_parser!(u32).range(16..=1_048_576))]
    pub slots: u32,
    /// Receipts of ended containers to keep at most
    #[arg(long, global = true, env = "TARE_RECEIPTS", hide_env_values = true)]
    #[arg(value_name = "N", default_value_t = 1024)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    pub receipts: u32,
    /// How long to keep them
    #[arg(long, global = true, env = "TARE_RECEIPT_TTL", hide_env_values = true)]
    #[arg(value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub receipt_ttl: Duration,
    /// How much to log, to standard error
    #[arg(long, global = true, env = "TARE_LOG_LEVEL", hide_env_values = true)]
    #[arg(value_enum, default_value_t, value_name = "LEVEL")]
    pub log_level: LogLevel,
    /// How a line of the log looks
    #[arg(long, global = true, env = "TARE_LOG_FORMAT", hide_env_values = true)]
    #[arg(value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// Options of `tare stats`.
#[derive(Args, Clone, Debug)]
pub struct StatsArgs {
    /// Only these: exact names, ids, or the beginning of an id
    #[arg(value_name = "NAME|ID")]
    pub names: Vec<String>,
    /// Print one report and exit
    #[arg(long, env = "TARE_NO_STREAM", hide_env_values = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub no_stream: bool,
    /// Time between two reports, from 100ms to 1h
    #[arg(long, env = "TARE_INTERVAL", hide_env_values = true)]
    #[arg(value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// What orders the rows; all but `name` put the biggest first
    #[arg(long, env = "TARE_SORT", hide_env_values = true)]
    #[arg(value_enum, default_value_t, value_name = "COLUMN")]
    pub sort: Sort,
    /// How to write reports: `table`, `json`, or a template in Go's notation, for a table with
    /// `table` before it
    #[arg(long, env = "TARE_FORMAT", hide_env_values = true)]
    #[arg(default_value = "table", value_parser = template::format)]
    pub format: Format,
    /// Columns of the table, parted by commas; +NAME adds one to the usual ones, `help` lists all
    #[arg(long, env = "TARE_COLUMNS", hide_env_values = true)]
    #[arg(value_name = "NAMES", value_delimiter = ',', value_parser = columns::parse)]
    pub columns: Vec<Choice>,
    /// Only rows of which this is true, such as label=tier=web; may be given several times
    #[arg(long, env = "TARE_FILTER", hide_env_values = true)]
    #[arg(value_name = "KEY=VALUE", value_parser = filter::parse)]
    pub filter: Vec<Filter>,
    /// Show ids in full
    #[arg(long, env = "TARE_NO_TRUNC", hide_env_values = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub no_trunc: bool,
    /// Show containers that ended besides those alive
    #[arg(long, short, env = "TARE_ALL", hide_env_values = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub all: bool,
    /// Show containers that ended, with their last totals, instead of what is alive
    #[arg(long, env = "TARE_ENDED", hide_env_values = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub ended: bool,
    /// Which rows to show [default: containers, or all if names are given]
    #[arg(long, env = "TARE_SCOPE", hide_env_values = true)]
    #[arg(value_enum)]
    pub scope: Option<Scope>,
}

/// Options of `tare snapshot`.
#[derive(Args, Clone, Debug)]
pub struct SnapshotArgs {
    /// Only these: exact names, ids, or the beginning of an id
    #[arg(value_name = "NAME|ID")]
    pub names: Vec<String>,
    /// Time between the two samples, from 100ms to 1h; 0 takes one sample and answers at once
    #[arg(long, env = "TARE_WINDOW", hide_env_values = true)]
    #[arg(value_name = "DURATION", default_value = "1s", value_parser = window)]
    pub window: Duration,
    /// Unix socket of a running `tare run`, whose history answers at once: a path, `auto` (that of
    /// this host, unless options say what else to look at) or `off`
    #[arg(long, env = "TARE_DAEMON", hide_env_values = true)]
    #[arg(value_name = "PATH", default_value = "auto", value_parser = socket())]
    pub daemon: Socket,
    /// How to print it
    #[arg(long, env = "TARE_FORMAT", hide_env_values = true)]
    #[arg(value_enum, default_value_t)]
    pub format: PlainFormat,
    /// Save it as JSON as well, compressed if the name ends in .zst
    #[arg(long, short, env = "TARE_OUTPUT", hide_env_values = true, conflicts_with = "read")]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Show a saved one instead of this host; `-` is standard input
    #[arg(long, env = "TARE_READ", hide_env_values = true)]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub read: Option<PathBuf>,
}

/// Options of `tare doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// How to write the findings
    #[arg(long, env = "TARE_FORMAT", hide_env_values = true)]
    #[arg(value_enum, default_value_t)]
    pub format: PlainFormat,
    /// Fail if a family of numbers is off
    #[arg(long, env = "TARE_STRICT", hide_env_values = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub strict: bool,
}

/// The format of what has one page and one object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PlainFormat {
    /// Sections of at most 100 columns, for people.
    #[default]
    Table,
    /// One object, for programs.
    Json,
}

/// Options of `tare top`.
#[derive(Args, Clone, Debug)]
pub struct TopArgs {
    /// Time between two samples, from 100ms to 1h; + and - change it
    #[arg(long, env = "TARE_INTERVAL", hide_env_values = true)]
    #[arg(value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// What orders the rows; all but `name` put the biggest first
    #[arg(long, env = "TARE_SORT", hide_env_values = true)]
    #[arg(value_enum, default_value = "cpu", value_name = "COLUMN")]
    pub sort: Sort,
    /// Which rows to show first; s changes it
    #[arg(long, env = "TARE_SCOPE", hide_env_values = true)]
    #[arg(value_enum, default_value_t)]
    pub scope: Scope,
    /// Only rows that have this in a name, an id, an image or a cgroup's path
    #[arg(long, env = "TARE_FILTER", hide_env_values = true)]
    #[arg(value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub filter: String,
}

/// Whether to use eBPF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Bpf {
    /// Where the kernel and our rights allow it.
    #[default]
    Auto,
    /// Never: files only.
    Off,
    /// Fail rather than go without.
    Require,
}

/// What the bytes of a container's sockets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NetLevel {
    /// What programs pass to and get from their sockets.
    Payload,
    /// IP packets with their headers.
    L3,
}

/// How much to log.
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
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn fault(args: &[&str]) -> (ErrorKind, i32) {
        let error = Cli::try_parse_from([&["tare"], args].concat()).unwrap_err();
        (error.kind(), error.exit_code())
    }

    #[test]
    fn consistent() {
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
    fn mistakes_are_told_with_a_remedy() {
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
    fn global_options_stand_anywhere() {
        let cli = Cli::try_parse_from(["tare", "--bpf", "off", "stats", "--slots", "16", "web"]);
        let cli = cli.unwrap();
        assert_eq!((cli.global.bpf, cli.global.slots), (Bpf::Off, 16));
        let Command::Stats(stats) = cli.command else { panic!("{:?}", cli.command) };
        assert_eq!(stats.names, ["web"]);
    }
}
