//! The task that serves one runtime: connect, store the list, then inspect and apply events until
//! the connection fails; then read state files until the next attempt.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task, time};

use super::{
    client::{Inspection, NotConnected, RuntimeClient},
    filter::MetadataFilter,
    state::SharedState,
    state_files::StateFiles,
};
use crate::{reason::Reason, recurring::is_worth_logging};

const FIRST_RETRY_DELAY: Duration = Duration::from_secs(1);
/// How often a runtime is asked what containers have written. containerd asks each container's shim
/// for its usage to answer, and the kubelet asks every 10 s.
const LAYERS_INTERVAL: Duration = Duration::from_secs(60);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(60);

/// What a worker needs to know.
pub(super) struct RuntimeWorker {
    pub(super) queue: usize,
    /// Where the runtime may listen; the first path that exists is used, unless Tare itself
    /// listens there.
    pub(super) sockets: Vec<PathBuf>,
    /// Whether the user named the socket.
    pub(super) is_configured: bool,
    pub(super) state_files: StateFiles,
    pub(super) filter: Arc<MetadataFilter>,
    /// Notified after a request was queued.
    pub(super) requested: Arc<Notify>,
    pub(super) shared: Arc<SharedState>,
    /// The last fault, and how many times in a row it occurred.
    pub(super) last_fault: Option<(Reason, u64)>,
}

/// Why there is no connection.
struct Fault {
    reason: Reason,
    /// Not worth a warning: the host has no such runtime.
    expected: bool,
}

impl RuntimeWorker {
    /// Runs until the task is aborted.
    pub(super) async fn run<C: RuntimeClient>(mut self) {
        let mut delay = FIRST_RETRY_DELAY;
        loop {
            let fault = match self.connect::<C>().await {
                Ok((client, socket)) => {
                    delay = FIRST_RETRY_DELAY;
                    tokio::select! {
                        fault = self.serve(client) => fault,
                        never = self.follow_layers::<C>(&socket) => match never {},
                    }
                }
                Err(fault) => fault,
            };
            self.report::<C>(fault);
            self.serve_from_files(delay).await;
            delay = (delay * 2).min(MAX_RETRY_DELAY);
        }
    }

    async fn connect<C: RuntimeClient>(&mut self) -> Result<(C, PathBuf), Fault> {
        let mut own = None;
        for socket in self.sockets.iter().filter(|path| path.exists()) {
            match C::connect(socket, &self.filter).await {
                Ok((client, listed)) => {
                    if let Some(own) = own {
                        tracing::warn!("{own}; {} is asked instead", socket.display());
                    }
                    self.last_fault = None;
                    self.shared.update(|state| state.connected(self.queue, listed));
                    return Ok((client, socket.clone()));
                }
                // `DOCKER_HOST` is often set for clients of Tare.
                Err(NotConnected::ServedByTare) => {
                    own = Some(format!("{}: Tare itself serves this socket", socket.display()));
                }
                Err(NotConnected::Failed(error)) => return Err(error.into()),
            }
        }
        Err(own.map_or_else(|| self.no_socket::<C>(), Fault::from))
    }

    fn no_socket<C: RuntimeClient>(&self) -> Fault {
        let paths: Vec<_> = self.sockets.iter().map(|path| path.to_string_lossy()).collect();
        let reason = Reason::NoDaemonSocket { daemon: C::NAME, paths: paths.join(" or ").into() };
        Fault { reason, expected: !self.is_configured }
    }

    /// Applies events and inspects requested containers until the connection fails.
    async fn serve<C: RuntimeClient>(&self, mut client: C) -> Fault {
        loop {
            tokio::select! {
                biased;
                event = client.next_event() => match event {
                    Ok(event) => self.shared.update(|state| state.apply(self.queue, event)),
                    Err(reason) => return reason.into(),
                },
                () = self.wait_for_request() => {}
            }
            let next = self.shared.lock().next(self.queue, Instant::now());
            let Some(id) = next else { continue };
            match client.inspect(&id).await {
                Ok(inspection) => self.finish(id, inspection),
                Err(reason) => {
                    self.shared.update(|state| state.put_back(self.queue, id));
                    return reason.into();
                }
            }
        }
    }

    /// Asks what containers have written, for ever: on a connection of its own, because the answer
    /// may take longer than that to the request for a name may.
    async fn follow_layers<C: RuntimeClient>(&self, socket: &Path) -> Infallible {
        if !self.filter.writable_layers {
            return std::future::pending().await;
        }
        loop {
            match C::writable_layers(socket).await {
                Ok(Some(layers)) => self.shared.lock().set_layers(self.queue, layers),
                Ok(None) => return std::future::pending().await,
                Err(error) => tracing::debug!("no sizes of writable layers: {error}"),
            }
            time::sleep(LAYERS_INTERVAL).await;
        }
    }

    /// Looks up requested containers in state files for a while.
    async fn serve_from_files(&self, duration: Duration) {
        let until = time::Instant::now() + duration;
        while time::Instant::now() < until {
            let ids = self.shared.lock().take_all(self.queue, Instant::now());
            if ids.is_empty() {
                // After the timeout the runtime is tried again.
                let _ = time::timeout_at(until, self.wait_for_request()).await;
            } else {
                self.read_files(ids).await;
            }
        }
    }

    /// Reads on a thread of its own, because a disk may be slow.
    async fn read_files(&self, ids: Vec<String>) {
        let (files, filter, asked) = (self.state_files, Arc::clone(&self.filter), ids.clone());
        let read = task::spawn_blocking(move || files.read(&asked, &filter)).await;
        let mut read = read.unwrap_or_default().into_iter();
        self.shared.update(|state| {
            let now = Instant::now();
            for id in ids {
                state.finish(self.queue, id, read.next().flatten(), now);
            }
        });
    }

    /// Waits until a request is due.
    async fn wait_for_request(&self) {
        let now = Instant::now();
        let due = self.shared.lock().next_due(self.queue, now);
        match due {
            Some(at) if at <= now => {}
            // A retry is due after the timeout, a new request before it.
            Some(at) => drop(time::timeout(at - now, self.requested.notified()).await),
            None => self.requested.notified().await,
        }
    }

    fn finish(&self, id: String, inspection: Option<Inspection>) {
        self.shared.update(|state| state.finish(self.queue, id, inspection, Instant::now()));
    }

    /// Logs a fault, unless the same was logged a short while ago, and sets the status.
    fn report<C: RuntimeClient>(&mut self, fault: Fault) {
        let times = match &mut self.last_fault {
            Some((reason, times)) if *reason == fault.reason => {
                *times += 1;
                *times
            }
            other => other.insert((fault.reason.clone(), 1)).1,
        };
        if fault.expected {
            if times == 1 {
                tracing::debug!(
                    reason = fault.reason.code(),
                    "no metadata from {}: {}",
                    C::NAME,
                    fault.reason
                );
            }
        } else if is_worth_logging(times) {
            let so_far = if times > 1 { format!(" ({times} times so far)") } else { String::new() };
            tracing::warn!(
                reason = fault.reason.code(),
                "no metadata from {}: {}{so_far}",
                C::NAME,
                fault.reason
            );
        }
        self.shared.update(|state| state.failed(self.queue, fault.reason));
    }
}

impl From<String> for Fault {
    fn from(error: String) -> Self {
        Self { reason: Reason::DaemonAway { error: error.into() }, expected: false }
    }
}
