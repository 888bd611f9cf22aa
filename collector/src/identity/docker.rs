//! Names, images and labels from the Docker Engine, over its unix socket.
//!
//! A task in the background asks; a sample only ever looks at what has arrived. When the daemon is
//! away, names stay unknown and the task tries again, ever more rarely.

mod book;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerSummary};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time;

use self::book::Book;
use crate::identity::{AllowedLabels, Details};

/// Containers whose details are kept, also after they ended; the oldest are dropped first.
pub const MAX_NAMES: usize = 16_384;

/// Ids that may wait for an answer; more are simply asked for again by a later sample.
pub const MAX_WANTED: usize = 4_096;

/// What one call to the daemon may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

const DEFAULT_SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/docker.sock"];

/// Where the Docker Engine listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DockerSocket {
    /// `DOCKER_HOST` if it names a unix socket, else the usual places.
    #[default]
    Auto,
    /// This socket and no other.
    Path(PathBuf),
    /// Ask nobody.
    Off,
}

/// How the daemon fares as a source of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not asked for.
    Off,
    /// The first answer is still awaited.
    Connecting,
    /// The last call was answered.
    Connected,
    /// The last call was not answered; the reason in one line.
    Failed(String),
}

/// Names from the Docker Engine. The task behind it ends when this is dropped.
#[derive(Debug)]
pub struct DockerNames {
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

impl DockerNames {
    /// Starts asking in the background. Needs a tokio runtime unless `socket` is `Off`.
    pub fn spawn(socket: DockerSocket, labels: AllowedLabels) -> Self {
        if socket == DockerSocket::Off {
            return Self { shared: Arc::new(Shared::new(Status::Off)), task: None };
        }
        let shared = Arc::new(Shared::new(Status::Connecting));
        let asker = Asker { socket, labels, shared: Arc::clone(&shared), last_fault: None };
        Self { shared, task: Some(tokio::spawn(asker.run())) }
    }

    /// What is known about a container, by its full id. Never waits. A name may be known before
    /// `started_at` is: look, and want it, again while that is `None`.
    pub fn lookup(&self, id: &str) -> Option<Arc<Details>> {
        self.shared.book().lookup(id)
    }

    /// Asks for a container's details, by its full id. Never waits; asking twice costs nothing.
    pub fn want(&self, id: &str) {
        if self.task.is_some() && self.shared.book().want(id, Instant::now()) {
            self.shared.asked.notify_one();
        }
    }

    /// How the daemon fares.
    pub fn status(&self) -> Status {
        self.shared.book().status.clone()
    }

    /// Waits until every wanted id is answered, the daemon turns out to be away, or `timeout` is
    /// over. For a single report; a running loop has no reason to wait.
    pub async fn settled(&self, timeout: Duration) {
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
}

impl Drop for DockerNames {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    asked: Notify,
    answered: Notify,
}

impl Shared {
    fn new(status: Status) -> Self {
        Self { book: Mutex::new(Book::new(status)), asked: Notify::new(), answered: Notify::new() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Every change to the book is complete in itself, so a panic elsewhere spoils nothing.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut Book)) {
        change(&mut self.book());
        self.answered.notify_waiters();
    }
}

/// The task in the background.
struct Asker {
    socket: DockerSocket,
    labels: AllowedLabels,
    shared: Arc<Shared>,
    /// The fault that was logged last, so that it is logged once.
    last_fault: Option<String>,
}

impl Asker {
    async fn run(mut self) {
        let mut retry = FIRST_RETRY;
        loop {
            let fault = match self.connect_and_list().await {
                Ok(daemon) => {
                    retry = FIRST_RETRY;
                    self.answer_all(&daemon).await
                }
                Err(fault) => fault,
            };
            self.fail(fault);
            time::sleep(retry).await;
            retry = (retry * 2).min(LAST_RETRY);
        }
    }

    /// One call answers for all containers that run already.
    async fn connect_and_list(&mut self) -> Result<Daemon, Fault> {
        let daemon = Daemon::connect(&self.socket)?;
        let containers = match call(daemon.client.list_containers(None)).await {
            Ok(containers) => containers,
            // Not understanding one container must not cost the names of all others.
            Err(Error::JsonDataError { message, .. }) => {
                tracing::debug!("cannot read Docker's list of containers: {message}");
                Vec::new()
            }
            Err(error) => return Err(daemon.fault(&error)),
        };
        self.last_fault = None;
        self.shared.update(|book| {
            for (id, details) in
                containers.into_iter().filter_map(|c| from_summary(c, &self.labels))
            {
                book.learn_listed(id, details);
            }
            book.status = Status::Connected;
        });
        Ok(daemon)
    }

    /// Answers questions as they come, until the daemon is away.
    async fn answer_all(&self, daemon: &Daemon) -> Fault {
        loop {
            let next = self.shared.book().next();
            let Some(id) = next else {
                self.shared.asked.notified().await;
                continue;
            };
            match call(daemon.client.inspect_container(&id, None)).await {
                Ok(response) => {
                    self.shared.update(|book| match from_inspect(response, &self.labels) {
                        Some(details) => book.learn(id, details),
                        None => book.deny(id, Instant::now()),
                    })
                }
                Err(
                    error @ (Error::DockerResponseServerError { .. } | Error::JsonDataError { .. }),
                ) => {
                    tracing::debug!("Docker tells nothing about {id}: {error}");
                    self.shared.update(|book| book.deny(id, Instant::now()));
                }
                Err(error) => {
                    self.shared.update(|book| book.requeue(id));
                    return daemon.fault(&error);
                }
            }
        }
    }

    fn fail(&mut self, fault: Fault) {
        if self.last_fault.as_ref() != Some(&fault.reason) {
            if fault.expected {
                tracing::debug!("no names from Docker: {}", fault.reason);
            } else {
                tracing::warn!("no names from Docker: {}", fault.reason);
            }
            self.last_fault = Some(fault.reason.clone());
        }
        self.shared.update(|book| book.status = Status::Failed(fault.reason));
    }
}

/// Why the daemon is away.
struct Fault {
    /// In one line.
    reason: String,
    /// A host without Docker is nothing to warn about.
    expected: bool,
}

/// A daemon that may be there: every call connects anew.
struct Daemon {
    client: Docker,
    socket: PathBuf,
}

impl Daemon {
    fn connect(socket: &DockerSocket) -> Result<Self, Fault> {
        let (candidates, expected) = match socket {
            DockerSocket::Path(path) => (vec![path.clone()], false),
            DockerSocket::Auto => (candidates(std::env::var("DOCKER_HOST").ok().as_deref()), true),
            DockerSocket::Off => (Vec::new(), true),
        };
        let Some(socket) = candidates.iter().find(|path| path.exists()).cloned() else {
            return Err(Fault { reason: no_socket(&candidates), expected });
        };
        // The requests carry no API version (the daemon then speaks its own), so any will do.
        let version = bollard::API_DEFAULT_VERSION;
        let timeout = CALL_TIMEOUT.as_secs();
        match Docker::connect_with_unix(&socket.to_string_lossy(), timeout, version) {
            Ok(client) => Ok(Self { client, socket }),
            Err(error) => Err(fault(&socket, &error)),
        }
    }

    fn fault(&self, error: &Error) -> Fault {
        fault(&self.socket, error)
    }
}

/// Names the socket and the innermost cause: the layers between tell about the client only.
fn fault(socket: &Path, error: &Error) -> Fault {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let reason = format!("{}: {cause}", socket.display());
    let words: Vec<_> = reason.split_whitespace().collect();
    Fault { reason: words.join(" "), expected: false }
}

fn candidates(docker_host: Option<&str>) -> Vec<PathBuf> {
    match docker_host.and_then(|host| host.strip_prefix("unix://")) {
        Some(path) if !path.is_empty() => vec![PathBuf::from(path)],
        // A daemon elsewhere does not know the containers of this host.
        _ => DEFAULT_SOCKETS.map(PathBuf::from).to_vec(),
    }
}

fn no_socket(candidates: &[PathBuf]) -> String {
    let paths: Vec<_> = candidates.iter().map(|path| path.to_string_lossy()).collect();
    format!("no Docker socket at {}", paths.join(" or "))
}

/// The client's own timeout ends with the response's head, so this one covers the body too.
async fn call<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    time::timeout(CALL_TIMEOUT, request).await.unwrap_or(Err(Error::RequestTimeoutError))
}

fn from_summary(summary: ContainerSummary, allowed: &AllowedLabels) -> Option<(String, Details)> {
    let names = summary.names.unwrap_or_default();
    // Legacy links add names with a second slash.
    let own = names.iter().map(|name| bare(name)).find(|name| !name.contains('/'));
    let mut details = Details {
        name: own?.to_owned(),
        image: summary.image.filter(|image| !image.is_empty()),
        ..Details::default()
    };
    details.take_labels(summary.labels.unwrap_or_default(), allowed);
    Some((summary.id?, details))
}

fn from_inspect(response: ContainerInspectResponse, allowed: &AllowedLabels) -> Option<Details> {
    let config = response.config.unwrap_or_default();
    let started_at = response.state.and_then(|state| state.started_at);
    let mut details = Details {
        name: response.name.map(|name| bare(&name).to_owned())?,
        image: config.image.filter(|image| !image.is_empty()),
        started_at: started_at.and_then(|text| started(&text)),
        ..Details::default()
    };
    details.take_labels(config.labels.unwrap_or_default(), allowed);
    Some(details)
}

/// A container that never started says the year 1.
fn started(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|time: &Timestamp| time.as_second() > 0)
}

fn bare(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

#[cfg(test)]
mod tests;
