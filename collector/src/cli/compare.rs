//! Options of the commands that compare: with another snapshot, and with limits.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, ValueHint};

use super::{
    PlainFormat,
    record::{ReplayArgs, StretchArgs},
    values::{interval, percent},
};

/// Options of `tare diff`.
#[derive(Args, Clone, Debug)]
pub struct DiffArgs {
    /// The earlier snapshot, saved by `tare snapshot --output` (`-` is standard input), or a
    /// recording: DIR|FILE for its end, DIR|FILE@TIME for an instant, such as `load.tare@-10m`
    #[arg(value_name = "BEFORE", value_hint = ValueHint::FilePath)]
    pub before: PathBuf,
    /// The later one
    #[arg(value_name = "AFTER", value_hint = ValueHint::FilePath)]
    pub after: PathBuf,
    /// Containers to compare, by exact name, id or beginning of an id [default: all]
    #[arg(value_name = "NAME|ID")]
    pub names: Vec<String>,
    /// The time before an instant of a recording that rates are of, from 100ms to 1h
    #[arg(long, env = "TARE_WINDOW", hide_env = true)]
    #[arg(value_name = "DURATION", default_value = "10s", value_parser = interval)]
    pub window: Duration,
    /// Leave out changes by less than this share
    #[arg(long, env = "TARE_PERCENT", hide_env = true)]
    #[arg(value_name = "PERCENT", default_value_t = 10.0, value_parser = percent)]
    pub percent: f64,
    /// Format of the output
    #[arg(long, env = "TARE_FORMAT", hide_env = true)]
    #[arg(value_enum, default_value_t)]
    pub format: PlainFormat,
}

/// Options of `tare budget`.
#[derive(Args, Clone, Debug)]
pub struct BudgetArgs {
    /// File with limits, in TOML; `help` lists the measures that can be limited
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Time to watch, from 100ms to 1h
    #[arg(long, env = "TARE_WINDOW", hide_env = true)]
    #[arg(value_name = "DURATION", default_value = "10s", value_parser = interval)]
    pub window: Duration,
    /// Check a saved snapshot instead of this host; `-` is standard input
    #[arg(long, env = "TARE_READ", hide_env = true, conflicts_with_all = ["command", "replay"])]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub read: Option<PathBuf>,
    /// The recording to check instead of this host, from its beginning to its end.
    #[command(flatten)]
    pub replay: ReplayArgs,
    /// Another beginning or end.
    #[command(flatten)]
    pub stretch: StretchArgs,
    /// Format of the result
    #[arg(long, env = "TARE_FORMAT", hide_env = true)]
    #[arg(value_enum, default_value_t)]
    pub format: BudgetFormat,
    /// Watch while this command runs, instead of for a window; if it fails, so does `tare`
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Format of the result of `tare budget`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BudgetFormat {
    /// Columns, for people.
    #[default]
    Table,
    /// One JSON object.
    Json,
    /// `JUnit` XML, for CI systems.
    Junit,
}
