//! The text of each cell.

use std::collections::BTreeMap;

use tare_model::{Container, Ended, Histogram, LoadAverages, Pressure, WaitingTask};

use crate::output::{
    row::Row,
    select::is_called,
    text::cut,
    units::{bytes_size, duration, human_size, percent, span},
};

pub(crate) const UNKNOWN: &str = "--";

/// How many characters of an id are shown.
pub(crate) const SHORT_ID: usize = 12;

pub(super) fn id(row: &Row<'_>) -> String {
    let id = &row.container.id;
    let is_long = id.len() == 64 && !row.cells.no_trunc;
    cut(id, if is_long { SHORT_ID } else { usize::MAX }).to_owned()
}

pub(super) fn container(row: &Row<'_>) -> String {
    let asked = row.cells.names.iter().find(|name| is_called(row.container, name));
    asked.cloned().unwrap_or_else(|| id(row))
}

pub(super) fn name(row: &Row<'_>) -> String {
    let Container { id, name, .. } = row.container;
    // A shorter id was chosen by a person.
    let own_name = (id.len() != 64).then_some(id);
    text_or_unknown(name.as_ref().or(own_name))
}

pub(super) fn image(row: &Row<'_>) -> String {
    text_or_unknown(row.container.image.as_ref())
}

pub(super) fn runtime(row: &Row<'_>) -> String {
    text_or_unknown(row.container.runtime.as_deref())
}

pub(super) fn pod(row: &Row<'_>) -> String {
    text_or_unknown(row.container.pod_name())
}

pub(super) fn namespace(row: &Row<'_>) -> String {
    text_or_unknown(row.container.pod_namespace())
}

pub(super) fn labels(row: &Row<'_>) -> String {
    pairs(&row.container.labels)
}

pub(super) fn environment(row: &Row<'_>) -> String {
    pairs(&row.container.environment)
}

fn pairs(entries: &BTreeMap<String, String>) -> String {
    let pairs = entries.iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}

pub(super) fn cgroup(row: &Row<'_>) -> String {
    row.container.cgroup.clone()
}

pub(super) fn state(row: &Row<'_>) -> String {
    row.container.state.to_string()
}

pub(super) fn started(row: &Row<'_>) -> String {
    text_or_unknown(row.container.started_at)
}

pub(super) fn to_exec(row: &Row<'_>) -> String {
    let startup = &row.container.startup;
    known(startup.made_at.zip(startup.exec_at), |(made, exec)| {
        seconds(exec.duration_since(made).as_secs_f64())
    })
}

pub(super) fn to_listen(row: &Row<'_>) -> String {
    let startup = &row.container.startup;
    known(startup.made_at.zip(startup.listen_at), |(made, listen)| {
        seconds(listen.duration_since(made).as_secs_f64())
    })
}

pub(super) fn ended(row: &Row<'_>) -> String {
    known(row.ended, |ended| {
        let ago = row.now.duration_since(ended.ended_at).as_secs_f64().max(0.0);
        format!("{ago:.1} s ago")
    })
}

/// `final`, or why the totals are not final.
pub(super) fn totals(row: &Row<'_>) -> String {
    known(row.ended, finality)
}

/// Whether the totals of a receipt are final, as text.
pub(crate) fn finality(ended: &Ended) -> String {
    let oldest = ended.finality.values().filter_map(|how| how.age_seconds).reduce(f64::max);
    let unknown = ended.finality.values().any(|how| how.state == "unknown");
    match oldest {
        Some(age) => format!("{age:.1} s before the end"),
        None if unknown => "final, some unknown".to_owned(),
        None => "final".to_owned(),
    }
}

pub(super) fn cpu(row: &Row<'_>) -> String {
    known(row.container.cpu.percent, percent)
}

pub(super) fn cpu_time(row: &Row<'_>) -> String {
    known(row.container.cpu.usage_seconds, seconds)
}

pub(super) fn cpu_limit(row: &Row<'_>) -> String {
    known(row.container.cpu.limit_cores, |cores| format!("{cores:.2}"))
}

pub(super) fn throttled(row: &Row<'_>) -> String {
    let cpu = &row.container.cpu;
    known(cpu.throttled_periods.zip(cpu.periods), |(throttled, periods)| {
        // A cgroup that never ran was never throttled.
        percent(100.0 * throttled as f64 / periods.max(1) as f64)
    })
}

pub(super) fn throttled_time(row: &Row<'_>) -> String {
    known(row.container.cpu.throttled_seconds, seconds)
}

pub(super) fn cpu_pressure(row: &Row<'_>) -> String {
    pressure(row.container.cpu.pressure)
}

pub(super) fn memory(row: &Row<'_>) -> String {
    let memory = &row.container.memory;
    format!(
        "{} / {}",
        known(memory.working_set_bytes, bytes_size),
        known(memory.limit_bytes, bytes_size)
    )
}

pub(super) fn memory_percent(row: &Row<'_>) -> String {
    known(row.container.memory.percent, percent)
}

pub(super) fn working_set(row: &Row<'_>) -> String {
    known(row.container.memory.working_set_bytes, bytes_size)
}

pub(super) fn memory_total(row: &Row<'_>) -> String {
    known(row.container.memory.usage_bytes, bytes_size)
}

pub(super) fn memory_limit(row: &Row<'_>) -> String {
    known(row.container.memory.limit_bytes, bytes_size)
}

pub(super) fn rss(row: &Row<'_>) -> String {
    known(row.container.memory.rss_bytes, bytes_size)
}

pub(super) fn cache(row: &Row<'_>) -> String {
    known(row.container.memory.cache_bytes, bytes_size)
}

pub(super) fn swap(row: &Row<'_>) -> String {
    known(row.container.memory.swap_bytes, bytes_size)
}

pub(super) fn memory_peak(row: &Row<'_>) -> String {
    known(row.container.memory.peak_bytes, bytes_size)
}

pub(super) fn oom_kills(row: &Row<'_>) -> String {
    text_or_unknown(row.container.memory.oom_kills)
}

pub(super) fn memory_pressure(row: &Row<'_>) -> String {
    pressure(row.container.memory.pressure)
}

/// Bytes of the container's own sockets are marked.
pub(super) fn net(row: &Row<'_>) -> String {
    network(row.container, row.cells.marks)
}

/// NET I/O of a container.
pub(crate) fn network(row: &Container, marks: bool) -> String {
    let io = row.network.io();
    let mark = if io.own_sockets && marks { "*" } else { "" };
    pair(io.rx_bytes, io.tx_bytes, human_size) + mark
}

pub(super) fn sockets(row: &Row<'_>) -> String {
    let sockets = row.container.network.sockets;
    pair(
        sockets.map(|sockets| sockets.rx_bytes),
        sockets.map(|sockets| sockets.tx_bytes),
        human_size,
    )
}

pub(super) fn retransmits(row: &Row<'_>) -> String {
    text_or_unknown(row.container.network.tcp_events.and_then(|events| events.retransmits))
}

pub(super) fn connections(row: &Row<'_>) -> String {
    let connections = row.container.network.tcp_events.and_then(|events| events.connections);
    known(connections, |connections| format!("{} / {}", connections.opened, connections.accepted))
}

pub(super) fn failed_connections(row: &Row<'_>) -> String {
    let connections = row.container.network.tcp_events.and_then(|events| events.connections);
    text_or_unknown(connections.map(|connections| connections.failed))
}

pub(super) fn block(row: &Row<'_>) -> String {
    let total = &row.container.block.total;
    pair(total.read_bytes, total.write_bytes, human_size)
}

pub(super) fn block_ops(row: &Row<'_>) -> String {
    let total = &row.container.block.total;
    pair(total.read_ops, total.write_ops, |count| count.to_string())
}

pub(super) fn block_errors(row: &Row<'_>) -> String {
    text_or_unknown(row.container.block.total.errors)
}

pub(super) fn in_flight(row: &Row<'_>) -> String {
    text_or_unknown(row.container.block.total.in_flight)
}

pub(super) fn read_p50(row: &Row<'_>) -> String {
    latency(row, |latency| &latency.read, 0.5)
}

pub(super) fn read_p99(row: &Row<'_>) -> String {
    latency(row, |latency| &latency.read, 0.99)
}

pub(super) fn write_p50(row: &Row<'_>) -> String {
    latency(row, |latency| &latency.write, 0.5)
}

pub(super) fn write_p99(row: &Row<'_>) -> String {
    latency(row, |latency| &latency.write, 0.99)
}

pub(super) fn load(row: &Row<'_>) -> String {
    known(row.container.tasks.load, load_averages)
}

/// Load averages over 1, 5 and 15 minutes.
pub(crate) fn load_averages(load: LoadAverages) -> String {
    let LoadAverages { one_minute, five_minutes, fifteen_minutes, .. } = load;
    format!("{one_minute:.2} {five_minutes:.2} {fifteen_minutes:.2}")
}

/// Who hangs, for how long, and where.
pub(crate) fn hanging(task: &WaitingTask) -> String {
    let WaitingTask { pid, tid, command, seconds, io, function } = task;
    let name = command.as_deref().unwrap_or(UNKNOWN);
    let thread = if pid == tid { String::new() } else { format!(", thread {tid}") };
    let what = if *io { " for I/O" } else { "" };
    let place = known(function.as_ref(), |function| format!(" in {function}"));
    let place = if function.is_some() { place } else { String::new() };
    format!("{name} (pid {pid}{thread}) for {}{what}{place}", span(*seconds))
}

pub(super) fn runnable(row: &Row<'_>) -> String {
    let tasks = &row.container.tasks;
    text_or_unknown(tasks.running.zip(tasks.runnable).map(|(running, ready)| running + ready))
}

pub(super) fn blocked(row: &Row<'_>) -> String {
    text_or_unknown(row.container.tasks.uninterruptible)
}

pub(super) fn run_wait(row: &Row<'_>) -> String {
    let tasks = &row.container.tasks;
    let now = known(tasks.waiting_for_cpu, |tasks| format!("{tasks:.2}"));
    pair(
        Some(now).filter(|_| tasks.run_queue_seconds.is_some()),
        tasks.run_queue_seconds.map(seconds),
        |text| text,
    )
}

pub(super) fn zombies(row: &Row<'_>) -> String {
    text_or_unknown(row.container.tasks.zombies)
}

pub(super) fn descriptors(row: &Row<'_>) -> String {
    text_or_unknown(row.container.tasks.file_descriptors)
}

pub(super) fn pids(row: &Row<'_>) -> String {
    text_or_unknown(row.container.pids.current)
}

pub(super) fn pids_limit(row: &Row<'_>) -> String {
    text_or_unknown(row.container.pids.limit)
}

fn latency(row: &Row<'_>, side: fn(&tare_model::Latency) -> &Histogram, share: f64) -> String {
    let Some(latency) = &row.container.block.latency else {
        return UNKNOWN.to_owned();
    };
    known(latency.quantile(side(latency), share), |bound| {
        if bound.is_finite() {
            return duration(bound);
        }
        known(latency.le_seconds.last(), |last| format!(">{}", duration(*last)))
    })
}

fn pressure(pressure: Option<Pressure>) -> String {
    let Pressure { some_seconds, full_seconds, .. } = pressure.unwrap_or_default();
    pair(some_seconds, full_seconds, seconds)
}

fn seconds(value: f64) -> String {
    format!("{value:.3} s")
}

/// A value as text, or `--` if it is unknown.
pub(crate) fn known<T>(value: Option<T>, format: impl Fn(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), format)
}

fn text_or_unknown(value: Option<impl ToString>) -> String {
    known(value, |value| value.to_string())
}

/// Two values of an I/O column.
pub(crate) fn pair<T>(first: Option<T>, second: Option<T>, format: impl Fn(T) -> String) -> String {
    if first.is_none() && second.is_none() {
        return UNKNOWN.to_owned();
    }
    format!("{} / {}", known(first, &format), known(second, &format))
}
