//! The detail view: everything that is known about one container, what is unknown, and why.

mod block;
mod identity;
mod network;
mod resources;
mod section;

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use self::section::{LABEL_WIDTH, Section, Subject};
use super::{
    columns, events,
    screen::{put, take_top},
    theme::Theme,
};
use crate::top::{areas::Areas, state::State};

/// From this width on there are two columns.
const TWO_COLUMNS: u16 = 140;

/// Draws the detail view.
pub(super) fn draw(frame: &mut Frame<'_>, mut area: Rect, state: &State, theme: Theme) -> Areas {
    let (Some(report), Some((row, ended))) = (&state.report, state.shown()) else {
        put(
            frame,
            take_top(&mut area),
            Line::from("This container is gone, and its totals are no longer kept."),
        );
        return Areas::default();
    };
    let column_count = if area.width >= TWO_COLUMNS { 2 } else { 1 };
    let width = area.width.saturating_sub(2 * (column_count - 1)) / column_count;
    let before = state.detail.as_ref().and_then(|detail| detail.before.as_ref());
    let before = before.zip(report.interval_seconds).filter(|_| ended.is_none());
    let subject = Subject { state, report, row, ended, before, theme, width: usize::from(width) };
    let sections = sections(&subject);
    let columns = if column_count == 2 { split(sections) } else { vec![sections] };
    let columns: Vec<Vec<Line<'_>>> =
        columns.into_iter().map(|sections| lines(sections, &subject)).collect();
    let longest = columns.iter().map(Vec::len).max().unwrap_or(0);
    put(frame, take_top(&mut area), title(&subject));
    let height = usize::from(area.height);
    let asked = state.detail.as_ref().map_or(0, |detail| detail.scroll);
    let scroll = asked.min(longest.saturating_sub(height));
    for (x, column) in (area.x..).step_by(usize::from(width) + 2).zip(columns) {
        for (y, line) in (area.y..area.bottom()).zip(column.into_iter().skip(scroll)) {
            put(frame, Rect { x, y, width, height: 1 }, line);
        }
    }
    Areas { page_lines: height, scroll, ..Areas::default() }
}

fn sections(subject: &Subject<'_>) -> Vec<Section> {
    let sections = [
        resources::cpu(subject),
        resources::memory(subject),
        resources::tasks(subject),
        resources::waiting(subject),
        network::section(subject),
        block::section(subject),
        identity::events(subject),
        identity::identity(subject),
        identity::unknown(subject),
    ];
    sections.into_iter().filter(|section| !section.lines.is_empty()).collect()
}

fn title(subject: &Subject<'_>) -> Line<'static> {
    let state = match subject.ended {
        Some(ended) => format!("ended {}", events::ago(subject.report.time, ended.ended_at)),
        None => subject.row.state.to_string(),
    };
    Line::from(vec![
        Span::styled(columns::name(subject.row), subject.theme.title()),
        Span::raw(format!("  {state}")),
    ])
}

/// Splits the sections into two columns of about the same height.
fn split(sections: Vec<Section>) -> Vec<Vec<Section>> {
    let height = |section: &Section| section.lines.len() + 2;
    let all: usize = sections.iter().map(height).sum();
    let mut columns = vec![Vec::new(), Vec::new()];
    let mut above = 0;
    for section in sections {
        let own = height(&section);
        // A section goes to the column in which its middle is.
        columns[usize::from(2 * above + own > all)].push(section);
        above += own;
    }
    columns
}

fn lines(sections: Vec<Section>, subject: &Subject<'_>) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for section in sections {
        lines.push(Line::default());
        lines.push(Line::styled(section.title, subject.theme.title()));
        lines.extend(section.lines.into_iter().flat_map(|line| fitted(line, subject.width)));
    }
    lines
}

/// Wraps a line with a label and a value at the width.
fn fitted(line: Line<'static>, width: usize) -> Vec<Line<'static>> {
    let room = width.saturating_sub(LABEL_WIDTH + 1);
    let (true, [label, value]) = (line.width() > width && room > 0, line.spans.as_slice()) else {
        return vec![line];
    };
    let pieces = textwrap::wrap(&value.content, room);
    let blank = Span::raw(" ".repeat(LABEL_WIDTH + 1));
    let labels = std::iter::once(label.clone()).chain(std::iter::repeat(blank));
    let line = |(label, piece): (Span<'static>, std::borrow::Cow<'_, str>)| {
        Line::from(vec![label, Span::styled(piece.into_owned(), value.style)])
    };
    labels.zip(pieces).map(line).collect()
}
