//! What all faces share.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::{
    published::{Published, ServerCounts, SharedState},
    server::config::LiveConfig,
    telemetry::Telemetry,
};

/// What all faces share.
pub(crate) struct Context {
    /// What the sampling loop publishes.
    pub(crate) shared: Arc<SharedState>,
    /// When the daemon started.
    pub(crate) started_at: Timestamp,
    pub(super) counts: Arc<ServerCounts>,
    config: watch::Receiver<Arc<LiveConfig>>,
    ending: watch::Receiver<bool>,
}

impl Context {
    pub(super) fn new(
        shared: Arc<SharedState>,
        config: watch::Receiver<Arc<LiveConfig>>,
        ending: watch::Receiver<bool>,
    ) -> Self {
        let (started_at, counts) = (shared.started_at, Arc::clone(&shared.server));
        Self { shared, started_at, counts, config, ending }
    }

    /// The present configuration.
    pub(crate) fn config(&self) -> Arc<LiveConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// Follows the configuration.
    pub(crate) fn watch_config(&self) -> watch::Receiver<Arc<LiveConfig>> {
        self.config.clone()
    }

    /// Becomes true when the server stops.
    pub(crate) fn ending(&self) -> watch::Receiver<bool> {
        self.ending.clone()
    }

    /// How many connections may be open at a time.
    pub(crate) fn connections_max(&self) -> u64 {
        self.counts.connections_max
    }

    /// What the daemon does and costs itself.
    pub(crate) fn own(&self, published: &Published) -> Telemetry {
        self.shared.telemetry(published)
    }
}
