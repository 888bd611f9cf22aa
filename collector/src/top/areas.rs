//! Where the parts of a frame are.

use ratatui::layout::Rect;

use crate::output::Sort;

/// Where the parts of the last frame are: for the mouse, and for moves by a screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Areas {
    /// The line of the column titles, and for each title its first and last column of the screen
    /// and the order that a click on it asks for.
    pub titles: (u16, Vec<(u16, u16, Sort)>),
    /// The lines of the list.
    pub rows: Rect,
    /// The index of the first line of the list that is shown.
    pub top: usize,
    /// How many lines the list has.
    pub lines: usize,
    /// How many lines of the list or of the detail view fit.
    pub page_lines: usize,
    /// The index of the first line of the detail view that is shown.
    pub scroll: usize,
}

impl Areas {
    /// The order that a click at a place asks for.
    pub(super) fn sort_at(&self, column: u16, row: u16) -> Option<Sort> {
        let (line, titles) = &self.titles;
        let mut at = titles.iter().filter(|(first, last, _)| (*first..=*last).contains(&column));
        at.next().filter(|_| row == *line).map(|(_, _, sort)| *sort)
    }

    /// The index of the line of the list at a place.
    pub(super) fn line_at(&self, column: u16, row: u16) -> Option<usize> {
        let is_inside = self.rows.contains((column, row).into());
        let line = self.top + usize::from(row.saturating_sub(self.rows.y));
        (is_inside && line < self.lines).then_some(line)
    }
}
