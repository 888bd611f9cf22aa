//! The identity of the container, its start, its events, and what is unknown about it.

use jiff::Timestamp;
use ratatui::text::Line;
use tare_model::{Family, State as Health};

use super::section::{Section, Subject, entry, wrapped};
use crate::{
    output::{
        columns::cells::{UNKNOWN, known},
        table::family_name,
    },
    top::view::events::event_line,
};

/// Labels that are shown at most.
const LABELS_MAX: usize = 40;

pub(super) fn identity(subject: &Subject<'_>) -> Section {
    let row = subject.row;
    let mut lines = vec![
        entry("id", row.id.clone()),
        entry("image", known(row.image.clone(), |image| image)),
        entry("runtime", known(row.runtime.as_deref(), str::to_owned)),
        entry("cgroup", row.cgroup.clone()),
    ];
    lines.extend(row.pod.as_ref().map(|pod| {
        let qos = pod.qos.as_ref().map_or_else(String::new, |qos| format!(" ({qos})"));
        let namespace = pod.namespace.as_ref().map_or_else(String::new, |name| format!("{name}/"));
        entry("pod", format!("{namespace}{}{qos}", row.pod_name().unwrap_or(UNKNOWN)))
    }));
    lines.extend(row.compose.as_ref().map(|compose| {
        let service = compose.service.as_ref().map_or_else(String::new, |name| format!(" {name}"));
        entry("compose", format!("{}{service}", compose.project))
    }));
    lines.extend(row.health.as_deref().map(|health| entry("health", health)));
    lines.extend(row.restart_count.map(|count| entry("restarts", count.to_string())));
    lines.extend(row.exit_code.map(|code| entry("exit code", code.to_string())));
    lines.extend(startup(subject));
    for (name, value) in row.labels.iter().take(LABELS_MAX) {
        lines.extend(wrapped(&format!("{name}={value}"), subject));
    }
    let hidden = row.labels.len().saturating_sub(LABELS_MAX);
    lines.extend((hidden > 0).then(|| Line::from(format!("… and {hidden} more labels"))));
    Section { title: "Identity", lines }
}

/// When the cgroup was created, and the time from then to the first exec and the first listening
/// socket.
fn startup(subject: &Subject<'_>) -> Vec<Line<'static>> {
    let startup = &subject.row.startup;
    let mut lines = Vec::new();
    let mut add = |name: &str, at: Option<Timestamp>| {
        let Some(at) = at else { return };
        let since = startup.made_at.filter(|made| *made != at);
        let took = since.map_or_else(String::new, |made| {
            let milliseconds = at.duration_since(made).as_secs_f64() * 1000.0;
            format!(", {milliseconds:.0} ms after the creation")
        });
        lines.push(entry(name, format!("{at:.3}{took}")));
    };
    add("created", startup.made_at);
    add("started", subject.row.started_at);
    add("first exec", startup.exec_at);
    add("listening", startup.listen_at);
    add("ended", subject.ended.map(|ended| ended.ended_at));
    lines
}

pub(super) fn events(subject: &Subject<'_>) -> Section {
    let all = subject.state.events.latest();
    let own = all.filter(|event| event.cgroup == subject.row.cgroup);
    let lines = own.map(|event| event_line(event, subject.report, subject.theme));
    let mut lines: Vec<_> = lines.collect();
    // The newest is last, as below the list.
    lines.reverse();
    Section { title: "Events", lines }
}

/// Families whose source is off or degraded, with the reason. For an ended container also how final
/// its totals are.
pub(super) fn unknown(subject: &Subject<'_>) -> Section {
    let mut lines = Vec::new();
    if let Some(ended) = subject.ended {
        for (family, how) in &ended.finality {
            let age = how.age_seconds.map(|age| format!(", {age:.1} s before the end"));
            let text = format!("{}{}", how.state, age.unwrap_or_default());
            lines.push(entry(short(*family), text));
        }
    }
    for (family, source) in &subject.report.sources {
        let state = match source.state {
            Health::On => continue,
            Health::Degraded => "degraded",
            Health::Off => "off",
        };
        let reason = source.reason.as_deref().unwrap_or("the reason is unknown");
        lines.extend(wrapped(&format!("{}: {state} — {reason}", family_name(*family)), subject));
    }
    Section { title: "Missing or incomplete", lines }
}

/// The name of a family, short enough for a label.
fn short(family: Family) -> &'static str {
    match family {
        Family::NetworkInterfaces => "net devices",
        Family::NetworkSockets => "own sockets",
        family => family_name(family),
    }
}
