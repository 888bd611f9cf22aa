//! The page of one container: everything that is known of it, and what is not and why.

mod block;
mod network;
mod resources;
mod who;

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{Areas, theme::Theme};
use crate::{
    model::{Container, Ended, Report},
    output::text::printable,
    top::state::State,
};

/// Pages as wide as this have two columns.
const TWO_COLUMNS: u16 = 140;

/// Characters of a line's first word, after which its value stands.
const LABEL_WIDTH: usize = 13;

/// A part of the page.
struct Section {
    title: &'static str,
    lines: Vec<Line<'static>>,
}

/// What a section is made from.
struct Subject<'a> {
    state: &'a State,
    report: &'a Report,
    row: &'a Container,
    ended: Option<&'a Ended>,
    /// The row in the report before, and how many seconds ago that was.
    before: Option<(&'a Container, f64)>,
    theme: Theme,
    /// Characters in a line.
    width: usize,
}

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, mut area: Rect, state: &State, theme: Theme) -> Areas {
    let (Some(report), Some((row, ended))) = (&state.report, state.shown()) else {
        super::put(frame, super::above(&mut area), Line::from("Nothing is known of it any more."));
        return Areas::default();
    };
    let columns = if area.width >= TWO_COLUMNS { 2 } else { 1 };
    let width = area.width.saturating_sub(2 * (columns - 1)) / columns;
    let before = state.detail.as_ref().and_then(|detail| detail.before.as_ref());
    let before = before.zip(report.interval_seconds).filter(|_| ended.is_none());
    let subject = Subject { state, report, row, ended, before, theme, width: usize::from(width) };
    let sections = sections(&subject);
    let pages = if columns == 2 { split(sections) } else { vec![sections] };
    let pages: Vec<Vec<Line<'_>>> = pages.into_iter().map(|page| lines(page, &subject)).collect();
    let longest = pages.iter().map(Vec::len).max().unwrap_or(0);
    super::put(frame, super::above(&mut area), title(&subject));
    let height = usize::from(area.height);
    let asked = state.detail.as_ref().map_or(0, |detail| detail.scroll);
    let scroll = asked.min(longest.saturating_sub(height));
    for (x, page) in (area.x..).step_by(usize::from(width) + 2).zip(pages) {
        for (y, line) in (area.y..area.bottom()).zip(page.into_iter().skip(scroll)) {
            super::put(frame, Rect { x, y, width, height: 1 }, line);
        }
    }
    Areas { page_lines: height, scroll, ..Areas::default() }
}

fn sections(subject: &Subject<'_>) -> Vec<Section> {
    let sections = [
        resources::cpu(subject),
        resources::memory(subject),
        resources::tasks(subject),
        network::section(subject),
        block::section(subject),
        who::events(subject),
        who::identity(subject),
        who::unknown(subject),
    ];
    sections.into_iter().filter(|section| !section.lines.is_empty()).collect()
}

fn title(subject: &Subject<'_>) -> Line<'static> {
    let state = match subject.ended {
        Some(ended) => format!("ended {}", super::ago(subject.report.time, ended.ended_at)),
        None => subject.row.state.to_string(),
    };
    Line::from(vec![
        Span::styled(super::columns::name(subject.row), subject.theme.title()),
        Span::raw(format!("  {state}")),
    ])
}

/// Two columns of about the same height, in reading order.
fn split(sections: Vec<Section>) -> Vec<Vec<Section>> {
    let height = |section: &Section| section.lines.len() + 2;
    let all: usize = sections.iter().map(height).sum();
    let mut pages = vec![Vec::new(), Vec::new()];
    let mut above = 0;
    for section in sections {
        let own = height(&section);
        // A section goes where its middle is.
        pages[usize::from(2 * above + own > all)].push(section);
        above += own;
    }
    pages
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

/// A line of a name and a value, in as many lines as the value needs.
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

/// A line of a name and a value.
fn entry(label: &str, value: impl Into<String>) -> Line<'static> {
    styled(label, value, Style::new())
}

/// The same, with a style for the value.
fn styled(label: &str, value: impl Into<String>, style: Style) -> Line<'static> {
    let label = Span::raw(format!("{label:<LABEL_WIDTH$} "));
    Line::from(vec![label, Span::styled(printable(&value.into()).into_owned(), style)])
}

/// Text in lines of the page's width.
fn wrapped(text: &str, subject: &Subject<'_>) -> Vec<Line<'static>> {
    let text = printable(text);
    let lines = textwrap::wrap(&text, subject.width.max(1));
    lines.into_iter().map(|line| Line::from(line.into_owned())).collect()
}
