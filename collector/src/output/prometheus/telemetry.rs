//! Metrics of Tare itself.

use crate::exposition::{Collect, Metric, counter_of, gauge_of};

pub(super) const METRICS: &[Metric] = &[
    gauge_of(
        "tare_build_info",
        "The version of Tare: always 1.",
        Collect::Tare(|_, out| out.with(&[("version", env!("CARGO_PKG_VERSION"))], 1_u64)),
    ),
    counter_of(
        "tare_samples_total",
        "Samples taken.",
        Collect::Tare(|tare, out| out.value(tare.sampling.samples)),
    ),
    counter_of(
        "tare_samples_missed_total",
        "Samples that were left out because the one before took too long.",
        Collect::Tare(|tare, out| out.value(tare.sampling.missed)),
    ),
    counter_of(
        "tare_sample_seconds_total",
        "Time that samples took, in seconds.",
        Collect::Tare(|tare, out| out.value(tare.sampling.seconds)),
    ),
    gauge_of(
        "tare_sample_last_seconds",
        "Time that the last sample took, in seconds.",
        Collect::Tare(|tare, out| out.value(tare.sampling.last_seconds)),
    ),
    gauge_of(
        "tare_sample_interval_seconds",
        "Time between two samples, in seconds.",
        Collect::Tare(|tare, out| out.value(tare.sampling.interval_seconds)),
    ),
    gauge_of(
        "tare_memory_stat_interval_seconds",
        "Time between two readings of memory.stat, in seconds; 0 if each sample reads it.",
        Collect::Tare(|tare, out| out.value(tare.sampling.memory_stat_interval_seconds)),
    ),
    gauge_of(
        "tare_slots_used",
        "Counter slots in the kernel that are in use.",
        Collect::Tare(|tare, out| {
            for slots in &tare.sampling.slots {
                out.with(&[("table", slots.table)], slots.used);
            }
        }),
    ),
    gauge_of(
        "tare_slots_limit",
        "Counter slots in the kernel.",
        Collect::Tare(|tare, out| {
            for slots in &tare.sampling.slots {
                out.with(&[("table", slots.table)], slots.limit);
            }
        }),
    ),
    gauge_of(
        "tare_slots_overflowed",
        "1 if some cgroups are counted together because no slot was free.",
        Collect::Tare(|tare, out| {
            for slots in &tare.sampling.slots {
                out.with(&[("table", slots.table)], u64::from(slots.overflowed));
            }
        }),
    ),
    counter_of(
        "tare_lost_events_total",
        "Events of the kernel that found no room.",
        Collect::Tare(|tare, out| out.value(tare.sampling.lost_events)),
    ),
    gauge_of(
        "tare_kernel_memory_bytes",
        "Kernel memory of the BPF maps.",
        Collect::Tare(|tare, out| out.value(tare.sampling.map_bytes)),
    ),
    counter_of(
        "tare_bpf_stats_seconds_total",
        "Time for which runs of BPF programs were counted, in seconds: it is to their counters what the time of day is \
         to others.",
        Collect::Tare(|tare, out| {
            out.value(tare.sampling.bpf_runs.as_ref().map(|runs| runs.seconds));
        }),
    ),
    counter_of(
        "tare_bpf_program_runs_total",
        "Runs of a BPF program of Tare while they were counted (tare_bpf_stats_seconds_total).",
        Collect::Tare(|tare, out| {
            for (name, runs) in tare.sampling.bpf_runs.iter().flat_map(|runs| &runs.programs) {
                out.with(&[("program", name)], runs.count);
            }
        }),
    ),
    counter_of(
        "tare_bpf_program_run_seconds_total",
        "Time that these runs took, in seconds, some 40 ns of the measurement itself in each.",
        Collect::Tare(|tare, out| {
            for (name, runs) in tare.sampling.bpf_runs.iter().flat_map(|runs| &runs.programs) {
                out.with(&[("program", name)], runs.seconds);
            }
        }),
    ),
    gauge_of(
        "tare_receipts",
        "Receipts of ended containers that are kept.",
        Collect::Tare(|tare, out| out.value(tare.sampling.receipts)),
    ),
    counter_of(
        "tare_receipts_dropped_total",
        "Receipts that were dropped before their time because there were too many.",
        Collect::Tare(|tare, out| out.value(tare.sampling.receipts_dropped)),
    ),
    gauge_of(
        "tare_capability_info",
        "A capability that is held: always 1.",
        Collect::Tare(|tare, out| {
            for capability in &tare.sampling.capabilities {
                out.with(&[("capability", capability)], 1_u64);
            }
        }),
    ),
    gauge_of(
        "tare_budget_level",
        "How much Tare has given up to keep to its budget: 0 is nothing, 1 histograms, 2 the history too, 3 most \
         readings of memory.stat too, from 4 on the interval grows.",
        Collect::Tare(|tare, out| out.value(u64::from(tare.sampling.budget_level))),
    ),
    gauge_of(
        "tare_history_bytes",
        "Memory that the recent history takes.",
        Collect::Tare(|tare, out| out.value(tare.sampling.history_bytes)),
    ),
    gauge_of(
        "tare_http_connections",
        "Connections that are open.",
        Collect::Tare(|tare, out| out.value(tare.server.connections)),
    ),
    gauge_of(
        "tare_http_connections_limit",
        "Connections that may be open.",
        Collect::Tare(|tare, out| out.value(tare.server.connections_max)),
    ),
    counter_of(
        "tare_http_connections_refused_total",
        "Connections that were refused because there were too many.",
        Collect::Tare(|tare, out| out.value(tare.server.refused)),
    ),
    counter_of(
        "tare_http_timeouts_total",
        "Clients that were cut off because they were too slow.",
        Collect::Tare(|tare, out| out.value(tare.server.timeouts)),
    ),
    counter_of(
        "tare_http_responses_total",
        "Requests answered, by class of status.",
        Collect::Tare(|tare, out| {
            let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
            for (class, count) in classes.into_iter().zip(tare.server.answers) {
                out.with(&[("class", class)], count);
            }
        }),
    ),
    counter_of(
        "process_cpu_seconds_total",
        "CPU time of Tare, in seconds.",
        Collect::Tare(|tare, out| out.value(tare.process.cpu_seconds)),
    ),
    gauge_of(
        "process_resident_memory_bytes",
        "Resident memory of Tare.",
        Collect::Tare(|tare, out| out.value(tare.process.resident_bytes)),
    ),
    counter_of(
        "tare_system_calls_total",
        "Calls of Tare to the kernel to read and to write, which are most of all.",
        Collect::Tare(|tare, out| {
            let (read, written) = tare.process.calls.unzip();
            out.with(&[("kind", "read")], read);
            out.with(&[("kind", "write")], written);
        }),
    ),
    gauge_of(
        "process_open_fds",
        "File descriptors of Tare.",
        Collect::Tare(|tare, out| out.value(tare.process.open_fds)),
    ),
    gauge_of(
        "process_start_time_seconds",
        "When Tare started, in seconds since 1970.",
        Collect::Tare(|tare, out| out.value(tare.process.started_at)),
    ),
];
