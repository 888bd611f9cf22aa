//! A thousand websockets, of which a hundred are never read, while containers come and go.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use futures_util::{StreamExt as _, future::try_join_all};
use http::Uri;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use tare_tests::{
    docker::Run,
    lab::Lab,
    tare_daemon::TareDaemon,
    tcp::free_address,
    wait::{self, PATIENCE},
};
use tokio::{
    net::TcpSocket,
    runtime,
    time::{sleep, timeout},
};
use tokio_websockets::ClientBuilder;

const CLIENTS: usize = 1_000;
const STALLED: usize = 100;

/// The receive buffer of a client that does not read: so that the daemon notices within the test.
const STALLED_BUFFER_BYTES: u32 = 4096;

/// How long all are open.
const OPEN_FOR: Duration = Duration::from_secs(30);

const INTERVAL: Duration = Duration::from_millis(500);

/// By how much the daemon's memory may grow: 32 KiB for each client, of which the kernel's buffers
/// are no part.
const GROWTH_BYTES_MAX: f64 = CLIENTS as f64 * 32.0 * 1024.0;

/// What the clients have done together.
#[derive(Default)]
struct Clients {
    opened: AtomicUsize,
    messages: AtomicUsize,
    /// Messages that a client was told to have missed.
    missed: AtomicU64,
    ends: AtomicBool,
}

/// What is known of the daemon.
#[derive(Debug)]
struct State {
    samples: f64,
    missed: f64,
    memory_bytes: f64,
    descriptors: usize,
}

#[test]
fn a_thousand_clients_hold_no_sample_up_and_leave_nothing() -> Result<()> {
    let lab = Lab::open()?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(65_536), hard)?;
    let address = free_address()?;
    let args = ["--listen", &address, "--interval", "500ms", "--max-connections", "2200"];
    let daemon = TareDaemon::start(&lab.tare, &args)?;
    let busy = lab.start(Run::load("spin --for 300s").option("--cpus", "0.1"))?;
    busy.ready()?;
    let path = format!("/api/v1/containers/{}", busy.name());
    wait::until(
        "the container",
        PATIENCE,
        || Ok((daemon.get(&path)?.status == 200).then_some(())),
    )?;
    let alone = State::of(&daemon)?;
    let clients = Clients::default();
    let measured = thread::scope(|scope| {
        let churn = scope.spawn(|| churn(&lab, &clients.ends));
        let serving = scope.spawn(|| clients.run(&address, busy.name()));
        let measured = clients.measure(&daemon);
        clients.ends.store(true, Relaxed);
        let joined = |_| anyhow!("a thread panicked");
        serving.join().map_err(joined)??;
        println!("{} containers came and went", churn.join().map_err(joined)??);
        measured
    });
    let (before, after) = measured?;
    let (samples, missed) = (after.samples - before.samples, after.missed - before.missed);
    let (messages, told) = (clients.messages.load(Relaxed), clients.missed.load(Relaxed));
    let growth = (after.memory_bytes - alone.memory_bytes).max(0.0);
    println!(
        "{samples} samples in {OPEN_FOR:?}, {missed} missed; {messages} messages, {told} told as \
         missed; {alone:?} alone, {after:?} at the end",
    );
    let expected = OPEN_FOR.as_secs_f64() / INTERVAL.as_secs_f64();
    ensure!(samples >= expected * 0.95 && missed <= 1.0, "{samples} of {expected}, {missed}");
    let read = (CLIENTS - STALLED) * expected as usize;
    ensure!(messages >= read * 9 / 10, "{messages} messages instead of {read}");
    ensure!(growth <= GROWTH_BYTES_MAX, "memory grew by {growth} bytes");
    wait::until("all descriptors to be closed", PATIENCE, || {
        let descriptors = State::of(&daemon)?.descriptors;
        // Containers that come and go have files too.
        Ok((descriptors <= alone.descriptors + 10).then_some(()))
    })?;
    Ok(())
}

/// Starts containers and removes them until told to stop; how many there were.
fn churn(lab: &Lab, ends: &AtomicBool) -> Result<usize> {
    let mut lives = 0;
    while !ends.load(Relaxed) {
        lab.start(Run::load("spin --for 300ms"))?.remove();
        lives += 1;
    }
    Ok(lives)
}

impl State {
    fn of(daemon: &TareDaemon) -> Result<Self> {
        Ok(Self {
            samples: daemon.metric("tare_samples_total")?,
            missed: daemon.metric("tare_samples_missed_total")?,
            memory_bytes: daemon.metric("process_resident_memory_bytes")?,
            descriptors: fs::read_dir(format!("/proc/{}/fd", daemon.id()))?.count(),
        })
    }
}

impl Clients {
    /// The daemon's state when all clients are there, and some time later.
    fn measure(&self, daemon: &TareDaemon) -> Result<(State, State)> {
        wait::until("all clients", 2 * PATIENCE, || {
            Ok((self.opened.load(Relaxed) == CLIENTS).then_some(()))
        })?;
        let before = State::of(daemon)?;
        self.messages.store(0, Relaxed);
        thread::sleep(OPEN_FOR);
        Ok((before, State::of(daemon)?))
    }

    fn run(&self, address: &str, busy: &str) -> Result<()> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        // A few different subscriptions: each is one list of messages for many clients.
        let paths = [
            "/api/v1/live".to_owned(),
            "/api/v1/live?every=1&filter=name%3D*".to_owned(),
            format!("/api/v1/live?container={busy}"),
        ];
        let clients = (0..CLIENTS).map(|at| {
            // Of those that do not read, each gets the longest messages.
            let is_stalled = at % (CLIENTS / STALLED) == 0;
            let path = &paths[if is_stalled { 2 } else { at % paths.len() }];
            self.client(address, path, is_stalled)
        });
        runtime.block_on(async { try_join_all(clients).await.map(drop) })
    }

    /// One client, until the end.
    async fn client(&self, address: &str, path: &str, is_stalled: bool) -> Result<()> {
        let socket = TcpSocket::new_v4()?;
        if is_stalled {
            socket.set_recv_buffer_size(STALLED_BUFFER_BYTES)?;
        }
        let stream = socket.connect(address.parse()?).await.context("connect")?;
        let uri: Uri = format!("ws://{address}{path}").parse()?;
        let (mut client, _) = ClientBuilder::from_uri(uri).connect_on(stream).await?;
        self.opened.fetch_add(1, Relaxed);
        while !self.ends.load(Relaxed) {
            if is_stalled {
                sleep(Duration::from_millis(100)).await;
                continue;
            }
            let Ok(next) = timeout(INTERVAL, client.next()).await else { continue };
            let message = next.context("the daemon has closed it")??;
            let Some(text) = message.as_text() else { continue };
            self.messages.fetch_add(1, Relaxed);
            if text.starts_with("{\"ticks\"") || text.contains("\"type\":\"skipped\"") {
                let skipped: Value = serde_json::from_str(text)?;
                self.missed.fetch_add(skipped["ticks"].as_u64().unwrap_or(0), Relaxed);
            }
        }
        Ok(())
    }
}
