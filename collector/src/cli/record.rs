//! Options of `tare record`, and those of reading a recording.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use crate::{
    cli::values::{duration, interval},
    output::Scope,
    record::When,
};

/// Options of `tare record`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct RecordArgs {
    /// What else to do with a recording.
    #[command(subcommand)]
    pub action: Option<RecordAction>,
    /// File for the recording; it must not exist
    #[arg(long, short, env = "TARE_OUTPUT", hide_env = true, required = true)]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// How long to record [default: until the command or Ctrl-C ends it]
    #[arg(long, env = "TARE_DURATION", hide_env = true)]
    #[arg(value_name = "DURATION", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Time between two samples, from 100ms to 1h
    #[arg(long, env = "TARE_INTERVAL", hide_env = true)]
    #[arg(value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// What to record
    #[arg(long, env = "TARE_SCOPE", hide_env = true)]
    #[arg(value_enum, default_value_t)]
    pub scope: Scope,
    /// Command to run meanwhile; its exit code becomes that of `tare record`
    #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// What else to do with a recording.
#[derive(Clone, Debug, Subcommand)]
pub enum RecordAction {
    /// Write a recording in the format of another program
    Export(ExportArgs),
}

/// Options of `tare record export`.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// A directory of `tare run --record`, or a file of `tare record`
    #[arg(value_name = "DIR|FILE", value_hint = ValueHint::AnyPath)]
    pub recording: PathBuf,
    /// The format
    #[arg(long, env = "TARE_FORMAT", hide_env = true)]
    #[arg(value_enum)]
    pub format: ExportFormat,
    /// Only what was recorded at this time or later: a time of day such as `03:12`, a date and
    /// time such as `2026-11-30T03:12:00Z`, or `-10m` before the end
    #[arg(long, env = "TARE_FROM", hide_env = true, allow_hyphen_values = true)]
    #[arg(value_name = "TIME")]
    pub from: Option<When>,
    /// Only what was recorded until this time
    #[arg(long, env = "TARE_TO", hide_env = true, allow_hyphen_values = true)]
    #[arg(value_name = "TIME")]
    pub to: Option<When>,
    /// File to write, which must not exist [default: standard output]
    #[arg(long, short, env = "TARE_OUTPUT", hide_env = true)]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// A format of `tare record export`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A line for each point, for `DuckDB`, pandas and spreadsheets.
    Csv,
    /// Text with times, for `promtool tsdb create-blocks-from openmetrics`.
    Openmetrics,
    /// Counter tracks for Perfetto, beside other traces.
    Perfetto,
}

/// Which instant of a recording to show.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Recordings")]
pub struct ReplayArgs {
    /// Show a recording instead of this host: a directory of `tare run --record`, or a file of
    /// `tare record` [default with --at: /var/lib/tare/record]
    #[arg(long, env = "TARE_REPLAY", hide_env = true)]
    #[arg(value_name = "DIR|FILE", value_hint = ValueHint::AnyPath)]
    pub replay: Option<PathBuf>,
    /// The time to show: a time of day such as `03:12`, a date and time such as
    /// `2026-11-30T03:12:00Z`, or `-10m` before the end [default: the last instant]
    #[arg(long, env = "TARE_AT", hide_env = true, allow_hyphen_values = true)]
    #[arg(value_name = "TIME")]
    pub at: Option<When>,
}

/// A stretch of a recording to show.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Recordings")]
pub struct StretchArgs {
    /// Rates and changes since this time, until --to or --at
    #[arg(long, env = "TARE_FROM", hide_env = true, allow_hyphen_values = true)]
    #[arg(value_name = "TIME")]
    pub from: Option<When>,
    /// The same as --at
    #[arg(long, env = "TARE_TO", hide_env = true, allow_hyphen_values = true)]
    #[arg(value_name = "TIME", conflicts_with = "at")]
    pub to: Option<When>,
}
