//! Metrics of Tare itself.

use crate::{
    exposition::{Collect, Metric, Origin, Samples, Value, counter_of, gauge_of},
    telemetry::{SinkStats, Telemetry},
};

pub(super) const ORIGIN: Origin =
    Origin { source: "Tare's own counts", kernel: "all", cost: "a few additions", exceptions: &[] };

pub(super) const METRICS: &[Metric] = &[
    gauge_of(
        "tare_build_info",
        "The label holds the version of Tare; the value is always 1.",
        Collect::Tare(|_, out| out.with(&[("version", env!("CARGO_PKG_VERSION"))], 1_u64)),
    ),
    counter_of(
        "tare_samples_total",
        "Samples taken.",
        Collect::Tare(|tare, out| out.value(tare.sampling.samples)),
    ),
    counter_of(
        "tare_samples_missed_total",
        "Samples skipped because the previous one took too long.",
        Collect::Tare(|tare, out| out.value(tare.sampling.missed)),
    ),
    counter_of(
        "tare_sample_seconds_total",
        "Duration of all samples together, in seconds.",
        Collect::Tare(|tare, out| out.value(tare.sampling.seconds)),
    ),
    gauge_of(
        "tare_sample_last_seconds",
        "Duration of the last sample, in seconds.",
        Collect::Tare(|tare, out| out.value(tare.sampling.last_seconds)),
    ),
    gauge_of(
        "tare_sample_interval_seconds",
        "Time between two samples, in seconds.",
        Collect::Tare(|tare, out| out.value(tare.sampling.interval_seconds)),
    ),
    gauge_of(
        "tare_memory_stat_interval_seconds",
        "Time between two reads of memory.stat, in seconds; 0 if each sample reads it.",
        Collect::Tare(|tare, out| out.value(tare.sampling.memory_stat_interval_seconds)),
    ),
    gauge_of(
        "tare_slots_used",
        "Counter slots in use in the kernel.",
        Collect::Tare(|tare, out| {
            for slots in &tare.sampling.slots {
                out.with(&[("table", slots.table)], slots.used);
            }
        }),
    ),
    gauge_of(
        "tare_slots_limit",
        "Number of counter slots in the kernel.",
        Collect::Tare(|tare, out| {
            for slots in &tare.sampling.slots {
                out.with(&[("table", slots.table)], slots.limit);
            }
        }),
    ),
    gauge_of(
        "tare_slots_overflowed",
        "1 if some cgroups share the overflow slot because no other was free.",
        Collect::Tare(|tare, out| {
            for slots in &tare.sampling.slots {
                out.with(&[("table", slots.table)], u64::from(slots.overflowed));
            }
        }),
    ),
    counter_of(
        "tare_lost_events_total",
        "Lifecycle events lost because the ring buffer was full.",
        Collect::Tare(|tare, out| out.value(tare.sampling.lost_events)),
    ),
    gauge_of(
        "tare_kernel_memory_bytes",
        "Kernel memory of the BPF maps, in bytes.",
        Collect::Tare(|tare, out| out.value(tare.sampling.map_bytes)),
    ),
    counter_of(
        "tare_bpf_stats_seconds_total",
        "Time during which the kernel measured the runs of BPF programs, in seconds. The rate of the other \
         tare_bpf_ counters is their increase divided by the increase of this one.",
        Collect::Tare(|tare, out| {
            out.value(tare.sampling.bpf_runs.as_ref().map(|runs| runs.seconds));
        }),
    ),
    counter_of(
        "tare_bpf_program_runs_total",
        "Runs of a BPF program during tare_bpf_stats_seconds_total.",
        Collect::Tare(|tare, out| {
            for (name, runs) in tare.sampling.bpf_runs.iter().flat_map(|runs| &runs.programs) {
                out.with(&[("program", name)], runs.count);
            }
        }),
    ),
    counter_of(
        "tare_bpf_program_run_seconds_total",
        "Duration of tare_bpf_program_runs_total, in seconds; about 40 ns per run are the measurement itself.",
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
        "Receipts dropped early because there were too many.",
        Collect::Tare(|tare, out| out.value(tare.sampling.receipts_dropped)),
    ),
    gauge_of(
        "tare_capability_info",
        "The label names a capability that Tare holds; the value is always 1.",
        Collect::Tare(|tare, out| {
            for capability in &tare.sampling.capabilities {
                out.with(&[("capability", capability)], 1_u64);
            }
        }),
    ),
    gauge_of(
        "tare_budget_level",
        "What Tare has switched off to stay within its budget: 0 nothing, 1 histograms, 2 the history too, 3 most \
         reads of memory.stat too; from 4 on the interval is longer too.",
        Collect::Tare(|tare, out| out.value(u64::from(tare.sampling.budget_level))),
    ),
    gauge_of(
        "tare_history_bytes",
        "Memory of the recent history, in bytes.",
        Collect::Tare(|tare, out| out.value(tare.sampling.history_bytes)),
    ),
    gauge_of(
        "tare_http_connections",
        "Open HTTP connections.",
        Collect::Tare(|tare, out| out.value(tare.server.connections)),
    ),
    gauge_of(
        "tare_http_connections_limit",
        "Limit of open HTTP connections.",
        Collect::Tare(|tare, out| out.value(tare.server.connections_max)),
    ),
    counter_of(
        "tare_http_connections_refused_total",
        "HTTP connections refused because the limit was reached.",
        Collect::Tare(|tare, out| out.value(tare.server.refused)),
    ),
    counter_of(
        "tare_http_timeouts_total",
        "HTTP clients disconnected because they were too slow.",
        Collect::Tare(|tare, out| out.value(tare.server.timeouts)),
    ),
    counter_of(
        "tare_http_responses_total",
        "HTTP responses, by class of status.",
        Collect::Tare(|tare, out| {
            let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
            for (class, count) in classes.into_iter().zip(tare.server.answers) {
                out.with(&[("class", class)], count);
            }
        }),
    ),
    counter_of(
        "tare_sink_delivered_points_total",
        "Points that the receiver of a sink has accepted.",
        Collect::Tare(|tare, out| each_sink(tare, out, |sink| sink.delivered_points)),
    ),
    counter_of(
        "tare_sink_sent_bytes_total",
        "Bytes of accepted batches, as sent.",
        Collect::Tare(|tare, out| each_sink(tare, out, |sink| sink.sent_bytes)),
    ),
    counter_of(
        "tare_sink_retries_total",
        "Deliveries that failed and were tried again.",
        Collect::Tare(|tare, out| each_sink(tare, out, |sink| sink.retries)),
    ),
    counter_of(
        "tare_sink_dropped_points_total",
        "Points that were not delivered: refused by the receiver, no room in the queue, or too old.",
        Collect::Tare(|tare, out| {
            for sink in &tare.sinks {
                for (reason, points) in [
                    ("rejected", sink.rejected_points),
                    ("queue_full", sink.overflowed_points),
                    ("too_old", sink.expired_points),
                ] {
                    out.with(&[("sink", &sink.name), ("reason", reason)], points);
                }
            }
        }),
    ),
    counter_of(
        "tare_sink_corrupt_batches_total",
        "Batches in the spool that could not be read and were skipped.",
        Collect::Tare(|tare, out| each_sink(tare, out, |sink| sink.corrupt_batches)),
    ),
    counter_of(
        "tare_sink_missed_samples_total",
        "Samples that were due and not sent, because making batches took too long.",
        Collect::Tare(|tare, out| each_sink(tare, out, |sink| sink.missed_samples)),
    ),
    gauge_of(
        "tare_sink_lag_seconds",
        "Age of the oldest batch that is not delivered, in seconds; 0 if all are.",
        Collect::Tare(|tare, out| each_sink(tare, out, |sink| sink.lag_seconds)),
    ),
    gauge_of(
        "tare_sink_queue_bytes",
        "Memory that batches take in the queue.",
        Collect::Tare(|tare, out| each_sink(tare, out, |sink| sink.queue_bytes)),
    ),
    gauge_of(
        "tare_sink_queue_limit_bytes",
        "Memory that batches may take in the queue.",
        Collect::Tare(|tare, out| each_sink(tare, out, |sink| sink.queue_bytes_max)),
    ),
    gauge_of(
        "tare_sink_spool_bytes",
        "Bytes of batches on disk.",
        Collect::Tare(|tare, out| each_sink(tare, out, |sink| sink.spool_bytes)),
    ),
    gauge_of(
        "tare_record_active",
        "1 while samples are recorded to disk, 0 if that fails.",
        Collect::Tare(|tare, out| {
            out.value(tare.recording.as_ref().map(|it| u64::from(it.is_recording)));
        }),
    ),
    counter_of(
        "tare_record_samples_total",
        "Samples that were recorded to disk.",
        Collect::Tare(|tare, out| out.value(tare.recording.as_ref().map(|it| it.instants))),
    ),
    counter_of(
        "tare_record_lost_samples_total",
        "Samples that were not recorded: the disk was too slow, or writing failed.",
        Collect::Tare(|tare, out| {
            if let Some(recording) = &tare.recording {
                out.with(&[("reason", "slow")], recording.dropped);
                out.with(&[("reason", "failed")], recording.failed);
            }
        }),
    ),
    counter_of(
        "tare_record_values_total",
        "Numbers in all recorded samples.",
        Collect::Tare(|tare, out| out.value(tare.recording.as_ref().map(|it| it.numbers))),
    ),
    counter_of(
        "tare_record_written_bytes_total",
        "Bytes that were written to logs, before they are sealed into blocks.",
        Collect::Tare(|tare, out| out.value(tare.recording.as_ref().map(|it| it.written_bytes))),
    ),
    gauge_of(
        "tare_record_disk_bytes",
        "Bytes of all files of the recording.",
        Collect::Tare(|tare, out| out.value(tare.recording.as_ref().map(|it| it.disk_bytes))),
    ),
    counter_of(
        "tare_record_cpu_seconds_total",
        "CPU time of the thread that records, in seconds.",
        Collect::Tare(|tare, out| out.value(tare.recording.as_ref().map(|it| it.cpu_seconds))),
    ),
    counter_of(
        "process_cpu_seconds_total",
        "CPU time of Tare, in seconds.",
        Collect::Tare(|tare, out| out.value(tare.process.cpu_seconds)),
    ),
    gauge_of(
        "process_resident_memory_bytes",
        "Resident memory of Tare, in bytes.",
        Collect::Tare(|tare, out| out.value(tare.process.resident_bytes)),
    ),
    counter_of(
        "tare_system_calls_total",
        "System calls of Tare that read or wrote, by kind.",
        Collect::Tare(|tare, out| {
            let (read, written) = tare.process.calls.unzip();
            out.with(&[("kind", "read")], read);
            out.with(&[("kind", "write")], written);
        }),
    ),
    gauge_of(
        "process_open_fds",
        "Open file descriptors of Tare.",
        Collect::Tare(|tare, out| out.value(tare.process.open_fds)),
    ),
    gauge_of(
        "process_start_time_seconds",
        "When Tare started, in seconds since 1970.",
        Collect::Tare(|tare, out| out.value(tare.process.started_at)),
    ),
];

fn each_sink<V: Into<Value>>(tare: &Telemetry, out: &mut Samples, number: fn(&SinkStats) -> V) {
    for sink in &tare.sinks {
        out.with(&[("sink", &sink.name)], number(sink));
    }
}
