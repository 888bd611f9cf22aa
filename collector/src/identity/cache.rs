//! What is known about containers: bounded, and without any I/O.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    client::{Exit, Inspection, RuntimeEvent},
    metadata::{ExitStatus, Metadata},
};

/// Containers whose metadata is kept, ended ones included. The oldest entry is dropped first.
pub(super) const MAX_CONTAINERS: usize = 16_384;

/// Exit statuses that are kept of one container, which may be started again and again.
pub(super) const MAX_EXIT_STATUSES: usize = 8;

/// Most ids that wait for [`MetadataCache::take_changed_settings`]. The settings of others are
/// found changed by the next periodic read.
const MAX_CHANGED_SETTINGS: usize = 4_096;

/// An event and an inspection of the same exit differ by less than this.
const SAME_EXIT: SignedDuration = SignedDuration::from_secs(1);

/// A runtime dates an exit at most this long after the kernel saw the last process end.
const LATE_EXIT: SignedDuration = SignedDuration::from_secs(10);

/// Metadata and exit statuses by container id.
#[derive(Debug, Default)]
pub(super) struct MetadataCache {
    entries: HashMap<String, Entry>,
    /// The ids of `entries`, oldest first.
    order: VecDeque<String>,
    changed_settings: HashSet<String>,
    /// Grows with each removal that a runtime reports.
    removals: u64,
}

#[derive(Debug, Default)]
struct Entry {
    metadata: Arc<Metadata>,
    /// Whether the metadata is from a complete inspection.
    complete: bool,
    /// Oldest first.
    exit_statuses: VecDeque<ExitStatus>,
    /// Whether an OOM event arrived since the last exit.
    oom: bool,
    /// Whether the runtime has removed the container.
    removed: bool,
}

impl MetadataCache {
    pub(super) fn get(&self, id: &str) -> Option<Arc<Metadata>> {
        self.entries.get(id).map(|entry| Arc::clone(&entry.metadata))
    }

    /// Whether an inspection would find nothing new.
    pub(super) fn is_complete(&self, id: &str) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.complete)
    }

    /// The exit status of the run that was last seen alive at `from` and had ended by `to`.
    pub(super) fn exit_status(
        &self,
        id: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Option<ExitStatus> {
        let all = self.entries.get(id)?.exit_statuses.iter();
        let fits = |status: &&ExitStatus| {
            let at = status.exited_at;
            at.duration_since(from) >= -SAME_EXIT && at.duration_since(to) <= LATE_EXIT
        };
        all.filter(fits).min_by_key(|status| status.exited_at.duration_since(to).abs()).copied()
    }

    /// Stores the result of an inspection or of reading state files. An incomplete one never
    /// replaces a complete one.
    pub(super) fn store(&mut self, id: String, inspection: Inspection) {
        let Inspection { metadata, complete, exit_status } = inspection;
        let entry = self.entry(id);
        if complete || !entry.complete {
            if *entry.metadata != metadata {
                entry.metadata = Arc::new(metadata);
            }
            entry.complete = complete;
        }
        if let Some(status) = exit_status {
            entry.add_exit_status(status);
        }
    }

    /// Stores a container of the list that a runtime sends after connecting. What is cached may
    /// have changed since the last connection, so it becomes incomplete.
    pub(super) fn store_listed(&mut self, id: String, metadata: Metadata) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.complete = false;
            entry.rename(&metadata.name);
        } else {
            self.store(id, Inspection { metadata, ..Inspection::default() });
        }
    }

    /// Applies an event of a runtime.
    pub(super) fn apply(&mut self, event: RuntimeEvent) {
        let RuntimeEvent { id, metadata, health, exited, oom, removed, settings_changed, .. } =
            event;
        if settings_changed && self.changed_settings.len() < MAX_CHANGED_SETTINGS {
            self.changed_settings.insert(id.clone());
        }
        match (self.entries.get_mut(&id), metadata) {
            (Some(entry), Some(metadata)) => entry.rename(&metadata.name),
            (None, Some(metadata)) => {
                self.store(id.clone(), Inspection { metadata, ..Inspection::default() });
            }
            _ => {}
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.oom |= oom;
        if removed {
            entry.removed = true;
            self.removals += 1;
        }
        if health.is_some() && entry.metadata.health != health {
            Arc::make_mut(&mut entry.metadata).health = health;
        }
        if let Some(Exit { at: exited_at, code: exit_code }) = exited {
            let oom_killed = std::mem::take(&mut entry.oom).then_some(true);
            entry.add_exit_status(ExitStatus { exited_at, exit_code, oom_killed });
        }
    }

    /// Whether the runtime has reported that it removed a container.
    pub(super) fn is_removed(&self, id: &str) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.removed)
    }

    /// How many removals were reported.
    pub(super) fn removals(&self) -> u64 {
        self.removals
    }

    /// Takes the ids of the containers whose settings changed since the last call.
    pub(super) fn take_changed_settings(&mut self) -> HashSet<String> {
        std::mem::take(&mut self.changed_settings)
    }

    /// The number of containers.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of exit statuses of a container.
    #[cfg(test)]
    pub(super) fn exit_statuses(&self, id: &str) -> usize {
        self.entries[id].exit_statuses.len()
    }

    /// The entry of a container, made if there is none; the oldest makes room for it.
    fn entry(&mut self, id: String) -> &mut Entry {
        if !self.entries.contains_key(&id) {
            self.order.push_back(id.clone());
            if self.order.len() > MAX_CONTAINERS
                && let Some(oldest) = self.order.pop_front()
            {
                self.entries.remove(&oldest);
            }
        }
        self.entries.entry(id).or_default()
    }
}

impl Entry {
    fn rename(&mut self, name: &str) {
        if self.metadata.name != name {
            name.clone_into(&mut Arc::make_mut(&mut self.metadata).name);
        }
    }

    /// Adds an exit status, or completes the same one.
    fn add_exit_status(&mut self, status: ExitStatus) {
        let same = |known: &&mut ExitStatus| {
            let difference = known.exited_at.duration_since(status.exited_at).abs();
            known.exit_code == status.exit_code && difference < SAME_EXIT
        };
        if let Some(known) = self.exit_statuses.iter_mut().find(same) {
            known.oom_killed = known.oom_killed.max(status.oom_killed);
            return;
        }
        if self.exit_statuses.len() == MAX_EXIT_STATUSES {
            self.exit_statuses.pop_front();
        }
        self.exit_statuses.push_back(status);
    }
}
