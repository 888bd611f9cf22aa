//! Looks up names, images, labels and exit statuses of containers.
//!
//! A task for each runtime sends the requests; a sample reads what has arrived. A runtime is
//! contacted when its first container shows, because a connection to Podman's socket may start its
//! service. Where the user names the socket of Docker or Podman, it is contacted at once, and then
//! events carry names before containers start. While an API does not answer, the runtime's state
//! files are read instead, and the next attempt comes after a growing delay.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, MutexGuard},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{sync::Notify, task::JoinHandle, time};

use super::{
    cri::CriClient,
    docker::{DockerClient, PodmanClient},
    filter::MetadataFilter,
    metadata::{ExitStatus, Metadata},
    path::Identity,
    queue::ConnectionStatus,
    sockets::{RuntimeApi, RuntimeGroup, RuntimeSockets},
    state::{SharedState, State, WritableLayers},
    state_files::StateFiles,
    worker::RuntimeWorker,
};

/// Groups that are contacted. Each user with a rootless runtime is one.
const MAX_GROUPS: usize = 64;

/// Metadata from container runtimes. The background tasks end when it is dropped.
#[derive(Debug)]
pub struct MetadataResolver {
    sockets: RuntimeSockets,
    filter: Arc<MetadataFilter>,
    shared: Arc<SharedState>,
    groups: HashMap<RuntimeGroup, Vec<Worker>>,
}

/// A running worker.
#[derive(Debug)]
struct Worker {
    queue: usize,
    requested: Arc<Notify>,
    task: JoinHandle<()>,
}

impl MetadataResolver {
    /// Contacts the runtimes whose sockets the user named. This and the requests must be called
    /// within a tokio runtime, unless every socket is off.
    pub fn new(sockets: RuntimeSockets, filter: MetadataFilter) -> Self {
        let mut resolver = Self {
            sockets,
            filter: Arc::new(filter),
            shared: Arc::new(SharedState::default()),
            groups: HashMap::new(),
        };
        for api in [RuntimeApi::Docker, RuntimeApi::Podman] {
            if resolver.sockets.is_configured(api) {
                resolver.contact(RuntimeGroup { api, user: None });
            }
        }
        resolver
    }

    /// The metadata that is cached for a container. Requests what is missing. Never waits.
    pub fn get(&mut self, identity: &Identity) -> Option<Arc<Metadata>> {
        self.request(identity, State::request)?.metadata(&identity.id)
    }

    /// How often runtimes have told something new so far: as long as it stays the same,
    /// [`Self::get`] has nothing new.
    pub fn changes(&self) -> u64 {
        self.shared.changes()
    }

    /// The exit status of a container that was last seen alive at `from` and had ended by `to`.
    /// Requests it if it is missing or incomplete. Never waits.
    pub fn get_exit_status(
        &mut self,
        identity: &Identity,
        from: Timestamp,
        to: Timestamp,
    ) -> Option<ExitStatus> {
        let status = self.shared.lock().exit_status(&identity.id, from, to);
        if status.is_none_or(|status| status.oom_killed.is_none()) {
            drop(self.request(identity, State::request_exit_status)?);
        }
        status
    }

    /// Whether its runtime has reported that it removed a container. Docker and Podman report it.
    pub fn is_removed(&self, identity: &Identity) -> bool {
        self.shared.lock().is_removed(&identity.id)
    }

    /// How many removals were reported so far.
    pub fn removals(&self) -> u64 {
        self.shared.lock().removals()
    }

    /// Takes the ids of the containers whose limits or freezer state a runtime has changed since
    /// the last call. Never waits.
    pub fn take_changed_settings(&mut self) -> impl Iterator<Item = String> + use<> {
        self.shared.lock().take_changed_settings().into_iter()
    }

    /// What containers have written to their roots, as far as runtimes have told it: a table for
    /// each runtime.
    pub fn writable_layers(&self) -> Vec<WritableLayers> {
        self.shared.lock().layers().map(Arc::clone).collect()
    }

    /// The connection status of each group that was contacted: one connected socket is enough.
    /// `None` for a group whose sockets are off.
    pub fn statuses(&self) -> Vec<(RuntimeGroup, Option<ConnectionStatus>)> {
        let state = self.shared.lock();
        let status = |workers: &[Worker]| {
            let all = || workers.iter().map(|worker| state.status(worker.queue));
            let connected = all().find(|status| **status == ConnectionStatus::Connected);
            let connecting = || all().find(|status| **status == ConnectionStatus::Connecting);
            connected.or_else(connecting).cloned().or_else(|| join_failures(all()))
        };
        let groups = self.groups.iter();
        let mut statuses: Vec<_> = groups.map(|(group, all)| (*group, status(all))).collect();
        statuses.sort_by_key(|(group, _)| *group);
        statuses
    }

    /// Waits until every request has a result or its runtime cannot be reached, for `timeout` at
    /// most. For a single report: a loop finds the results at its next sample.
    pub async fn wait_settled(&self, timeout: Duration) {
        // After the timeout, the report shows what is known by then.
        let _ = time::timeout(timeout, self.shared.wait_settled()).await;
    }

    /// Calls `request` for each runtime that may know a container; `None` if there is none.
    fn request(
        &mut self,
        identity: &Identity,
        request: impl Fn(&mut State, usize, &str, Instant) -> bool,
    ) -> Option<MutexGuard<'_, State>> {
        let group = RuntimeGroup { api: RuntimeApi::of(identity.runtime)?, user: identity.user };
        self.contact(group);
        let (mut state, now) = (self.shared.lock(), Instant::now());
        for worker in self.groups.get(&group)? {
            if request(&mut state, worker.queue, &identity.id, now) {
                worker.requested.notify_one();
            }
        }
        Some(state)
    }

    /// Starts the workers of a group, unless they run or there are too many groups.
    fn contact(&mut self, group: RuntimeGroup) {
        if self.groups.contains_key(&group) || self.groups.len() >= MAX_GROUPS {
            return;
        }
        let docker_host = std::env::var("DOCKER_HOST").ok();
        let sockets = self.sockets.candidates(group, docker_host.as_deref()).into_iter();
        let workers = sockets.enumerate().map(|(index, paths)| {
            // One worker reads the state files of the group, however many sockets it has.
            let files = if index == 0 { StateFiles::of(group) } else { StateFiles::None };
            self.start(group, paths, files)
        });
        let workers = workers.collect();
        self.groups.insert(group, workers);
    }

    fn start(&self, group: RuntimeGroup, sockets: Vec<PathBuf>, state_files: StateFiles) -> Worker {
        let queue = self.shared.lock().add_queue();
        let requested = Arc::new(Notify::new());
        let worker = RuntimeWorker {
            queue,
            sockets,
            is_configured: self.sockets.is_configured(group.api),
            state_files,
            filter: Arc::clone(&self.filter),
            requested: Arc::clone(&requested),
            shared: Arc::clone(&self.shared),
            last_fault: None,
        };
        let task = match group.api {
            RuntimeApi::Docker => tokio::spawn(worker.run::<DockerClient>()),
            RuntimeApi::Podman => tokio::spawn(worker.run::<PodmanClient>()),
            RuntimeApi::Containerd | RuntimeApi::CriO => tokio::spawn(worker.run::<CriClient>()),
        };
        Worker { queue, requested, task }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The reasons of all failures; `None` if there are none.
fn join_failures<'a>(
    statuses: impl Iterator<Item = &'a ConnectionStatus>,
) -> Option<ConnectionStatus> {
    let reasons = |status: &'a ConnectionStatus| match status {
        ConnectionStatus::Failed(reasons) => reasons.as_slice(),
        ConnectionStatus::Connecting | ConnectionStatus::Connected => &[],
    };
    let reasons: Vec<_> = statuses.flat_map(reasons).cloned().collect();
    (!reasons.is_empty()).then_some(ConnectionStatus::Failed(reasons))
}

#[cfg(test)]
mod tests;
