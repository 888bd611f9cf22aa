//! The sections of the page: containers with problems, and the busiest ones.

use std::cmp::Reverse;

use tare_model::{Change, Container, Delay, Ended, Kind, Pressure, Snapshot};

use crate::output::{
    columns::cells::{SHORT_ID, UNKNOWN, known},
    row::{name, ordered},
    snapshot::page::{Section, Tone},
    text::cut,
    units::{bytes_size, duration, human_size, percent, span},
};

/// The most rows of a section.
const MAX_ROWS: usize = 10;

/// Close to a limit: this share of memory, tasks or the CPU quota.
const NEAR_LIMIT_PERCENT: f64 = 90.0;

/// Throttled in more than this share of the CFS periods.
const THROTTLED_PERCENT: f64 = 5.0;

/// Some task waited during more than this share of the last 10 s.
const WAITING_PERCENT: f64 = 10.0;

/// In uninterruptible sleep for longer than a healthy disk takes.
const HANGING_SECONDS: f64 = 1.0;

/// A share of one CPU.
const BUSY_PERCENT: f64 = 50.0;

/// The mean or the 99th percentile of the latency of reads or writes.
const SLOW_BLOCK_SECONDS: f64 = 0.02;

/// Bytes received and sent, or read and written.
const BUSY_BYTES_PER_SECOND: f64 = 10e6;

/// TCP retransmits so far, for a snapshot without an interval.
const MANY_RETRANSMITS: u64 = 100;

/// All sections in the order of the page.
pub(super) fn sections(snapshot: &Snapshot, chosen: bool) -> Vec<Section> {
    let facts: Vec<Facts<'_>> =
        snapshot.report.containers.iter().map(|row| Facts::new(snapshot, row)).collect();
    let mut sections = vec![
        near_limit(&facts),
        throttled(&facts),
        out_of_memory(&facts),
        unhealthy(&facts),
        hanging(&facts),
        waiting(&facts),
        slow_block(&facts),
        retransmits(&facts),
        busy_cpu(&facts),
        busy_network(&facts),
        busy_block(&facts),
        ended(snapshot),
    ];
    if chosen {
        sections.insert(0, all(&facts));
    }
    sections
}

/// A row, and what changed over the interval; without an interval, its totals.
struct Facts<'a> {
    row: &'a Container,
    change: Change,
    is_rate: bool,
    up: String,
}

impl<'a> Facts<'a> {
    fn new(snapshot: &Snapshot, row: &'a Container) -> Self {
        let is_rate = snapshot.report.interval_seconds.is_some();
        let change = match is_rate {
            true => snapshot.changes.get(&row.cgroup).cloned().unwrap_or_default(),
            false => Change::so_far(row),
        };
        let since = row.started_at.or(row.startup.made_at);
        let up = known(since, |since| {
            span(snapshot.report.time.duration_since(since).as_secs_f64().max(0.0))
        });
        Self { row, change, is_rate, up }
    }
}

/// Rows, the biggest first, equals by name.
struct Ranked(Vec<(u64, Vec<String>)>);

impl Ranked {
    fn of<'a, T>(facts: &'a [Facts<'a>], rows: impl Fn(&'a Facts<'a>) -> T) -> Self
    where
        T: IntoIterator<Item = (f64, Vec<String>)>,
    {
        let ranked = facts.iter().flat_map(rows).map(|(size, row)| (ordered(size), row));
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort_by_cached_key(|(size, row)| (Reverse(*size), row.first().cloned()));
        Self(ranked)
    }

    fn section(self, tone: Tone, title: &'static str, header: &'static [&'static str]) -> Section {
        let more = self.0.len().saturating_sub(MAX_ROWS);
        let rows = self.0.into_iter().take(MAX_ROWS).map(|(_, row)| row).collect();
        Section { tone, title, header, rows, more }
    }
}

fn near_limit(facts: &[Facts<'_>]) -> Section {
    let rows = |facts: &Facts<'_>| {
        let Container { cpu, memory, pids, .. } = facts.row;
        let row = |what: &str, share: f64, now: String, limit: String, hits: Option<u64>| {
            let share_text = percent(share);
            let cells = [what.to_owned(), now, limit, share_text, count(hits), facts.up.clone()];
            (share, cells)
        };
        let memory = memory.percent.map(|share| {
            let (now, limit) = (known(memory.working_set_bytes, bytes_size), memory.limit_bytes);
            row("memory", share, now, known(limit, bytes_size), memory.events.max)
        });
        let tasks = pids.current.zip(pids.limit).map(|(now, limit)| {
            let share = 100.0 * now as f64 / limit.max(1) as f64;
            row("tasks", share, now.to_string(), limit.to_string(), pids.limit_hits)
        });
        let cores = cpu.limit_cores.filter(|cores| *cores > 0.0);
        let cpu = cpu.percent.zip(cores).map(|(now, cores)| {
            row("cpu", now / cores, percent(now), percent(cores * 100.0), cpu.throttled_periods)
        });
        let near = [memory, tasks, cpu].into_iter().flatten();
        let near = near.filter(|(share, _)| *share >= NEAR_LIMIT_PERCENT);
        let named = near.map(|(share, cells)| (share, named(facts.row, cells)));
        named.collect::<Vec<_>>()
    };
    let header = &["NAME", "WHAT", "NOW", "LIMIT", "SHARE", "HITS SO FAR", "UP"];
    Ranked::of(facts, rows).section(Tone::Alarm, "CLOSE TO A LIMIT", header)
}

fn throttled(facts: &[Facts<'_>]) -> Section {
    let rows = |facts: &Facts<'_>| {
        let share = facts.change.throttled_percent.filter(|share| *share > THROTTLED_PERCENT)?;
        let cpu = &facts.row.cpu;
        let so_far = Change::so_far(facts.row);
        let cells = [
            known(cpu.percent, percent),
            known(cpu.limit_cores, |cores| percent(cores * 100.0)),
            if facts.is_rate { percent(share) } else { UNKNOWN.to_owned() },
            known(so_far.throttled_percent, percent),
            known(so_far.throttled_seconds, |lost| format!("{lost:.1} s")),
            facts.up.clone(),
        ];
        Some((share, named(facts.row, cells)))
    };
    let header = &["NAME", "CPU %", "QUOTA", "PERIODS NOW", "SO FAR", "TIME LOST", "UP"];
    Ranked::of(facts, rows).section(Tone::Alarm, "THROTTLED BY ITS CPU QUOTA", header)
}

fn out_of_memory(facts: &[Facts<'_>]) -> Section {
    let rows = |facts: &Facts<'_>| {
        let memory = &facts.row.memory;
        let kills = memory.oom_kills.unwrap_or_default();
        let last = memory.last_oom_kill.as_ref();
        if kills == 0 && last.is_none() {
            return None;
        }
        let now = facts.change.oom_kills.filter(|_| facts.is_rate);
        let cells = [
            count(memory.oom_kills),
            count(now),
            known(last, |kill| kill.at.strftime("%F %T").to_string()),
            known(last, |kill| format!("{} ({})", kill.command, kill.pid)),
            known(memory.limit_bytes, bytes_size),
            facts.up.clone(),
        ];
        Some((now.unwrap_or_default() as f64 * 1e9 + kills as f64, named(facts.row, cells)))
    };
    let header = &["NAME", "KILLED", "NOW", "LAST (UTC)", "PROCESS", "MEM LIMIT", "UP"];
    Ranked::of(facts, rows).section(Tone::Alarm, "OUT OF MEMORY", header)
}

fn unhealthy(facts: &[Facts<'_>]) -> Section {
    let rows = |facts: &Facts<'_>| {
        let health = facts.row.health.as_ref().filter(|health| *health == "unhealthy")?;
        let cells = [health.to_string(), count(facts.row.restart_count), facts.up.clone()];
        Some((0.0, named(facts.row, cells)))
    };
    let header = &["NAME", "HEALTH", "RESTARTS", "UP"];
    Ranked::of(facts, rows).section(Tone::Alarm, "FAILS ITS HEALTH CHECK", header)
}

fn waiting(facts: &[Facts<'_>]) -> Section {
    let rows = |facts: &Facts<'_>| {
        let Container { cpu, memory, block, .. } = facts.row;
        let all = [("memory", memory.pressure), ("cpu", cpu.pressure), ("io", block.pressure)];
        let rows = all.into_iter().filter_map(|(what, pressure)| {
            let Pressure { some_avg10_percent, some_avg60_percent, .. } = pressure?;
            let Pressure { some_avg300_percent, full_avg10_percent, .. } = pressure?;
            let share = some_avg10_percent.filter(|share| *share > WAITING_PERCENT)?;
            let cells = [
                what.to_owned(),
                percent(share),
                known(some_avg60_percent, percent),
                known(some_avg300_percent, percent),
                known(full_avg10_percent, percent),
                facts.up.clone(),
            ];
            Some((share, named(facts.row, cells)))
        });
        rows.collect::<Vec<_>>()
    };
    let header = &["NAME", "FOR", "10 S", "60 S", "300 S", "ALL TASKS, 10 S", "UP"];
    Ranked::of(facts, rows).section(Tone::Title, "WAITING (PRESSURE)", header)
}

/// Tasks in uninterruptible sleep: those for which nothing happens until a device, a server or
/// another task answers.
fn hanging(facts: &[Facts<'_>]) -> Section {
    let rows = |facts: &Facts<'_>| {
        let tasks = &facts.row.tasks;
        let long = tasks.waiting.iter().filter(|task| task.seconds >= HANGING_SECONDS);
        let rows = long.map(|task| {
            let cells = [
                task.command.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
                task.pid.to_string(),
                span(task.seconds),
                if task.io { "I/O" } else { UNKNOWN }.to_owned(),
                known(task.function.clone(), |function| function),
                count(tasks.uninterruptible),
            ];
            (task.seconds, named(facts.row, cells))
        });
        rows.collect::<Vec<_>>()
    };
    let header = &["NAME", "COMMAND", "PID", "AT LEAST", "FOR", "IN", "ALL"];
    let title = "WAITING: tasks in uninterruptible sleep";
    Ranked::of(facts, rows).section(Tone::Alarm, title, header)
}

fn slow_block(facts: &[Facts<'_>]) -> Section {
    let worst = |delay: &Delay| delay.p99_seconds.unwrap_or(f64::MAX).max(delay.mean_seconds);
    let cells_of = |delay: Option<Delay>| {
        [
            count(delay.map(|delay| delay.count)),
            known(delay, |delay| duration(delay.mean_seconds)),
            known(delay.and_then(|delay| delay.p99_seconds), duration),
        ]
    };
    let rows = |facts: &Facts<'_>| {
        let Change { reads, writes, .. } = facts.change;
        let slowest = reads.iter().chain(&writes).map(worst).reduce(f64::max)?;
        (slowest >= SLOW_BLOCK_SECONDS).then(|| {
            let in_flight = [count(facts.row.block.total.in_flight)];
            let cells = cells_of(reads).into_iter().chain(cells_of(writes)).chain(in_flight);
            (slowest, named(facts.row, cells))
        })
    };
    let header = &["NAME", "READS", "MEAN", "P99", "WRITES", "MEAN", "P99", "IN FLIGHT"];
    Ranked::of(facts, rows).section(Tone::Title, "SLOW BLOCK I/O", header)
}

fn retransmits(facts: &[Facts<'_>]) -> Section {
    let rows = |facts: &Facts<'_>| {
        let resent = facts.change.retransmits?;
        let least = if facts.is_rate { 1 } else { MANY_RETRANSMITS };
        let events = facts.row.network.tcp_events?;
        (resent >= least).then(|| {
            let cells = [
                count(facts.change.retransmits.filter(|_| facts.is_rate)),
                count(events.retransmits),
                count(events.connections.map(|connections| connections.failed)),
                facts.up.clone(),
            ];
            (resent as f64, named(facts.row, cells))
        })
    };
    let header = &["NAME", "NOW", "SO FAR", "CONN FAILED SO FAR", "UP"];
    Ranked::of(facts, rows).section(Tone::Title, "TCP RETRANSMITS", header)
}

fn busy_cpu(facts: &[Facts<'_>]) -> Section {
    let rows = |facts: &Facts<'_>| {
        let cpu = &facts.row.cpu;
        let share = cpu.percent.filter(|share| *share >= BUSY_PERCENT)?;
        let cells = [
            percent(share),
            known(cpu.limit_cores, |cores| percent(cores * 100.0)),
            known(cpu.usage_seconds, |used| format!("{used:.1} s")),
            facts.up.clone(),
        ];
        Some((share, named(facts.row, cells)))
    };
    let header = &["NAME", "CPU %", "QUOTA", "CPU TIME SO FAR", "UP"];
    Ranked::of(facts, rows).section(Tone::Title, "MOST CPU", header)
}

fn busy_network(facts: &[Facts<'_>]) -> Section {
    let rows = |facts: &Facts<'_>| {
        let Change { rx_bytes_per_second: rx, tx_bytes_per_second: tx, .. } = facts.change;
        let io = facts.row.network.io();
        busy(facts, rx, tx, [io.rx_bytes, io.tx_bytes])
    };
    let header = &["NAME", "RECEIVED", "SENT", "RECEIVED SO FAR", "SENT SO FAR", "UP"];
    Ranked::of(facts, rows).section(Tone::Title, "MOST NETWORK", header)
}

fn busy_block(facts: &[Facts<'_>]) -> Section {
    let rows = |facts: &Facts<'_>| {
        let Change { read_bytes_per_second: read, write_bytes_per_second: write, .. } =
            facts.change;
        let total = &facts.row.block.total;
        busy(facts, read, write, [total.read_bytes, total.write_bytes])
    };
    let header = &["NAME", "READ", "WRITTEN", "READ SO FAR", "WRITTEN SO FAR", "UP"];
    Ranked::of(facts, rows).section(Tone::Title, "MOST BLOCK I/O", header)
}

fn busy(
    facts: &Facts<'_>,
    into: Option<f64>,
    out: Option<f64>,
    so_far: [Option<u64>; 2],
) -> Option<(f64, Vec<String>)> {
    let sum = into.unwrap_or_default() + out.unwrap_or_default();
    (sum >= BUSY_BYTES_PER_SECOND).then(|| {
        let rate = |rate: Option<f64>| known(rate, |rate| format!("{}/s", human_size(rate as u64)));
        let [into_so_far, out_so_far] = so_far.map(|bytes| known(bytes, human_size));
        let cells = [rate(into), rate(out), into_so_far, out_so_far, facts.up.clone()];
        (sum, named(facts.row, cells))
    })
}

/// The containers that the user has named, with the columns of `docker stats`.
fn all(facts: &[Facts<'_>]) -> Section {
    let rows = |facts: &Facts<'_>| {
        let Container { cpu, memory, network, block, pids, .. } = facts.row;
        let io = network.io();
        let pair = |into, out| format!("{} / {}", known(into, human_size), known(out, human_size));
        let cells = [
            known(cpu.percent, percent),
            known(memory.working_set_bytes, bytes_size),
            known(memory.percent, percent),
            pair(io.rx_bytes, io.tx_bytes),
            pair(block.total.read_bytes, block.total.write_bytes),
            count(pids.current),
            facts.up.clone(),
        ];
        Some((0.0, named(facts.row, cells)))
    };
    let header = &["NAME", "CPU %", "MEM", "MEM %", "NET I/O", "BLOCK I/O", "TASKS", "UP"];
    Ranked::of(facts, rows).section(Tone::Title, "SELECTED", header)
}

/// Ended containers: those that failed first, each group with the latest first.
fn ended(snapshot: &Snapshot) -> Section {
    let report = &snapshot.report;
    let row = |ended: &Ended| {
        let Ended { container, ended_at, .. } = ended;
        let ago = report.time.duration_since(*ended_at).as_secs_f64().max(0.0);
        let cells = [
            format!("{} ago", span(ago)),
            known(container.exit_code, |code| code.to_string()),
            known(was_killed(container), |killed| if killed { "yes" } else { "no" }.to_owned()),
            known(container.cpu.usage_seconds, |used| format!("{used:.3} s")),
            known(container.memory.peak_bytes, bytes_size),
            known(container.memory.limit_bytes, bytes_size),
        ];
        named(container, cells)
    };
    let header = &["NAME", "ENDED", "EXIT CODE", "OOM", "CPU TIME", "MEM PEAK", "MEM LIMIT"];
    let (failed, well): (Vec<&Ended>, Vec<&Ended>) = report.ended.iter().partition(|ended| {
        let container = &ended.container;
        container.exit_code.is_some_and(|code| code != 0) || was_killed(container) == Some(true)
    });
    let rows = failed.into_iter().chain(well).take(MAX_ROWS).map(row).collect();
    let more = report.ended.len().saturating_sub(MAX_ROWS);
    Section { tone: Tone::Title, title: "ENDED", header, rows, more }
}

/// Whether the container was killed for lack of memory, according to the runtime, or else to the
/// kernel.
fn was_killed(row: &Container) -> Option<bool> {
    row.oom_killed.or_else(|| row.memory.oom_kills.map(|kills| kills > 0))
}

/// Cells behind the name of a row, by which the user can select it.
fn named(row: &Container, cells: impl IntoIterator<Item = String>) -> Vec<String> {
    let called = match row.kind {
        Kind::Container if row.name.is_none() && row.id.len() == 64 => cut(&row.id, SHORT_ID),
        _ => name(row),
    };
    let pod = row.pod_namespace().zip(row.pod.as_ref().and_then(|pod| pod.name.as_deref()));
    let called = match pod {
        Some((namespace, pod)) => format!("{namespace}/{pod}/{called}"),
        None => called.to_owned(),
    };
    std::iter::once(called).chain(cells).collect()
}

fn count(value: Option<u64>) -> String {
    known(value, |value| value.to_string())
}
