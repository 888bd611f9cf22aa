//! A section of the detail view, and its lines.

use ratatui::{
    style::Style,
    text::{Line, Span},
};
use tare_model::{Container, Ended, Report};

use crate::{
    output::text::printable,
    top::{state::State, view::theme::Theme},
};

/// Characters of a label, with the spaces before its value.
pub(super) const LABEL_WIDTH: usize = 13;

/// A part of the detail view.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) lines: Vec<Line<'static>>,
}

/// The container that the detail view is about, and what else a section needs.
pub(super) struct Subject<'a> {
    pub(super) state: &'a State,
    pub(super) report: &'a Report,
    pub(super) row: &'a Container,
    pub(super) ended: Option<&'a Ended>,
    /// The row in the report before, and how many seconds ago that was.
    pub(super) before: Option<(&'a Container, f64)>,
    pub(super) theme: Theme,
    /// Characters in a line.
    pub(super) width: usize,
}

/// A line with a label and a value.
pub(super) fn entry(label: &str, value: impl Into<String>) -> Line<'static> {
    styled(label, value, Style::new())
}

/// A line with a label and a value in a style.
pub(super) fn styled(label: &str, value: impl Into<String>, style: Style) -> Line<'static> {
    let label = Span::raw(format!("{label:<LABEL_WIDTH$} "));
    Line::from(vec![label, Span::styled(printable(&value.into()).into_owned(), style)])
}

/// A text in lines of the section's width.
pub(super) fn wrapped(text: &str, subject: &Subject<'_>) -> Vec<Line<'static>> {
    let text = printable(text);
    let lines = textwrap::wrap(&text, subject.width.max(1));
    lines.into_iter().map(|line| Line::from(line.into_owned())).collect()
}
