//! Options of `tare record`, and of `--replay` of other commands.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use jiff::Timestamp;

use crate::{cli, output::Scope, record::When};

pub use crate::cli::record::ExportFormat;

/// What to show of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// The directory or the file.
    pub path: PathBuf,
    /// The instant; `None` is the last one.
    pub at: Option<When>,
    /// The beginning of a stretch that ends at the instant.
    pub from: Option<When>,
}

/// Options of `tare record`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordCommand {
    /// The file.
    pub output: PathBuf,
    /// How long, unless a command or a signal ends it.
    pub duration: Option<Duration>,
    /// Time between two samples.
    pub interval: Duration,
    /// What is recorded.
    pub scope: Scope,
    /// The command to run meanwhile; empty for none.
    pub command: Vec<OsString>,
}

/// Options of `tare record export`.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordExport {
    /// The directory or the file.
    pub recording: PathBuf,
    /// The format.
    pub format: ExportFormat,
    /// The first time that is wanted; `None` is the beginning.
    pub from: Option<When>,
    /// The last one; `None` is the end.
    pub to: Option<When>,
    /// The file to write; `None` is standard output.
    pub output: Option<PathBuf>,
}

/// Where a daemon records, as the packages install it.
pub const DEFAULT_RECORDING: &str = "/var/lib/tare/record";

impl Replay {
    /// From the beginning, unless another time is asked for.
    pub(super) fn whole(self) -> Self {
        let beginning = || When::At(Timestamp::UNIX_EPOCH);
        Self { from: Some(self.from.unwrap_or_else(beginning)), ..self }
    }

    /// What the options ask for; `None` for this host.
    pub(super) fn of(
        args: cli::record::ReplayArgs,
        stretch: Option<cli::record::StretchArgs>,
    ) -> Option<Self> {
        let cli::record::ReplayArgs { replay, at } = args;
        let (from, to) = stretch.map_or((None, None), |stretch| (stretch.from, stretch.to));
        let at = at.or(to);
        let is_asked = replay.is_some() || at.is_some() || from.is_some();
        let path = || replay.unwrap_or_else(|| DEFAULT_RECORDING.into());
        is_asked.then(|| Self { path: path(), at, from })
    }
}

impl From<cli::record::RecordArgs> for super::Command {
    fn from(args: cli::record::RecordArgs) -> Self {
        let cli::record::RecordArgs { action, output, duration, interval, scope, command } = args;
        match action {
            Some(cli::record::RecordAction::Export(args)) => {
                let cli::record::ExportArgs { recording, format, from, to, output } = args;
                Self::RecordExport(RecordExport { recording, format, from, to, output })
            }
            // clap has seen to it that there is a name.
            None => {
                let output = output.unwrap_or_default();
                Self::Record(RecordCommand { output, duration, interval, scope, command })
            }
        }
    }
}
