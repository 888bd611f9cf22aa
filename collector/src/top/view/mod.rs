//! State → one frame. Formats what is on the screen, and nothing that is not.

pub mod columns;
pub mod detail;
pub mod graph;
pub mod help;
pub mod list;
pub mod theme;
pub mod tree;

use std::time::Duration;

use jiff::Timestamp;
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use self::theme::Theme;
use crate::{
    model::{Host, Kind, Report, State as Health},
    output::{Sort, columns::cells::known, table::family_name, text::printable, units::bytes_size},
    top::{
        events::{Event, What},
        rows::in_scope,
        state::{Purpose, State},
    },
};

/// Screens with fewer lines than this show the list and nothing else.
const LINES_FOR_STATUS: u16 = 4;

/// Screens with fewer have no line of keys.
const LINES_FOR_KEYS: u16 = 8;

/// Screens with fewer have no events.
const LINES_FOR_EVENTS: u16 = 10;

/// Events on a screen: one for so many lines of it, up to a maximum.
const LINES_PER_EVENT: u16 = 8;
const EVENT_LINES_MAX: u16 = 5;

/// Where things are in a frame, for the mouse and for what a page is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Areas {
    /// The line of titles, and who sorts by what: first and last character of a column.
    pub titles: (u16, Vec<(u16, u16, Sort)>),
    /// The rows.
    pub rows: Rect,
    /// The line of the list that is at the top.
    pub top: usize,
    /// How many lines the list has.
    pub lines: usize,
    /// How many lines of what is shown find a place.
    pub page_lines: usize,
    /// The first line of a container's page.
    pub scroll: usize,
}

impl Areas {
    /// What a click at a place sorts by.
    pub fn sort_at(&self, column: u16, row: u16) -> Option<Sort> {
        let (line, titles) = &self.titles;
        let mut at = titles.iter().filter(|(first, last, _)| (*first..=*last).contains(&column));
        at.next().filter(|_| row == *line).map(|(_, _, sort)| *sort)
    }

    /// The line of the list at a place.
    pub fn line_at(&self, column: u16, row: u16) -> Option<usize> {
        let is_inside = self.rows.contains((column, row).into());
        let line = self.top + usize::from(row.saturating_sub(self.rows.y));
        (is_inside && line < self.lines).then_some(line)
    }
}

/// Draws everything; tells where it is.
pub fn draw(frame: &mut Frame<'_>, state: &State, theme: Theme) -> Areas {
    let mut area = frame.area();
    let height = area.height;
    if height >= LINES_FOR_STATUS {
        put(frame, above(&mut area), status(state, theme));
        if let Some(line) = unwell(state, theme).filter(|_| height >= LINES_FOR_KEYS) {
            put(frame, above(&mut area), line);
        }
    }
    if let Some(line) = prompt(state, theme) {
        put(frame, below(&mut area), line);
    } else if height >= LINES_FOR_KEYS {
        put(frame, below(&mut area), keys(state, theme));
    }
    if state.is_help {
        return help::draw(frame, area, theme);
    }
    if state.detail.is_some() {
        return detail::draw(frame, area, state, theme);
    }
    if height >= LINES_FOR_EVENTS {
        let count = (height / LINES_PER_EVENT).clamp(1, EVENT_LINES_MAX);
        events(frame, &mut area, state, theme, count);
    }
    list::draw(frame, area, state, theme)
}

/// Cuts a line off the top of an area.
fn above(area: &mut Rect) -> Rect {
    let line = Rect { height: area.height.min(1), ..*area };
    area.y += line.height;
    area.height -= line.height;
    line
}

/// Cuts a line off the bottom of an area.
fn below(area: &mut Rect) -> Rect {
    area.height = area.height.saturating_sub(1);
    Rect { y: area.y + area.height, height: 1, ..*area }
}

fn put(frame: &mut Frame<'_>, area: Rect, line: Line<'_>) {
    frame.render_widget(line, area);
}

/// The host, how many rows there are, and what is unusual.
fn status(state: &State, theme: Theme) -> Line<'static> {
    let Some(report) = &state.report else { return Line::from("tare: the first numbers come…") };
    let host = &report.host;
    let name = host.hostname.as_deref().unwrap_or("this host");
    let mut line = Line::from(Span::styled(printable(name).into_owned(), theme.title()));
    let mut say = |text: String, style: Style| {
        line.push_span(Span::raw("  "));
        line.push_span(Span::styled(text, style));
    };
    if state.is_paused {
        say("PAUSED".to_owned(), theme.alarm());
    }
    say(format!("CPU {}", host_cpu(host)), Style::new());
    say(format!("mem {}", host_memory(host)), Style::new());
    let load = host.load_average.map(|load| load.map(|average| format!("{average:.2}")).join(" "));
    say(format!("load {}", known(load, |load| load)), Style::new());
    let count = report.containers.iter().filter(|row| row.kind == Kind::Container).count();
    say(format!("{count} containers"), Style::new());
    say(duration(state.interval), Style::new());
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

/// Which sources are not whole; a container's page says why.
fn unwell(state: &State, theme: Theme) -> Option<Line<'static>> {
    let sources = &state.report.as_ref()?.sources;
    let of = |health: Health| {
        let families = sources.iter().filter(|(_, source)| source.state == health);
        families.map(|(family, _)| family_name(*family)).collect::<Vec<_>>().join(", ")
    };
    let said = [("off", of(Health::Off)), ("degraded", of(Health::Degraded))];
    let said = said.iter().filter(|(_, families)| !families.is_empty());
    let text = said.map(|(how, which)| format!("{how}: {which}")).collect::<Vec<_>>().join("; ");
    (!text.is_empty()).then(|| Line::styled(text, theme.warning()))
}

fn prompt(state: &State, theme: Theme) -> Option<Line<'static>> {
    let prompt = state.prompt.as_ref()?;
    let purpose = match prompt.purpose {
        Purpose::Filter => "Filter: ",
        Purpose::Search => "Search: ",
    };
    Some(Line::from(vec![
        Span::styled(purpose, theme.title()),
        Span::raw(printable(&prompt.text).into_owned()),
        Span::styled(" ", theme.marked()),
    ]))
}

/// The keys that matter where one is.
fn keys(state: &State, theme: Theme) -> Line<'static> {
    let keys: &[(&str, &str)] = if state.is_help {
        &[("q", "quit"), ("any key", "back")]
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
        ]
    };
    let mut line = Line::default();
    for (key, what) in keys {
        line.push_span(Span::styled((*key).to_owned(), theme.title()));
        line.push_span(Span::raw(format!(" {what}  ")));
    }
    line
}

/// The latest events of the scope, the newest at the bottom.
fn events(frame: &mut Frame<'_>, area: &mut Rect, state: &State, theme: Theme, count: u16) {
    let Some(report) = &state.report else { return };
    let of_scope = |event: &&Event| in_scope(event.kind, state.wanted.scope);
    for event in state.events.latest().filter(of_scope).take(usize::from(count)) {
        put(frame, below(area), told(event, report, theme));
    }
}

/// An event as a line.
pub(super) fn told(event: &Event, report: &Report, theme: Theme) -> Line<'static> {
    let (what, style) = match &event.what {
        What::Started => ("started".to_owned(), Style::new()),
        What::Ended => ("ended".to_owned(), Style::new()),
        What::OomKill(Some(command)) => {
            (format!("OUT OF MEMORY: killed {}", printable(command)), theme.alarm())
        }
        What::OomKill(None) => ("OUT OF MEMORY: killed a process".to_owned(), theme.alarm()),
    };
    Line::from(vec![
        Span::styled(format!("{:>12}  ", ago(report.time, event.at)), theme.faint()),
        Span::raw(format!("{} ", printable(&event.label))),
        Span::styled(what, style),
    ])
}

/// How long before `now` something was.
pub(super) fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs_f64().max(0.0);
    match seconds {
        ..60.0 => format!("{seconds:.1} s ago"),
        ..3600.0 => format!("{:.0} min ago", (seconds / 60.0).floor()),
        ..86400.0 => format!("{:.0} h ago", (seconds / 3600.0).floor()),
        _ => format!("{:.0} d ago", (seconds / 86400.0).floor()),
    }
}

fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1000.0) } else { format!("{seconds} s") }
}

#[cfg(test)]
mod tests;
