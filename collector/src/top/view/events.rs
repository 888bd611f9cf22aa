//! Events as text.

use jiff::Timestamp;
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use tare_model::Report;

use super::{
    screen::{put, take_bottom},
    theme::Theme,
};
use crate::{
    output::{select::in_scope, text::printable},
    top::{
        events::{Event, EventKind},
        state::State,
    },
};

/// Draws the latest `count` events of the scope at the bottom of `area`, the newest last, and takes
/// their lines off it.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: &mut Rect,
    state: &State,
    theme: Theme,
    count: u16,
) {
    let Some(report) = &state.report else { return };
    let of_scope = |event: &&Event| in_scope(event.row_kind, state.options.scope);
    for event in state.events.latest().filter(of_scope).take(usize::from(count)) {
        put(frame, take_bottom(area), event_line(event, report, theme));
    }
}

/// An event as a line.
pub(super) fn event_line(event: &Event, report: &Report, theme: Theme) -> Line<'static> {
    let (text, style) = match &event.kind {
        EventKind::Started => ("started".to_owned(), Style::new()),
        EventKind::Ended => ("ended".to_owned(), Style::new()),
        EventKind::OomKill(Some(command)) => {
            (format!("OUT OF MEMORY: killed {}", printable(command)), theme.alarm())
        }
        EventKind::OomKill(None) => ("OUT OF MEMORY: killed a process".to_owned(), theme.alarm()),
    };
    Line::from(vec![
        Span::styled(format!("{:>12}  ", ago(report.time, event.at)), theme.faint()),
        Span::raw(format!("{} ", printable(&event.label))),
        Span::styled(text, style),
    ])
}

/// The time from `then` to `now`, as text.
pub(super) fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs_f64().max(0.0);
    match seconds {
        ..60.0 => format!("{seconds:.1} s ago"),
        ..3600.0 => format!("{:.0} min ago", (seconds / 60.0).floor()),
        ..86400.0 => format!("{:.0} h ago", (seconds / 3600.0).floor()),
        _ => format!("{:.0} d ago", (seconds / 86400.0).floor()),
    }
}
