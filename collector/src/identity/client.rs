//! What a container runtime's API offers, whichever it is.

use std::{error::Error, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    filter::MetadataFilter,
    metadata::{ExitStatus, Health, Metadata, WritableLayer},
};

/// Time limit of one call.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to the API of a container runtime. Errors are one line that names the socket.
pub(super) trait RuntimeClient: Sized + Send + 'static {
    /// The runtime's name in log lines and errors.
    const NAME: &'static str;

    /// Connects, and lists the containers that exist.
    fn connect(
        socket: &Path,
        filter: &Arc<MetadataFilter>,
    ) -> impl Future<Output = Result<(Self, Vec<(String, Metadata)>), NotConnected>> + Send;

    /// Everything about a container; `None` if the runtime does not know it.
    ///
    /// # Errors
    ///
    /// If the runtime does not answer.
    fn inspect(
        &mut self,
        id: &str,
    ) -> impl Future<Output = Result<Option<Inspection>, String>> + Send;

    /// What each container has written to its root, as the runtime has counted it already; `None`
    /// if this one does not tell, or would count only when asked.
    ///
    /// # Errors
    ///
    /// If the runtime does not answer.
    fn writable_layers(
        _socket: &Path,
    ) -> impl Future<Output = Result<Option<Vec<(String, WritableLayer)>>, String>> + Send {
        std::future::ready(Ok(None))
    }

    /// Waits for the next event; for ever if the API has no events. Cancel-safe.
    ///
    /// # Errors
    ///
    /// If the stream of events ends.
    fn next_event(&mut self) -> impl Future<Output = Result<RuntimeEvent, String>> + Send;
}

/// Why there is no connection to a socket.
#[derive(Debug)]
pub(super) enum NotConnected {
    /// Tare itself serves it: its answers are made of what Tare knows already.
    ServedByTare,
    /// The runtime does not answer; the error names the socket.
    Failed(String),
}

impl From<String> for NotConnected {
    fn from(error: String) -> Self {
        Self::Failed(error)
    }
}

/// The result of looking at one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inspection {
    pub(super) metadata: Metadata,
    /// Whether there is nothing more to learn: false for state files, and before the first start.
    pub(super) complete: bool,
    /// How the last run ended; `None` while the container runs.
    pub(super) exit_status: Option<ExitStatus>,
}

/// A change that a runtime reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RuntimeEvent {
    pub(super) id: String,
    /// Metadata in the event itself.
    pub(super) metadata: Option<Metadata>,
    pub(super) health: Option<Health>,
    pub(super) exited: Option<Exit>,
    /// The kernel killed a process of the container for lack of memory.
    pub(super) oom: bool,
    /// The container should be inspected.
    pub(super) inspect: bool,
    /// The container was removed.
    pub(super) removed: bool,
    /// Limits or the freezer state changed, so cgroup settings should be read again.
    pub(super) settings_changed: bool,
}

/// The end of a run, as an event reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) at: Timestamp,
    pub(super) code: Option<i64>,
}

/// Formats the socket and the root cause of an error in one line.
pub(super) fn describe(socket: &Path, error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let line = format!("{}: {cause}", socket.display());
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
