//! What all faces share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::{
    published::{Published, SharedState, own_usage},
    server::config::LiveConfig,
    telemetry::{ProcessStats, ServerStats, Telemetry},
};

/// What all faces share.
pub(crate) struct Context {
    /// What the sampling loop publishes.
    pub(crate) shared: Arc<SharedState>,
    /// When the daemon started.
    pub(crate) started_at: Timestamp,
    pub(super) counts: Arc<ServerCounts>,
    config: watch::Receiver<Arc<LiveConfig>>,
}

impl Context {
    pub(super) fn new(shared: Arc<SharedState>, config: watch::Receiver<Arc<LiveConfig>>) -> Self {
        let counts = ServerCounts::new(config.borrow().run.max_connections.into());
        Self { shared, started_at: Timestamp::now(), counts: counts.into(), config }
    }

    /// The present configuration.
    pub(crate) fn config(&self) -> Arc<LiveConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// What the daemon does and costs itself.
    pub(crate) fn own(&self, published: &Published) -> Telemetry {
        Telemetry {
            sampling: published.sampling.clone(),
            server: self.counts.now(),
            process: ProcessStats { started_at: Some(self.started_at), ..own_usage::read() },
        }
    }
}

/// What the server counts of itself, for all faces together.
#[derive(Default)]
pub(super) struct ServerCounts {
    pub(super) connections: AtomicU64,
    pub(super) connections_max: u64,
    pub(super) refused: AtomicU64,
    pub(super) timeouts: AtomicU64,
    answers: [AtomicU64; 5],
}

impl ServerCounts {
    pub(super) fn new(connections_max: u64) -> Self {
        Self { connections_max, ..Self::default() }
    }

    /// Counts an answer by the class of its status.
    pub(super) fn answered(&self, status: u16) {
        if let Some(class) = self.answers.get(usize::from(status / 100).wrapping_sub(1)) {
            class.fetch_add(1, Relaxed);
        }
    }

    fn now(&self) -> ServerStats {
        ServerStats {
            connections: self.connections.load(Relaxed),
            connections_max: self.connections_max,
            refused: self.refused.load(Relaxed),
            answers: std::array::from_fn(|class| self.answers[class].load(Relaxed)),
            timeouts: self.timeouts.load(Relaxed),
        }
    }
}
