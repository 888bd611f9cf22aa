//! The daemon's one HTTP server: a thread that serves any number of faces.
//!
//! Listeners, TLS, keys, limits and self-accounting are here, once for all faces. A face only says
//! which paths it answers, and how.
//!
//! To add a face:
//!
//! 1. Make a module in `faces/` with a struct that implements [`Face`]. Its `ROUTES` are the paths,
//!    each with a method of the struct as handler. What it needs of the daemon is in [`Context`].
//! 2. List it in `faces::router`. The index at `/` then shows its paths; describe them in
//!    `faces/openapi.json`.
//! 3. If it has listeners of its own, such as a socket at which another program is expected, add a
//!    [`ListenerGroup`], bind it in [`Listeners`], and name it in the face's `SERVED_ON`.

mod access;
pub(crate) mod answer;
mod config;
mod connection;
mod context;
mod dispatch;
mod face;
mod hosts;
mod listen;
pub(crate) mod query;
mod request;
mod takeover;
mod tls;

#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    io,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use hyper::{
    Request as HttpRequest, body::Incoming, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, UnixListener},
    runtime,
    sync::watch,
    task::{self, LocalSet},
    time,
};

pub(crate) use self::{
    config::LiveConfig,
    context::Context,
    face::{Face, ListenerGroup, Route, Router},
    listen::Listeners,
    request::Request,
    takeover::{Admission, Takeover},
};
use self::{
    connection::{Io, WriteTimeout},
    dispatch::{Dispatcher, Origin},
};
use crate::{
    process::{keep_capabilities, release_free_memory},
    published::{ServerCounts, SharedState},
    recurring::is_worth_logging,
};

/// How long a client may take to send the head of a request, the time between two requests of a
/// connection included.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest accepted head of a request, in bytes.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// How long the TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many headers a request may have.
const HEADERS_MAX: usize = 64;

/// How long open connections may take to finish when the program ends.
const GRACE: Duration = Duration::from_millis(500);

/// Wait after a failure to accept a connection, such as when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The thread that serves.
pub(crate) struct Server {
    thread: JoinHandle<()>,
    ending: watch::Sender<bool>,
}

impl Server {
    /// Starts to serve the faces that `router` makes. The thread keeps the nice value of the caller
    /// and gives up all capabilities: the sockets are open, and it reads nothing of other
    /// processes.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub(crate) fn spawn(
        listeners: Listeners,
        shared: Arc<SharedState>,
        config: watch::Receiver<Arc<LiveConfig>>,
        router: fn(&Rc<Context>) -> Result<Router>,
    ) -> Result<Self> {
        let (ending, end) = watch::channel(false);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            keep_capabilities(&[]);
            let context = Rc::new(Context::new(shared, config, end.clone()));
            let served = router(&context).and_then(|router| {
                let dispatcher = Rc::new(Dispatcher { context, router });
                LocalSet::new().block_on(&runtime, serve(listeners, dispatcher, end))
            });
            if let Err(error) = served {
                tracing::error!("the server has failed: {error:#}");
            }
        };
        let thread = thread::Builder::new().name("serve".to_owned()).spawn(run)?;
        Ok(Self { thread, ending })
    }

    /// Stops the server. Answers under way are finished within [`GRACE`].
    pub(crate) fn stop(self) {
        self.ending.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the serving thread has panicked");
        }
    }
}

async fn serve(
    mut listeners: Listeners,
    dispatcher: Rc<Dispatcher>,
    end: watch::Receiver<bool>,
) -> Result<()> {
    task::spawn_local(follow(Rc::clone(&dispatcher)));
    for (group, listener) in std::mem::take(&mut listeners.tcp) {
        let listener = TcpListener::from_std(listener).context("cannot listen")?;
        task::spawn_local(accept_tcp(listener, group, Rc::clone(&dispatcher), end.clone()));
    }
    for (group, listener) in std::mem::take(&mut listeners.unix) {
        let listener = UnixListener::from_std(listener).context("cannot listen")?;
        task::spawn_local(accept_unix(listener, group, Rc::clone(&dispatcher), end.clone()));
    }
    let mut ending = end;
    let _ = ending.wait_for(|ending| *ending).await;
    let _ = time::timeout(GRACE, async {
        while dispatcher.context.counts.connections.load(Relaxed) > 0 {
            time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    Ok(())
}

/// Passes what is published to the faces.
async fn follow(dispatcher: Rc<Dispatcher>) {
    let Dispatcher { context, router } = &*dispatcher;
    let mut watched = context.shared.watch();
    let mut known = None;
    while watched.changed().await.is_ok() {
        let latest = watched.borrow_and_update().clone();
        router.receipts_published(&latest);
        let Some(published) = latest.published else { continue };
        if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &published)) {
            continue;
        }
        if router.sampled(&published) {
            release_free_memory();
        }
        known = Some(published);
    }
}

async fn accept_tcp(
    listener: TcpListener,
    group: ListenerGroup,
    dispatcher: Rc<Dispatcher>,
    mut end: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = end.changed() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        // Small answers are not delayed.
        let _ = stream.set_nodelay(true);
        let Some(open) = open(&dispatcher) else { continue };
        let config = dispatcher.context.config();
        let mutual = config.mutual_tls.clone().filter(|_| group == ListenerGroup::Docker);
        // A client with a certificate of a known authority needs no key.
        let origin = Origin { group, is_trusted: mutual.is_some() };
        match mutual.or_else(|| config.tls.clone()) {
            None => connect(stream, open, origin, &dispatcher, &end),
            Some(tls) => {
                let (dispatcher, end) = (Rc::clone(&dispatcher), end.clone());
                task::spawn_local(async move {
                    match time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                        Ok(Ok(stream)) => connect(stream, open, origin, &dispatcher, &end),
                        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake has failed"),
                        Err(_) => drop(open),
                    }
                });
            }
        }
    }
}

async fn accept_unix(
    listener: UnixListener,
    group: ListenerGroup,
    dispatcher: Rc<Dispatcher>,
    mut end: watch::Receiver<bool>,
) {
    let origin = Origin { group, is_trusted: true };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = end.changed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                if let Some(open) = open(&dispatcher) {
                    connect(stream, open, origin, &dispatcher, &end);
                }
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn pause(error: &io::Error) {
    tracing::debug!(%error, "cannot accept a connection");
    time::sleep(ACCEPT_PAUSE).await;
}

/// Counts a connection; `None` if there are too many.
fn open(dispatcher: &Dispatcher) -> Option<OpenConnection> {
    let counts = &dispatcher.context.counts;
    if counts.connections.load(Relaxed) >= counts.connections_max {
        let refused = counts.refused.fetch_add(1, Relaxed) + 1;
        if is_worth_logging(refused) {
            tracing::warn!(
                "{} connections are open; more are refused, {refused} so far (see --max-connections)",
                counts.connections_max
            );
        }
        return None;
    }
    Some(OpenConnection::new(Arc::clone(counts)))
}

/// Serves a connection in a task of its own.
fn connect(
    stream: impl Io + 'static,
    open: OpenConnection,
    origin: Origin,
    dispatcher: &Rc<Dispatcher>,
    end: &watch::Receiver<bool>,
) {
    let stream = WriteTimeout::new(stream, Arc::clone(&dispatcher.context.counts));
    let (dispatcher, mut end) = (Rc::clone(dispatcher), end.clone());
    task::spawn_local(async move {
        let open = Arc::new(open);
        let answer = service_fn(|mut request: HttpRequest<Incoming>| {
            if request.headers().contains_key(header::UPGRADE) {
                request.extensions_mut().insert(Arc::clone(&open));
            }
            let dispatcher = Rc::clone(&dispatcher);
            async move { Ok::<_, Infallible>(dispatcher.answer(request, origin).await) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEADER_BYTES_MAX)
            .max_headers(HEADERS_MAX);
        let connection = http.serve_connection(TokioIo::new(stream), answer).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            _ = end.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection has ended");
        }
    });
}

/// A connection that is counted while it is open.
pub(crate) struct OpenConnection(Arc<ServerCounts>);

impl OpenConnection {
    fn new(counts: Arc<ServerCounts>) -> Self {
        counts.connections.fetch_add(1, Relaxed);
        Self(counts)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}
