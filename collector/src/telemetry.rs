//! What Tare knows about itself: its sampling loop, its server and its process.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

/// What Tare does and what it costs. `None` is unknown.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    /// The sampling loop.
    pub sampling: SamplingStats,
    /// The HTTP server.
    pub server: ServerStats,
    /// The process.
    pub process: ProcessStats,
    /// The sinks.
    pub sinks: Vec<SinkStats>,
    /// The recording, if there is one.
    pub recording: Option<RecordingStats>,
}

/// What is recorded to disk.
#[derive(Clone, Debug, Default)]
pub struct RecordingStats {
    /// Instants that were recorded.
    pub instants: u64,
    /// Instants that were not, because the disk was too slow.
    pub dropped: u64,
    /// Instants that were not, because writing failed.
    pub failed: u64,
    /// Bytes that were written to logs.
    pub written_bytes: u64,
    /// Bytes of all files.
    pub disk_bytes: u64,
    /// Numbers in all recorded instants.
    pub numbers: u64,
    /// CPU time of the thread that records.
    pub cpu_seconds: f64,
    /// Whether the last instant was recorded.
    pub is_recording: bool,
    /// What keeps it from recording.
    pub fault: Option<String>,
}

/// The sampling loop.
#[derive(Clone, Debug, Default)]
pub struct SamplingStats {
    /// Samples taken.
    pub samples: u64,
    /// Ticks that passed without a sample because the sample before was not finished.
    pub missed: u64,
    /// Duration of the last sample.
    pub last_seconds: f64,
    /// Duration of all samples together.
    pub seconds: f64,
    /// Time between two samples.
    pub interval_seconds: f64,
    /// Time between two reads of `memory.stat`; 0 means that each sample reads it.
    pub memory_stat_interval_seconds: f64,
    /// The kernel's counter tables.
    pub slots: Vec<SlotUsage>,
    /// Lifecycle events lost because the ring buffer was full.
    pub lost_events: Option<u64>,
    /// Kernel memory of the BPF maps.
    pub map_bytes: Option<u64>,
    /// Receipts that are kept.
    pub receipts: u64,
    /// Receipts that were dropped early because there were too many.
    pub receipts_dropped: u64,
    /// Memory of the recent history.
    pub history_bytes: u64,
    /// How many features the budget has switched off, from 0.
    pub budget_level: u32,
    /// Whether the budget allows histograms.
    pub histograms: bool,
    /// Capabilities that the sampling thread holds.
    pub capabilities: Vec<String>,
    /// Measured runs of the BPF programs; `None` before the first measurement.
    pub bpf_runs: Option<Arc<BpfRunStats>>,
}

/// Runs of the BPF programs, as far as the kernel measured them.
#[derive(Clone, Debug, Default)]
pub struct BpfRunStats {
    /// For how long the kernel measured.
    pub seconds: f64,
    /// Each program by its name.
    pub programs: BTreeMap<String, ProgramRuns>,
}

/// Runs of one BPF program.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgramRuns {
    /// Number of runs.
    pub count: u64,
    /// Duration of all runs together.
    pub seconds: f64,
}

/// One of the kernel's counter tables.
#[derive(Clone, Copy, Debug)]
pub struct SlotUsage {
    /// `network` or `block`.
    pub table: &'static str,
    /// Slots in use.
    pub used: u64,
    /// Size of the table.
    pub limit: u64,
    /// Whether some cgroups share the overflow slot because no other was free.
    pub overflowed: bool,
}

/// The HTTP server.
#[derive(Clone, Debug, Default)]
pub struct ServerStats {
    /// Open connections.
    pub connections: u64,
    /// Limit of open connections.
    pub connections_max: u64,
    /// Connections refused because the limit was reached.
    pub refused: u64,
    /// Responses, by the first digit of the status, from 1 to 5.
    pub answers: [u64; 5],
    /// Clients that were disconnected because they were too slow.
    pub timeouts: u64,
}

/// The process.
#[derive(Clone, Debug, Default)]
pub struct ProcessStats {
    /// CPU time.
    pub cpu_seconds: Option<f64>,
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// System calls that read, and that wrote.
    pub calls: Option<(u64, u64)>,
    /// When the process started.
    pub started_at: Option<Timestamp>,
}

/// A sink: a receiver that numbers are sent to.
#[derive(Clone, Debug, Default)]
pub struct SinkStats {
    /// Its name.
    pub name: String,
    /// Points that the receiver has accepted.
    pub delivered_points: u64,
    /// Bytes of accepted batches, as sent.
    pub sent_bytes: u64,
    /// Deliveries that failed and were tried again.
    pub retries: u64,
    /// Points dropped because the receiver refused them.
    pub rejected_points: u64,
    /// Points dropped because the queue, or the spool, was full.
    pub overflowed_points: u64,
    /// Points dropped because they were in the spool for too long.
    pub expired_points: u64,
    /// Batches in the spool that could not be read.
    pub corrupt_batches: u64,
    /// Samples that were due and not sent, because making the batches took too long.
    pub missed_samples: u64,
    /// Age of the oldest batch that is not delivered.
    pub lag_seconds: f64,
    /// Memory of the queue in use.
    pub queue_bytes: u64,
    /// Limit of the queue's memory.
    pub queue_bytes_max: u64,
    /// Size of the spool.
    pub spool_bytes: u64,
}
