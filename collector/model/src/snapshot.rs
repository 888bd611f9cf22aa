//! What `tare snapshot` shows and saves.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Change, Report, changes};

/// The version of saved snapshots. Keys are added without a new one.
pub const SNAPSHOT_VERSION: u64 = 1;

/// Everything known about a host at one instant, and what containers did just before.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Snapshot {
    /// [`SNAPSHOT_VERSION`].
    pub version: u64,
    /// Since when the daemon that took it had been watching; `None` if no daemon took it.
    #[serde(default)]
    pub watched_since: Option<Timestamp>,
    /// What is known.
    #[serde(flatten)]
    pub report: Report,
    /// What containers did over the report's interval, by their cgroups' paths. Empty without an
    /// interval.
    #[serde(default)]
    pub changes: BTreeMap<String, Change>,
}

impl Snapshot {
    /// Of one report, or of two that were made one after the other.
    pub fn new(older: Option<&Report>, newer: Report) -> Self {
        let changes = older.map(|older| changes(older, &newer)).unwrap_or_default();
        Self { version: SNAPSHOT_VERSION, watched_since: None, report: newer, changes }
    }

    /// Removes the changes of containers that are not in the report.
    pub fn prune(&mut self) {
        let Self { report, changes, .. } = self;
        let kept = |cgroup: &String| report.containers.iter().any(|row| row.cgroup == *cgroup);
        changes.retain(|cgroup, _| kept(cgroup));
    }
}
