//! State → one frame. Only the rows on the screen are formatted.

mod columns;
mod detail;
mod events;
mod graph;
mod help;
mod list;
mod screen;
pub(super) mod theme;
mod timebar;
mod tree;

use std::time::Duration;

use ratatui::{
    Frame,
    style::Style,
    text::{Line, Span},
};
use tare_model::{Host, Kind, State as Health};

use self::{
    screen::{put, take_bottom, take_top},
    theme::Theme,
};
use crate::{
    output::{columns::cells::known, table::family_name, text::printable, units::bytes_size},
    top::{action::Purpose, areas::Areas, state::State},
};

/// A screen with fewer lines shows the list only.
const LINES_FOR_STATUS: u16 = 4;

/// A screen with fewer lines shows no keys and no degraded sources.
const LINES_FOR_KEYS: u16 = 8;

/// A screen with fewer lines shows no events.
const LINES_FOR_EVENTS: u16 = 10;

/// One event is shown for this many lines of the screen, up to a maximum.
const LINES_PER_EVENT: u16 = 8;
const EVENT_LINES_MAX: u16 = 5;

/// Draws a frame. Returns where its parts are.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, theme: Theme) -> Areas {
    let mut area = frame.area();
    let height = area.height;
    if height >= LINES_FOR_STATUS {
        put(frame, take_top(&mut area), status(state, theme));
        if let Some(shown) = &state.shown_at {
            let bar = take_top(&mut area);
            put(frame, bar, timebar::line(shown, state.is_paused, bar.width.into(), theme));
        }
        if let Some(line) = degraded_sources(state, theme).filter(|_| height >= LINES_FOR_KEYS) {
            put(frame, take_top(&mut area), line);
        }
    }
    if let Some(notice) = state.notice.as_ref().filter(|_| state.prompt.is_none()) {
        let line = Line::styled(printable(notice).into_owned(), theme.warning());
        put(frame, take_bottom(&mut area), line);
    } else if let Some(line) = prompt(state, theme) {
        put(frame, take_bottom(&mut area), line);
    } else if height >= LINES_FOR_KEYS {
        put(frame, take_bottom(&mut area), keys(state, theme));
    }
    if state.is_help {
        return help::draw(frame, area, theme);
    }
    if state.detail.is_some() {
        return detail::draw(frame, area, state, theme);
    }
    if height >= LINES_FOR_EVENTS {
        let count = (height / LINES_PER_EVENT).clamp(1, EVENT_LINES_MAX);
        events::draw(frame, &mut area, state, theme, count);
    }
    list::draw(frame, area, state, theme)
}

/// The host, the number of containers and the interval.
fn status(state: &State, theme: Theme) -> Line<'static> {
    let Some(report) = &state.report else {
        return Line::from("tare: waiting for the first numbers…");
    };
    let host = &report.host;
    let name = host.hostname.as_deref().unwrap_or("this host");
    let mut line = Line::from(Span::styled(printable(name).into_owned(), theme.title()));
    let mut add = |text: String, style: Style| {
        line.push_span(Span::raw("  "));
        line.push_span(Span::styled(text, style));
    };
    if state.is_paused && state.shown_at.is_none() {
        add("PAUSED".to_owned(), theme.alarm());
    }
    add(format!("CPU {}", host_cpu(host)), Style::new());
    add(format!("mem {}", host_memory(host)), Style::new());
    let load = host.load_average.map(|load| load.map(|average| format!("{average:.2}")).join(" "));
    add(format!("load {}", known(load, |load| load)), Style::new());
    let count = report.containers.iter().filter(|row| row.kind == Kind::Container).count();
    add(format!("{count} containers"), Style::new());
    add(duration(state.interval), Style::new());
    line
}

fn host_cpu(host: &Host) -> String {
    let cpus = host.online_cpus.filter(|cpus| *cpus > 0);
    let share = host.cpu_percent.zip(cpus).map(|(cpu, cpus)| cpu / f64::from(cpus));
    let of = cpus.map_or_else(String::new, |cpus| format!(" of {cpus}"));
    known(share, |share| format!("{share:.0}%")) + &of
}

fn host_memory(host: &Host) -> String {
    let used = host.memory_bytes.zip(host.memory_available_bytes);
    let used = used.and_then(|(all, available)| all.checked_sub(available));
    format!("{} of {}", known(used, bytes_size), known(host.memory_bytes, bytes_size))
}

/// The families whose source is off or degraded. The detail view says why.
fn degraded_sources(state: &State, theme: Theme) -> Option<Line<'static>> {
    let sources = &state.report.as_ref()?.sources;
    let families_of = |health: Health| {
        let families = sources.iter().filter(|(_, source)| source.state == health);
        families.map(|(family, _)| family_name(*family)).collect::<Vec<_>>().join(", ")
    };
    let states = [("off", families_of(Health::Off)), ("degraded", families_of(Health::Degraded))];
    let states = states.iter().filter(|(_, families)| !families.is_empty());
    let texts = states.map(|(state, families)| format!("{state}: {families}"));
    let text = texts.collect::<Vec<_>>().join("; ");
    (!text.is_empty()).then(|| Line::styled(text, theme.warning()))
}

fn prompt(state: &State, theme: Theme) -> Option<Line<'static>> {
    let prompt = state.prompt.as_ref()?;
    let purpose = match prompt.purpose {
        Purpose::Filter => "Filter: ",
        Purpose::Search => "Search: ",
        Purpose::Time => "Time (03:12, -10m, 2026-11-30T03:12:00Z): ",
    };
    Some(Line::from(vec![
        Span::styled(purpose, theme.title()),
        Span::raw(printable(&prompt.text).into_owned()),
        Span::styled(" ", theme.marked()),
    ]))
}

/// The most important keys of the current view.
fn keys(state: &State, theme: Theme) -> Line<'static> {
    let keys: &[(&str, &str)] = if state.is_help {
        &[("q", "quit"), ("any key", "back")]
    } else if state.shown_at.is_some() {
        &[
            ("q", "quit"),
            ("?", "help"),
            ("← →", "step"),
            ("[ ]", "minute"),
            ("{ }", "hour"),
            ("n p", "next, previous event"),
            ("@", "time"),
            ("Space", "play"),
            ("l", "now"),
        ]
    } else if state.detail.is_some() {
        &[("q", "quit"), ("?", "help"), ("Esc", "back"), ("↑↓", "scroll"), ("Space", "pause")]
    } else {
        &[
            ("q", "quit"),
            ("?", "help"),
            ("/", "filter"),
            ("Enter", "detail"),
            ("F5", "tree"),
            ("F6", "sort"),
            ("e", "ended"),
            ("s", "scope"),
            ("Space", "pause"),
            ("←", "what was recorded"),
        ]
    };
    let mut line = Line::default();
    for (key, what) in keys {
        line.push_span(Span::styled((*key).to_owned(), theme.title()));
        line.push_span(Span::raw(format!(" {what}  ")));
    }
    line
}

fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1000.0) } else { format!("{seconds} s") }
}

#[cfg(test)]
mod tests;
