//! The thread that serves.

use std::{
    convert::Infallible,
    io,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::libc;
use tokio::{
    net::{TcpListener, UnixListener},
    runtime,
    sync::watch,
    task::{self, LocalSet},
    time,
};

use crate::{
    daemon::{
        connection::{Io, Patient},
        events,
        listen::Listeners,
        privileges,
        published::State,
        routes::Service,
        settings::Settings,
    },
    recurring::is_worth_logging,
};

/// How long a client may take to send the head of a request, the time between two requests of a
/// connection included.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the head of a request may take in bytes.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// How long the handshake of TLS may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many headers a request may have.
const HEADERS_MAX: usize = 64;

/// What open connections have to end when the program does.
const GRACE: Duration = Duration::from_millis(500);

/// Wait before the next connection is taken when none can be, as when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The thread that serves.
pub(super) struct Server {
    thread: JoinHandle<()>,
    ending: watch::Sender<bool>,
}

impl Server {
    /// Starts to serve.
    pub(super) fn spawn(
        listeners: Listeners,
        state: Arc<State>,
        settings: watch::Receiver<Arc<Settings>>,
    ) -> Result<Self> {
        let (ending, end) = watch::channel(false);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = move || {
            be_nice();
            privileges::keep(privileges::SERVING);
            let service = Service::new(state, settings);
            let served = LocalSet::new().block_on(&runtime, serve(listeners, service, end));
            if let Err(error) = served {
                tracing::error!("{error:#}");
            }
        };
        let thread = thread::Builder::new().name("serve".to_owned()).spawn(serve)?;
        Ok(Self { thread, ending })
    }

    /// Ends it: answers under way are finished, if that does not take long.
    pub(super) fn stop(self) {
        self.ending.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the thread that serves has failed");
        }
    }
}

/// Sampling goes first; serving has no reason to.
fn be_nice() {
    // SAFETY: changes the calling thread's own nice value, which is memory-safe in any case.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 0) };
}

async fn serve(
    mut listeners: Listeners,
    service: Service,
    end: watch::Receiver<bool>,
) -> Result<()> {
    let service = Rc::new(service);
    task::spawn_local(events::tell(Rc::clone(&service)));
    for listener in std::mem::take(&mut listeners.tcp) {
        let listener = TcpListener::from_std(listener).context("cannot listen")?;
        task::spawn_local(accept_tcp(listener, Rc::clone(&service), end.clone()));
    }
    if let Some(listener) = listeners.unix.take() {
        let listener = UnixListener::from_std(listener).context("cannot listen")?;
        task::spawn_local(accept_unix(listener, Rc::clone(&service), end.clone()));
    }
    let mut ending = end;
    let _ = ending.wait_for(|ending| *ending).await;
    let _ = time::timeout(GRACE, async {
        while service.state.counts.connections.load(Relaxed) > 0 {
            time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    Ok(())
}

async fn accept_tcp(listener: TcpListener, service: Rc<Service>, mut end: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = end.changed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                // Small answers go at once.
                let _ = stream.set_nodelay(true);
                let Some(open) = open(&service) else { continue };
                match service.settings().tls.clone() {
                    None => connect(stream, open, false, &service, &end),
                    Some(tls) => {
                        let (service, end) = (Rc::clone(&service), end.clone());
                        task::spawn_local(async move {
                            match time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                                Ok(Ok(stream)) => connect(stream, open, false, &service, &end),
                                Ok(Err(error)) => tracing::debug!(%error, "no TLS"),
                                Err(_) => drop(open),
                            }
                        });
                    }
                }
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn accept_unix(listener: UnixListener, service: Rc<Service>, mut end: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = end.changed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                // The file's permissions have said who may connect.
                if let Some(open) = open(&service) {
                    connect(stream, open, true, &service, &end);
                }
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn pause(error: &io::Error) {
    tracing::debug!(%error, "cannot take a connection");
    time::sleep(ACCEPT_PAUSE).await;
}

/// Counts a connection, if there are not too many.
fn open(service: &Service) -> Option<Open> {
    let counts = &service.state.counts;
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
    Some(Open::new(Arc::clone(&service.state)))
}

/// Serves a connection beside the others.
fn connect(
    stream: impl Io + 'static,
    open: Open,
    trusted: bool,
    service: &Rc<Service>,
    end: &watch::Receiver<bool>,
) {
    let stream = Patient::new(stream, Arc::clone(&service.state));
    let (service, mut end) = (Rc::clone(service), end.clone());
    task::spawn_local(async move {
        let _open = open;
        let answer = service_fn(|request| {
            let answer = service.answer(&request, trusted);
            async move { Ok::<_, Infallible>(answer) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEADER_BYTES_MAX)
            .max_headers(HEADERS_MAX);
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), answer));
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
struct Open(Arc<State>);

impl Open {
    fn new(state: Arc<State>) -> Self {
        state.counts.connections.fetch_add(1, Relaxed);
        Self(state)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counts.connections.fetch_sub(1, Relaxed);
    }
}
