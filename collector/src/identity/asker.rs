//! The task that asks one daemon: connect, list, then answer questions and hear news until the
//! daemon is away; then read files in its place and try again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::{task, time};

use super::book::{News, Told};
use super::disk::Disk;
use super::names::Shared;
use super::{Metadata, MetadataFilter};
use crate::recurring::is_worth_logging;

/// What one call to a daemon may take.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(2);

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// A daemon that answers questions about its containers.
pub(super) trait Source: Sized + Send + 'static {
    /// Whose socket it is, for people.
    const SOCKET: &'static str;

    /// Connects, and lists the containers that run already.
    fn connect(
        socket: &Path,
        allowed: &Arc<MetadataFilter>,
    ) -> impl Future<Output = Result<(Self, Vec<(String, Metadata)>), String>> + Send;

    /// Everything about a container; `None` if the daemon does not know it.
    ///
    /// # Errors
    ///
    /// If the daemon is away; the reason in one line.
    fn inspect(&mut self, id: &str) -> impl Future<Output = Result<Option<Told>, String>> + Send;

    /// What the daemon tells next by itself. Safe to drop while it waits.
    ///
    /// # Errors
    ///
    /// If the daemon is away.
    fn news(&mut self) -> impl Future<Output = Result<News, String>> + Send;
}

/// The task in the background.
pub(super) struct Asker {
    pub(super) desk: usize,
    /// The first of these that is there is the socket.
    pub(super) places: Vec<PathBuf>,
    /// Whether people named the socket.
    pub(super) chosen: bool,
    pub(super) disk: Disk,
    pub(super) allowed: Arc<MetadataFilter>,
    /// Told when there are new questions.
    pub(super) asked: Arc<Notify>,
    pub(super) shared: Arc<Shared>,
    /// The fault that was logged last, and how often it came in a row.
    pub(super) last_fault: Option<(String, u64)>,
}

/// Why a daemon is away.
struct Fault {
    /// In one line.
    reason: String,
    /// A host without it is nothing to warn about.
    expected: bool,
}

impl Asker {
    pub(super) async fn run<S: Source>(mut self) {
        let mut retry = FIRST_RETRY;
        loop {
            let fault = match self.connect::<S>().await {
                Ok(source) => {
                    retry = FIRST_RETRY;
                    self.serve(source).await
                }
                Err(fault) => fault,
            };
            self.fail::<S>(fault);
            // Running out of time is how this ends.
            let _ = time::timeout(retry, self.read_files()).await;
            retry = (retry * 2).min(LAST_RETRY);
        }
    }

    async fn connect<S: Source>(&mut self) -> Result<S, Fault> {
        let Some(socket) = self.places.iter().find(|path| path.exists()) else {
            let reason = no_socket(S::SOCKET, &self.places);
            return Err(Fault { reason, expected: !self.chosen });
        };
        let (source, listed) = S::connect(socket, &self.allowed).await.map_err(Fault::from)?;
        self.last_fault = None;
        self.shared.update(|book| book.connected(self.desk, listed));
        Ok(source)
    }

    /// Hears news and answers questions as they come, until the daemon is away.
    async fn serve<S: Source>(&self, mut source: S) -> Fault {
        loop {
            tokio::select! {
                biased;
                news = source.news() => match news {
                    Ok(news) => self.shared.update(|book| book.hear(self.desk, news)),
                    Err(reason) => return reason.into(),
                },
                () = self.question() => {}
            }
            let next = self.shared.book().next(self.desk, Instant::now());
            let Some(id) = next else { continue };
            match source.inspect(&id).await {
                Ok(told) => self.answer(id, told),
                Err(reason) => {
                    self.shared.update(|book| book.requeue(self.desk, id));
                    return reason.into();
                }
            }
        }
    }

    /// Waits until there is something to ask.
    async fn question(&self) {
        let now = Instant::now();
        let due = self.shared.book().due(self.desk, now);
        match due {
            Some(at) if at <= now => {}
            // Running out of time is one of the ways in which this ends.
            Some(at) => drop(time::timeout(at - now, self.asked.notified()).await),
            None => self.asked.notified().await,
        }
    }

    /// Answers from files for as long as it is let.
    async fn read_files(&self) {
        loop {
            let next = self.shared.book().next(self.desk, Instant::now());
            match next {
                Some(id) => {
                    let told = self.read_file(id.clone()).await;
                    self.answer(id, told);
                }
                None => self.question().await,
            }
        }
    }

    /// A slow disk must not hold up a sample either.
    async fn read_file(&self, id: String) -> Option<Told> {
        let (disk, allowed) = (self.disk, Arc::clone(&self.allowed));
        task::spawn_blocking(move || disk.read(&id, &allowed)).await.ok().flatten()
    }

    fn answer(&self, id: String, told: Option<Told>) {
        self.shared.update(|book| book.answer(self.desk, id, told, Instant::now()));
    }

    fn fail<S: Source>(&mut self, fault: Fault) {
        let times = match &mut self.last_fault {
            Some((reason, times)) if *reason == fault.reason => {
                *times += 1;
                *times
            }
            other => other.insert((fault.reason.clone(), 1)).1,
        };
        if fault.expected {
            if times == 1 {
                tracing::debug!("no names from {}: {}", S::SOCKET, fault.reason);
            }
        } else if is_worth_logging(times) {
            let so_far = if times > 1 { format!(" ({times} times so far)") } else { String::new() };
            tracing::warn!("no names from {}: {}{so_far}", S::SOCKET, fault.reason);
        }
        self.shared.update(|book| book.failed(self.desk, fault.reason));
    }
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self { reason, expected: false }
    }
}

/// MetadataResolver the socket and the innermost cause in one line: the layers between tell about the client
/// only.
pub(super) fn innermost(socket: &Path, error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let reason = format!("{}: {cause}", socket.display());
    reason.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn no_socket(whose: &str, places: &[PathBuf]) -> String {
    let paths: Vec<_> = places.iter().map(|path| path.to_string_lossy()).collect();
    format!("no {whose} socket at {}", paths.join(" or "))
}
