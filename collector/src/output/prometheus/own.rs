//! What Tare itself is, does and costs.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use crate::output::prometheus::family::{Family, Of, counter_of, gauge_of};

/// What Tare itself is, does and costs. `None` is unknown.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// The sampling loop.
    pub sampling: Sampling,
    /// The server.
    pub serving: Serving,
    /// The process.
    pub process: Process,
}

/// How the sampling loop fares.
#[derive(Clone, Debug, Default)]
pub struct Sampling {
    /// Samples taken.
    pub samples: u64,
    /// Ticks of the loop that came too late to be used.
    pub missed: u64,
    /// How long the last sample took.
    pub last_seconds: f64,
    /// How long all of them took.
    pub seconds: f64,
    /// Time between two samples.
    pub interval_seconds: f64,
    /// Time between two readings of `memory.stat`; 0 is in each sample.
    pub memory_stat_interval_seconds: f64,
    /// The kernel's counter tables.
    pub slots: Vec<Slots>,
    /// Events that found no room in the ring.
    pub lost_events: Option<u64>,
    /// Kernel memory of the maps.
    pub map_bytes: Option<u64>,
    /// Receipts that are kept.
    pub receipts: u64,
    /// Receipts that were dropped before their time.
    pub receipts_dropped: u64,
    /// Memory that the history takes.
    pub history_bytes: u64,
    /// How much was given up to keep to the budget, from 0.
    pub budget_level: u32,
    /// Whether the budget allows histograms.
    pub histograms: bool,
    /// Capabilities that sampling holds.
    pub capabilities: Vec<String>,
    /// What was seen of the programs in the kernel.
    pub bpf_runs: Option<Arc<BpfRuns>>,
}

/// Runs of the programs in the kernel while they were counted.
#[derive(Clone, Debug, Default)]
pub struct BpfRuns {
    /// For how long they were.
    pub seconds: f64,
    /// Each program by its name.
    pub programs: BTreeMap<String, ProgramRuns>,
}

/// Runs of one program.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgramRuns {
    /// How many.
    pub count: u64,
    /// How long they took together.
    pub seconds: f64,
}

/// One of the kernel's counter tables.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    /// `network` or `block`.
    pub table: &'static str,
    /// Slots in use.
    pub used: u64,
    /// Slots that there are.
    pub limit: u64,
    /// Whether some cgroups are counted together because no slot was free.
    pub overflowed: bool,
}

/// How the server fares.
#[derive(Clone, Debug, Default)]
pub struct Serving {
    /// Connections that are open.
    pub connections: u64,
    /// The most that may be open.
    pub connections_max: u64,
    /// Connections that were refused because there were too many.
    pub refused: u64,
    /// Requests answered, by the first digit of the status, from 1 to 5.
    pub answers: [u64; 5],
    /// Clients that were cut off because they were too slow.
    pub timeouts: u64,
}

/// What the process uses.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// CPU time.
    pub cpu_seconds: Option<f64>,
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// File descriptors.
    pub open_fds: Option<u64>,
    /// System calls that read, and that wrote.
    pub calls: Option<(u64, u64)>,
    /// When it started.
    pub started_at: Option<Timestamp>,
}

pub(super) const FAMILIES: &[Family] = &[
    gauge_of(
        "tare_build_info",
        "The version of Tare: always 1.",
        Of::Own(|_, out| out.with(&[("version", env!("CARGO_PKG_VERSION"))], 1_u64)),
    ),
    counter_of(
        "tare_samples_total",
        "Samples taken.",
        Of::Own(|own, out| out.value(own.sampling.samples)),
    ),
    counter_of(
        "tare_samples_missed_total",
        "Samples that were left out because the one before took too long.",
        Of::Own(|own, out| out.value(own.sampling.missed)),
    ),
    counter_of(
        "tare_sample_seconds_total",
        "Time that samples took, in seconds.",
        Of::Own(|own, out| out.value(own.sampling.seconds)),
    ),
    gauge_of(
        "tare_sample_last_seconds",
        "Time that the last sample took, in seconds.",
        Of::Own(|own, out| out.value(own.sampling.last_seconds)),
    ),
    gauge_of(
        "tare_sample_interval_seconds",
        "Time between two samples, in seconds.",
        Of::Own(|own, out| out.value(own.sampling.interval_seconds)),
    ),
    gauge_of(
        "tare_memory_stat_interval_seconds",
        "Time between two readings of memory.stat, in seconds; 0 if each sample reads it.",
        Of::Own(|own, out| out.value(own.sampling.memory_stat_interval_seconds)),
    ),
    gauge_of(
        "tare_slots_used",
        "Counter slots in the kernel that are in use.",
        Of::Own(|own, out| {
            for slots in &own.sampling.slots {
                out.with(&[("table", slots.table)], slots.used);
            }
        }),
    ),
    gauge_of(
        "tare_slots_limit",
        "Counter slots in the kernel.",
        Of::Own(|own, out| {
            for slots in &own.sampling.slots {
                out.with(&[("table", slots.table)], slots.limit);
            }
        }),
    ),
    gauge_of(
        "tare_slots_overflowed",
        "1 if some cgroups are counted together because no slot was free.",
        Of::Own(|own, out| {
            for slots in &own.sampling.slots {
                out.with(&[("table", slots.table)], u64::from(slots.overflowed));
            }
        }),
    ),
    counter_of(
        "tare_lost_events_total",
        "Events of the kernel that found no room.",
        Of::Own(|own, out| out.value(own.sampling.lost_events)),
    ),
    gauge_of(
        "tare_kernel_memory_bytes",
        "Kernel memory of the BPF maps.",
        Of::Own(|own, out| out.value(own.sampling.map_bytes)),
    ),
    counter_of(
        "tare_bpf_stats_seconds_total",
        "Time for which runs of BPF programs were counted, in seconds: it is to their counters what the time of day is \
         to others.",
        Of::Own(|own, out| out.value(own.sampling.bpf_runs.as_ref().map(|runs| runs.seconds))),
    ),
    counter_of(
        "tare_bpf_program_runs_total",
        "Runs of a BPF program of Tare while they were counted (tare_bpf_stats_seconds_total).",
        Of::Own(|own, out| {
            for (name, runs) in own.sampling.bpf_runs.iter().flat_map(|runs| &runs.programs) {
                out.with(&[("program", name)], runs.count);
            }
        }),
    ),
    counter_of(
        "tare_bpf_program_run_seconds_total",
        "Time that these runs took, in seconds, some 40 ns of the measurement itself in each.",
        Of::Own(|own, out| {
            for (name, runs) in own.sampling.bpf_runs.iter().flat_map(|runs| &runs.programs) {
                out.with(&[("program", name)], runs.seconds);
            }
        }),
    ),
    gauge_of(
        "tare_receipts",
        "Receipts of ended containers that are kept.",
        Of::Own(|own, out| out.value(own.sampling.receipts)),
    ),
    counter_of(
        "tare_receipts_dropped_total",
        "Receipts that were dropped before their time because there were too many.",
        Of::Own(|own, out| out.value(own.sampling.receipts_dropped)),
    ),
    gauge_of(
        "tare_capability_info",
        "A capability that is held: always 1.",
        Of::Own(|own, out| {
            for capability in &own.sampling.capabilities {
                out.with(&[("capability", capability)], 1_u64);
            }
        }),
    ),
    gauge_of(
        "tare_budget_level",
        "How much Tare has given up to keep to its budget: 0 is nothing, 1 histograms, 2 the history too, 3 most \
         readings of memory.stat too, from 4 on the interval grows.",
        Of::Own(|own, out| out.value(u64::from(own.sampling.budget_level))),
    ),
    gauge_of(
        "tare_history_bytes",
        "Memory that the recent history takes.",
        Of::Own(|own, out| out.value(own.sampling.history_bytes)),
    ),
    gauge_of(
        "tare_http_connections",
        "Connections that are open.",
        Of::Own(|own, out| out.value(own.serving.connections)),
    ),
    gauge_of(
        "tare_http_connections_limit",
        "Connections that may be open.",
        Of::Own(|own, out| out.value(own.serving.connections_max)),
    ),
    counter_of(
        "tare_http_connections_refused_total",
        "Connections that were refused because there were too many.",
        Of::Own(|own, out| out.value(own.serving.refused)),
    ),
    counter_of(
        "tare_http_timeouts_total",
        "Clients that were cut off because they were too slow.",
        Of::Own(|own, out| out.value(own.serving.timeouts)),
    ),
    counter_of(
        "tare_http_responses_total",
        "Requests answered, by class of status.",
        Of::Own(|own, out| {
            let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
            for (class, count) in classes.into_iter().zip(own.serving.answers) {
                out.with(&[("class", class)], count);
            }
        }),
    ),
    counter_of(
        "process_cpu_seconds_total",
        "CPU time of Tare, in seconds.",
        Of::Own(|own, out| out.value(own.process.cpu_seconds)),
    ),
    gauge_of(
        "process_resident_memory_bytes",
        "Resident memory of Tare.",
        Of::Own(|own, out| out.value(own.process.resident_bytes)),
    ),
    counter_of(
        "tare_system_calls_total",
        "Calls of Tare to the kernel to read and to write, which are most of all.",
        Of::Own(|own, out| {
            let (read, written) = own.process.calls.unzip();
            out.with(&[("kind", "read")], read);
            out.with(&[("kind", "write")], written);
        }),
    ),
    gauge_of(
        "process_open_fds",
        "File descriptors of Tare.",
        Of::Own(|own, out| out.value(own.process.open_fds)),
    ),
    gauge_of(
        "process_start_time_seconds",
        "When Tare started, in seconds since 1970.",
        Of::Own(|own, out| out.value(own.process.started_at)),
    ),
];
