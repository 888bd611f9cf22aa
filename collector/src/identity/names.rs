//! MetadataResolver, images and labels from whichever runtime made a container.
//!
//! Tasks in the background ask, one for each daemon; a sample only ever looks at what has arrived.
//! A daemon is looked for when the first container of its runtime shows: asking Podman may start
//! its service. Docker's and Podman's are looked for at once where people name the socket, and tell
//! names before their containers start. When a daemon is away, files that it left are read instead,
//! and it is tried again, ever more rarely.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time;

use super::asker::Asker;
use super::book::{Book, ConnectionStatus};
use super::cri::Cri;
use super::disk::Disk;
use super::engine::{DockerEngine, PodmanEngine};
use super::{ExitStatus, Identity, Metadata, MetadataFilter, Runtime};

/// Users whose own daemons are asked.
const MAX_USERS: usize = 64;

/// Where a daemon listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Socket {
    /// The usual places.
    #[default]
    Auto,
    /// This socket and no other.
    Path(PathBuf),
    /// Ask nobody, and read no files in its place.
    Off,
}

/// Where to ask for names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeSockets {
    /// Docker's; `Auto` takes `DOCKER_HOST` if it names a unix socket, else the usual places.
    pub docker: Socket,
    /// Podman's.
    pub podman: Socket,
    /// That of containerd, CRI-O or any other server of CRI.
    pub cri: Socket,
}

/// MetadataResolver from the runtimes. The tasks behind it end when this is dropped.
#[derive(Debug)]
pub struct MetadataResolver {
    sockets: RuntimeSockets,
    allowed: Arc<MetadataFilter>,
    shared: Arc<Shared>,
    groups: HashMap<RuntimeGroup, Vec<Desk>>,
}

/// Whom to ask about a container: all daemons that may have made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuntimeGroup {
    /// What they speak.
    pub api: RuntimeApi,
    /// Whose they are; `None` is the host's.
    pub user: Option<u32>,
}

/// Kinds of daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuntimeApi {
    /// Docker Engine.
    Docker,
    /// Podman's service.
    Podman,
    /// containerd.
    Containerd,
    /// CRI-O.
    CriO,
}

/// One daemon and the task that asks it.
#[derive(Debug)]
struct Desk {
    number: usize,
    asked: Arc<Notify>,
    task: JoinHandle<()>,
}

impl MetadataResolver {
    /// Whoever is asked, is asked from within a tokio runtime.
    pub fn new(sockets: RuntimeSockets, allowed: MetadataFilter) -> Self {
        let mut names = Self {
            sockets,
            allowed: Arc::new(allowed),
            shared: Arc::new(Shared::default()),
            groups: HashMap::new(),
        };
        let RuntimeSockets { docker, podman, .. } = &names.sockets;
        let chosen = [(RuntimeApi::Docker, docker), (RuntimeApi::Podman, podman)]
            .map(|(daemon, socket)| matches!(socket, Socket::Path(_)).then_some(daemon));
        for daemon in chosen.into_iter().flatten() {
            let group = RuntimeGroup { api: daemon, user: None };
            let desks = names.open(group);
            names.groups.insert(group, desks);
        }
        names
    }

    /// What is known about a container; what is not is asked for. Never waits.
    pub fn get(&mut self, identity: &Identity) -> Option<Arc<Metadata>> {
        let shared = Arc::clone(&self.shared);
        let desks = self.desks(identity)?;
        let mut book = shared.book();
        let now = Instant::now();
        for desk in desks {
            if book.want(desk.number, &identity.id, now) {
                desk.asked.notify_one();
            }
        }
        book.lookup(&identity.id)
    }

    /// How a container ended, whose last sign of life was at `from` and which was over at `to`;
    /// asks for it if it is not known. Never waits.
    pub fn get_exit_status(
        &mut self,
        identity: &Identity,
        from: Timestamp,
        to: Timestamp,
    ) -> Option<ExitStatus> {
        let shared = Arc::clone(&self.shared);
        let desks = self.desks(identity)?;
        let mut book = shared.book();
        let end = book.end(&identity.id, from, to);
        let now = Instant::now();
        if end.is_none_or(|end| end.oom_killed.is_none()) {
            for desk in desks {
                if book.want_end(desk.number, &identity.id, now) {
                    desk.asked.notify_one();
                }
            }
        }
        end
    }

    /// Those whose settings were changed, as daemons told since the last call. Never waits.
    pub fn take_updated(&mut self) -> impl Iterator<Item = String> + use<> {
        self.shared.book().take_updated().into_iter()
    }

    /// How those fare who were asked: one that answers is enough for its group. In a group
    /// without anyone nobody may be asked.
    pub fn statuses(&self) -> Vec<(RuntimeGroup, Option<ConnectionStatus>)> {
        let book = self.shared.book();
        let status = |desks: &Vec<Desk>| {
            let all = || desks.iter().map(|desk| book.status(desk.number));
            let good = all().find(|status| **status == ConnectionStatus::Connected);
            let waiting = || all().find(|status| **status == ConnectionStatus::Connecting);
            good.or_else(waiting).cloned().or_else(|| reasons(all()))
        };
        let mut groups: Vec<_> = self.groups.iter().map(|(g, desks)| (*g, status(desks))).collect();
        groups.sort_by_key(|(group, _)| *group);
        groups
    }

    /// Waits until everything asked is answered, the daemons turn out to be away, or `timeout` is
    /// over. For a single report; a running loop has no reason to wait.
    pub async fn wait_settled(&self, timeout: Duration) {
        let settled = async {
            loop {
                let answered = self.shared.answered.notified();
                tokio::pin!(answered);
                answered.as_mut().enable();
                if self.shared.book().settled() {
                    return;
                }
                answered.await;
            }
        };
        // Running out of time is an answer too: what is known by then is shown.
        let _ = time::timeout(timeout, settled).await;
    }

    /// The daemons that may know a container; `None` if no daemon does.
    fn desks(&mut self, identity: &Identity) -> Option<&[Desk]> {
        let daemon = RuntimeApi::of(identity.runtime)?;
        let group = RuntimeGroup { api: daemon, user: identity.user };
        if !self.groups.contains_key(&group) {
            if self.groups.len() >= MAX_USERS {
                return None;
            }
            let desks = self.open(group);
            self.groups.insert(group, desks);
        }
        self.groups.get(&group).map(Vec::as_slice)
    }

    fn open(&self, group: RuntimeGroup) -> Vec<Desk> {
        let socket = match group.api {
            RuntimeApi::Docker => &self.sockets.docker,
            RuntimeApi::Podman => &self.sockets.podman,
            RuntimeApi::Containerd | RuntimeApi::CriO => &self.sockets.cri,
        };
        let places = match socket {
            Socket::Off => Vec::new(),
            Socket::Path(path) => vec![vec![path.clone()]],
            Socket::Auto => group.default_sockets(std::env::var("DOCKER_HOST").ok().as_deref()),
        };
        let chosen = *socket != Socket::Auto;
        let desk = |(index, places): (usize, Vec<PathBuf>)| {
            let number = self.shared.book().open();
            let asked = Arc::new(Notify::new());
            // The files of a runtime are read once, however many sockets it may listen at.
            let disk = if index == 0 { Disk::of(group) } else { Disk::default() };
            let asker = Asker {
                desk: number,
                places,
                chosen,
                disk,
                allowed: Arc::clone(&self.allowed),
                asked: Arc::clone(&asked),
                shared: Arc::clone(&self.shared),
                last_fault: None,
            };
            let task = match group.api {
                RuntimeApi::Docker => tokio::spawn(asker.run::<DockerEngine>()),
                RuntimeApi::Podman => tokio::spawn(asker.run::<PodmanEngine>()),
                RuntimeApi::Containerd | RuntimeApi::CriO => tokio::spawn(asker.run::<Cri>()),
            };
            Desk { number, asked, task }
        };
        places.into_iter().enumerate().map(desk).collect()
    }
}

impl Drop for MetadataResolver {
    fn drop(&mut self) {
        for desk in self.groups.values().flatten() {
            desk.task.abort();
        }
    }
}

impl RuntimeApi {
    fn of(runtime: Runtime) -> Option<Self> {
        match runtime {
            Runtime::Docker => Some(Self::Docker),
            Runtime::Podman => Some(Self::Podman),
            Runtime::Containerd => Some(Self::Containerd),
            Runtime::CriO => Some(Self::CriO),
            Runtime::Lxc | Runtime::Nspawn | Runtime::Systemd => None,
        }
    }

    /// What it is called as a source of names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "Docker Engine API",
            Self::Podman => "Podman API",
            Self::Containerd => "CRI of containerd",
            Self::CriO => "CRI of CRI-O",
        }
    }
}

impl RuntimeGroup {
    /// The sockets at which daemons of this group listen by default: for each daemon its possible
    /// sockets, of which the first that exists is used.
    pub fn default_sockets(self, docker_host: Option<&str>) -> Vec<Vec<PathBuf>> {
        let one_each = |paths: &[&str]| paths.iter().map(|path| vec![path.into()]).collect();
        match (self.api, self.user) {
            (RuntimeApi::Docker, None) => {
                match docker_host.and_then(|host| host.strip_prefix("unix://")) {
                    Some(path) if !path.is_empty() => vec![vec![path.into()]],
                    // A daemon elsewhere does not know the containers of this host.
                    _ => vec![vec!["/var/run/docker.sock".into(), "/run/docker.sock".into()]],
                }
            }
            (RuntimeApi::Docker, Some(user)) => {
                one_each(&[&format!("/run/user/{user}/docker.sock")])
            }
            (RuntimeApi::Podman, None) => one_each(&["/run/podman/podman.sock"]),
            (RuntimeApi::Podman, Some(user)) => {
                one_each(&[&format!("/run/user/{user}/podman/podman.sock")])
            }
            (RuntimeApi::Containerd, _) => one_each(&[
                "/run/containerd/containerd.sock",
                "/run/k3s/containerd/containerd.sock",
                "/var/snap/microk8s/common/run/containerd.sock",
            ]),
            (RuntimeApi::CriO, _) => one_each(&["/run/crio/crio.sock"]),
        }
    }
}

/// All reasons for failure in one line.
fn reasons<'a>(all: impl Iterator<Item = &'a ConnectionStatus>) -> Option<ConnectionStatus> {
    let reasons: Vec<&str> = all
        .filter_map(|status| match status {
            ConnectionStatus::Failed(reason) => Some(reason.as_str()),
            ConnectionStatus::Connecting | ConnectionStatus::Connected => None,
        })
        .collect();
    (!reasons.is_empty()).then(|| ConnectionStatus::Failed(reasons.join("; ")))
}

/// What the handle and the tasks share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    book: Mutex<Book>,
    answered: Notify,
}

impl Shared {
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        // Every change to the book is complete in itself, so a panic elsewhere spoils nothing.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Book)) {
        change(&mut self.book());
        self.answered.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
