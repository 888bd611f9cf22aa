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
}

impl Context {
    pub(super) fn new(shared: Arc<SharedState>, config: watch::Receiver<Arc<LiveConfig>>) -> Self {
        let (started_at, counts) = (shared.started_at, Arc::clone(&shared.server));
        Self { shared, started_at, counts, config }
    }

    /// The present configuration.
    pub(crate) fn config(&self) -> Arc<LiveConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// What the daemon does and costs itself.
    pub(crate) fn own(&self, published: &Published) -> Telemetry {
        self.shared.telemetry(published)
    }
}
