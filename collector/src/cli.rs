//! The command line: the one place that says which options exist, and what each may be.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{BoolishValueParser, StringValueParser, TypedValueParser, ValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::identity::docker::DockerSocket;
use crate::output::{Format, Scope, Sort};

/// The shortest time between two samples.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The longest time between two samples.
pub const MAX_INTERVAL: Duration = Duration::from_secs(3600);

const EXAMPLES: &str = "\
Examples:
  tare top                            all containers on a whole terminal, with keys and mouse
  tare stats                          live table of all containers
  tare stats --no-stream --sort cpu   one table, the busiest first
  tare stats web db                   two containers, by name or id
  tare stats --format json | jq .     one JSON object per second

Exit codes: 0 done, 1 failed, 2 wrong usage.";

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
    Stats(StatsArgs),
    /// All containers on a whole terminal, like `htop`: sort, filter, look into one
    #[command(after_help = TOP_EXAMPLES)]
    Top(TopArgs),
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
    #[arg(value_name = "PATH", default_value = "auto", value_parser = docker_socket())]
    pub docker_socket: DockerSocket,
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
    /// How to write reports
    #[arg(long, env = "TARE_FORMAT", hide_env_values = true)]
    #[arg(value_enum, default_value_t)]
    pub format: Format,
    /// Show ids in full
    #[arg(long, env = "TARE_NO_TRUNC", hide_env_values = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub no_trunc: bool,
    /// Show containers that ended, with their last totals, instead of what is alive
    #[arg(long, env = "TARE_ENDED", hide_env_values = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub ended: bool,
    /// Which rows to show [default: containers, or all if names are given]
    #[arg(long, env = "TARE_SCOPE", hide_env_values = true)]
    #[arg(value_enum)]
    pub scope: Option<Scope>,
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

fn docker_socket() -> ValueParser {
    let parse = |text: String| match text.as_str() {
        "" => Err("give a path, `auto` or `off`"),
        "auto" => Ok(DockerSocket::Auto),
        "off" => Ok(DockerSocket::Off),
        path => Ok(DockerSocket::Path(path.strip_prefix("unix://").unwrap_or(path).into())),
    };
    ValueParser::new(StringValueParser::new().try_map(parse))
}

fn interval(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if (MIN_INTERVAL..=MAX_INTERVAL).contains(&duration) {
        Ok(duration)
    } else {
        Err("must be from 100ms to 1h".to_owned())
    }
}

/// A number and its unit, such as `500ms`, `1.5s`, `2m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" if !number.is_empty() => return Err(format!("needs a unit, such as `{number}s`")),
        _ => return Err("must be a number with ms, s, m or h, such as `500ms`".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{number}` is no number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
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
    fn durations() {
        for (text, millis) in [("500ms", 500), ("1s", 1_000), ("1.5s", 1_500), ("2m", 120_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
        }
        for text in ["", "s", "1", "1d", "-1s", "1..5s", "1e3s", "99999999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(interval("1h").is_ok() && interval("1.001h").is_err());
    }

    #[test]
    fn global_options_stand_anywhere() {
        let cli = Cli::try_parse_from(["tare", "--bpf", "off", "stats", "--slots", "16", "web"]);
        let cli = cli.unwrap();
        assert_eq!((cli.global.bpf, cli.global.slots), (Bpf::Off, 16));
        let Command::Stats(stats) = cli.command else { panic!("another command") };
        assert_eq!(stats.names, ["web"]);
    }
}
