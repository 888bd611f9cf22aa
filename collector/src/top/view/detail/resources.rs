//! CPU, memory, tasks.

use ratatui::text::{Line, Span};
use tare_model::{Pressure, Tasks};

use super::section::{Section, Subject, entry, styled};
use crate::{
    output::{
        columns::cells::{hanging, known, load_averages},
        units::{bytes_size, percent},
    },
    top::{
        figures::rate,
        history::Series,
        view::{
            events::ago,
            graph::{bar, sparkline},
        },
    },
};

/// Characters of a bar.
const BAR_WIDTH: usize = 20;

/// Characters of a sparkline at most.
const SPARKLINE_WIDTH: usize = 60;

/// Kinds of memory in `memory.stat`: their name in v2, their name in v1, and the label. A kind that
/// the file does not have is not shown.
const KINDS: [(&str, &str, &str); 11] = [
    ("anon", "total_rss", "anon"),
    ("file", "total_cache", "file"),
    ("inactive_file", "total_inactive_file", " inactive"),
    ("file_mapped", "total_mapped_file", " mapped"),
    ("file_dirty", "total_dirty", " dirty"),
    ("shmem", "total_shmem", " shmem"),
    ("kernel", "", "kernel"),
    ("slab", "", " slab"),
    ("pagetables", "", " page tables"),
    ("sock", "", "sockets"),
    ("unevictable", "total_unevictable", "unevictable"),
];

pub(super) fn cpu(subject: &Subject<'_>) -> Section {
    let cpu = &subject.row.cpu;
    let limit = cpu.limit_cores.map(|cores| format!("; limit {cores} CPUs"));
    let mut lines = Vec::new();
    if subject.ended.is_none() {
        let now = known(cpu.percent, |share| format!("{share:.1}% of one CPU"));
        lines.push(entry("now", now + &limit.unwrap_or_default()));
        lines.push(history(subject, Series::Cpu, 100.0));
    }
    lines.push(entry(
        "total",
        format!(
            "{} ({} user, {} system)",
            seconds(cpu.usage_seconds),
            seconds(cpu.user_seconds),
            seconds(cpu.system_seconds)
        ),
    ));
    lines.push(throttling(subject));
    lines.extend(pressure(cpu.pressure));
    Section { title: "CPU", lines }
}

/// How often and for how long the CPU quota throttled the container.
fn throttling(subject: &Subject<'_>) -> Line<'static> {
    let cpu = &subject.row.cpu;
    let Some(throttled) = cpu.throttled_periods else {
        return entry("throttled", known(None::<u64>, |_| String::new()));
    };
    let recent = subject.before.and_then(|(before, _)| {
        let all = cpu.periods?.checked_sub(before.cpu.periods?)?;
        let hit = throttled.checked_sub(before.cpu.throttled_periods?)?;
        (all > 0).then(|| hit as f64 / all as f64 * 100.0)
    });
    let now = recent.map_or_else(String::new, |share| format!("{share:.0}% of periods now; "));
    let text = format!(
        "{now}{throttled} of {} periods, {}",
        known(cpu.periods, |periods| periods.to_string()),
        seconds(cpu.throttled_seconds)
    );
    match recent {
        Some(share) if share > 0.0 => styled("throttled", text, subject.theme.alarm()),
        _ => entry("throttled", text),
    }
}

pub(super) fn memory(subject: &Subject<'_>) -> Section {
    let memory = &subject.row.memory;
    let limit = memory.limit_bytes.filter(|limit| *limit > 0);
    let share = |bytes: u64| limit.map_or(0.0, |limit| bytes as f64 / limit as f64);
    let mut lines = vec![entry(
        "working set",
        format!(
            "{} of {} ({})",
            known(memory.working_set_bytes, bytes_size),
            known(memory.limit_bytes, bytes_size),
            known(memory.percent, percent)
        ),
    )];
    if subject.ended.is_none() {
        lines.push(history(subject, Series::Memory, 0.0));
    }
    let total = [("usage", memory.usage_bytes), ("peak", memory.peak_bytes)];
    let kinds = KINDS.iter().filter_map(|(v2, v1, name)| {
        let stat = |name: &str| memory.stat.get(name);
        // Only v1 has `total_cache`.
        let bytes = if memory.stat.get("total_cache").is_some() { stat(v1) } else { stat(v2) };
        Some((*name, Some(bytes?)))
    });
    for (name, bytes) in total.into_iter().chain(kinds).chain([("swap", memory.swap_bytes)]) {
        lines.push(Line::from(vec![
            Span::raw(format!("{name:<13} {:>9}  ", known(bytes, bytes_size))),
            Span::styled(bar(bytes.map_or(0.0, share), BAR_WIDTH), subject.theme.graph()),
        ]));
    }
    lines.extend(oom(subject));
    lines.extend(pressure(memory.pressure));
    Section { title: "Memory (bars: share of the limit)", lines }
}

fn oom(subject: &Subject<'_>) -> Option<Line<'static>> {
    let memory = &subject.row.memory;
    let last = memory.last_oom_kill.as_ref().map(|kill| {
        let when = ago(subject.report.time, kill.at);
        format!(", the last {when}: {} (pid {})", kill.command, kill.pid)
    });
    let text = known(memory.oom_kills, |count| count.to_string()) + &last.unwrap_or_default();
    Some(match memory.oom_kills {
        Some(0) => entry("OOM kills", text),
        None if memory.last_oom_kill.is_none() => entry("OOM kills", text),
        _ => styled("OOM kills", text, subject.theme.alarm()),
    })
}

pub(super) fn tasks(subject: &Subject<'_>) -> Section {
    let pids = &subject.row.pids;
    let limit = pids.limit.map_or_else(|| "no limit".to_owned(), |limit| format!("limit {limit}"));
    let count = known(pids.current, |count| count.to_string());
    let when = if subject.ended.is_some() { "last" } else { "now" };
    let mut lines = vec![entry(when, format!("{count} ({limit})"))];
    lines.extend(states(&subject.row.tasks));
    Section { title: "Tasks", lines }
}

/// Tasks in uninterruptible sleep, the longest first.
pub(super) fn waiting(subject: &Subject<'_>) -> Section {
    let tasks = subject.row.tasks.waiting.iter();
    let line = |task| styled("waits", hanging(task), subject.theme.alarm());
    Section { title: "Waiting (uninterruptible sleep)", lines: tasks.map(line).collect() }
}

/// Tasks by state, their load, and for how long they waited for CPUs.
fn states(tasks: &Tasks) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let states = [
        ("running", tasks.running),
        ("ready to run", tasks.runnable),
        ("blocked", tasks.uninterruptible),
        ("sleeping", tasks.sleeping),
        ("stopped", tasks.stopped),
        ("zombies", tasks.zombies),
    ];
    let states = states.iter().filter_map(|(state, count)| Some(format!("{} {state}", (*count)?)));
    let states: Vec<_> = states.collect();
    if !states.is_empty() {
        lines.push(entry("states", states.join(", ")));
    }
    if let Some(load) = tasks.load {
        lines.push(entry("load", format!("{} (1, 5, 15 min)", load_averages(load))));
    }
    if let Some(total) = tasks.run_queue_seconds {
        let now = known(tasks.waiting_for_cpu, |tasks| format!("{tasks:.2} tasks now; "));
        lines.push(entry("wait for CPU", format!("{now}{total:.3} s so far")));
    }
    if let Some(count) = tasks.file_descriptors {
        lines.push(entry("descriptors", count.to_string()));
    }
    lines
}

/// The share of the last 10 s in which tasks waited. The kernel updates its averages every 2 s, so
/// a shorter time would show nothing new.
fn pressure(now: Option<Pressure>) -> Option<Line<'static>> {
    let now = now?;
    let text = format!(
        "{} some, {} full in 10 s; total {} some, {} full",
        known(now.some_avg10_percent, percent),
        known(now.full_avg10_percent, percent),
        seconds(now.some_seconds),
        seconds(now.full_seconds)
    );
    Some(entry("pressure", text))
}

/// The last samples, as many as fit.
fn history(subject: &Subject<'_>, series: Series, full: f32) -> Line<'static> {
    let width = subject.width.saturating_sub(14).min(SPARKLINE_WIDTH);
    let values = subject.state.histories.values(&subject.row.cgroup, series);
    let line = sparkline(values, width, full);
    styled("history", line, subject.theme.graph())
}

fn seconds(value: Option<f64>) -> String {
    known(value, |seconds| format!("{seconds:.3} s"))
}

/// Growth per second of two counters, as text.
pub(super) fn per_second(before: Option<u64>, now: Option<u64>, seconds: f64) -> String {
    known(rate(before, now, seconds), |rate| format!("{rate:.1}/s"))
}
