//! Options of `tare record`, and of `--replay` of other commands.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use crate::{cli, output::Scope, record::When};

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

/// Where a daemon records, as the packages install it.
const DEFAULT_RECORDING: &str = "/var/lib/tare/record";

impl Replay {
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
