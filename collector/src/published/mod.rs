//! What the sampling loop hands over to the server: the latest sample, the receipts, the recent
//! history and the feed of events.
//!
//! The two sides share nothing else. Publishing costs the sampling loop little: reports are made
//! on the server's thread, when a client asks for one.

mod counts;
pub(crate) mod excerpt;
mod feed;
pub(crate) mod history;
mod operations;
pub(crate) mod own_usage;
mod ring;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::watch;

use self::history::History;
pub(crate) use self::{
    counts::{ServerCounts, SinkCounters},
    feed::EventFeed,
};
use crate::{
    cgroup::Hierarchies,
    collector::SamplePair,
    config::Run,
    identity::ExitStatus,
    record::RecordingCounts,
    sample::{Receipt, Receipts},
    telemetry::{ProcessStats, SamplingStats, Telemetry},
};

/// How long the runtime of a container that has ended may take to say how: for so long the `ended`
/// event waits for a missing name or exit code. Docker takes some 10 ms.
pub(crate) const RUNTIME_WAIT: Duration = Duration::from_millis(250);

/// Whether the runtime has said all that it knows of an end, or has had its time to.
pub(crate) fn is_complete(receipt: &Receipt) -> bool {
    is_complete_after(receipt, RUNTIME_WAIT, |end| end.oom_killed.is_some())
}

/// Whether the runtime has said the name of a container and what is wanted of its end, or has had
/// this long to.
pub(crate) fn is_complete_after(
    receipt: &Receipt,
    wait: Duration,
    has_wanted: impl FnOnce(ExitStatus) -> bool,
) -> bool {
    (receipt.usage.metadata.is_some() && receipt.end.is_some_and(has_wanted))
        || receipt.ended.elapsed() >= wait
}

/// The latest sample and how it was taken.
pub(crate) struct Published {
    /// What reports are made of.
    pub(crate) pair: SamplePair,
    /// The state of the sampling loop.
    pub(crate) sampling: SamplingStats,
    /// When the next sample is due.
    interval: Duration,
    taken: Instant,
}

impl Published {
    /// The sample's age in intervals: above 1 the next sample is overdue.
    pub(crate) fn overdue(&self) -> f64 {
        self.taken.elapsed().as_secs_f64() / self.interval.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// What was published last. Receipts are published as soon as they are made, samples at each
/// interval.
#[derive(Clone)]
pub(crate) struct Latest {
    /// `None` before the first sample.
    pub(crate) published: Option<Arc<Published>>,
    /// At least the receipts of the sample.
    pub(crate) receipts: Receipts,
}

/// Where the server itself looks for the processes of a container, if a client asks for them.
#[derive(Default)]
pub(crate) struct ProcessSource {
    /// Where cgroups list their processes.
    pub(crate) hierarchies: Hierarchies,
    /// The host's `/proc`.
    pub(crate) proc_root: PathBuf,
}

/// What the sampling loop, the server and the sinks share.
pub(crate) struct SharedState {
    latest: watch::Sender<Latest>,
    history: Mutex<History>,
    /// Where processes are found.
    pub(crate) processes: ProcessSource,
    /// Events for all listeners.
    pub(crate) events: EventFeed,
    /// When the daemon started.
    pub(crate) started_at: Timestamp,
    /// What the server counts.
    pub(crate) server: Arc<ServerCounts>,
    /// What each sink counts.
    sinks: Mutex<Vec<Arc<SinkCounters>>>,
    /// What the recorder counts, if there is one.
    recording: OnceLock<Arc<RecordingCounts>>,
}

impl SharedState {
    /// Nothing is published yet.
    pub(crate) fn new(run: &Run, processes: ProcessSource) -> Self {
        let receipts = Receipts::new(0, Duration::ZERO);
        Self {
            latest: watch::Sender::new(Latest { published: None, receipts }),
            history: Mutex::new(History::new(run.history, run.history_memory, run.interval)),
            processes,
            events: EventFeed::default(),
            started_at: Timestamp::now(),
            server: Arc::new(ServerCounts::new(run.max_connections.into())),
            sinks: Mutex::default(),
            recording: OnceLock::new(),
        }
    }

    /// Sets what [`SharedState::telemetry`] has of sinks.
    pub(crate) fn set_sinks(&self, sinks: Vec<Arc<SinkCounters>>) {
        *self.sinks.lock().unwrap_or_else(PoisonError::into_inner) = sinks;
    }

    /// Sets what [`SharedState::telemetry`] has of the recording.
    pub(crate) fn set_recording(&self, counts: Option<Arc<RecordingCounts>>) {
        if let Some(counts) = counts {
            let _ = self.recording.set(counts);
        }
    }

    /// What the daemon does and costs itself.
    pub(crate) fn telemetry(&self, published: &Published) -> Telemetry {
        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        Telemetry {
            sampling: published.sampling.clone(),
            server: self.server.now(),
            process: ProcessStats { started_at: Some(self.started_at), ..own_usage::read() },
            sinks: sinks.iter().map(|sink| sink.now()).collect(),
            recording: self.recording.get().map(|counts| counts.now()),
        }
    }

    /// Publishes a sample with its receipts.
    pub(crate) fn publish(&self, pair: SamplePair, sampling: SamplingStats, interval: Duration) {
        let receipts = pair.receipts.clone();
        let published = Published { pair, sampling, interval, taken: Instant::now() };
        self.latest.send_replace(Latest { published: Some(published.into()), receipts });
    }

    /// Publishes receipts between two samples.
    pub(crate) fn publish_receipts(&self, receipts: Receipts) {
        self.latest.send_modify(|latest| latest.receipts = receipts);
    }

    /// The latest sample; `None` before the first one.
    pub(crate) fn published(&self) -> Option<Arc<Published>> {
        self.latest.borrow().published.clone()
    }

    /// The current receipts.
    pub(crate) fn receipts(&self) -> Receipts {
        self.latest.borrow().receipts.clone()
    }

    /// Follows what is published.
    pub(crate) fn watch(&self) -> watch::Receiver<Latest> {
        self.latest.subscribe()
    }

    /// The recent history.
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
