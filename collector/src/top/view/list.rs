//! The list: column titles, and the lines that fit.

use ratatui::{Frame, buffer::Buffer, layout::Rect, style::Style, text::Line};
use tare_model::{Container, Kind, Report};

use super::{
    columns::{self, Column, PlacedColumn},
    graph::sparkline,
    screen::{put, take_top},
    theme::Theme,
    tree,
};
use crate::{
    output::{Scope, Sort, text::printable},
    top::{areas::Areas, figures::Figures, history::Series, rows::ListLine, state::State},
};

/// Draws the list.
pub(super) fn draw(frame: &mut Frame<'_>, mut area: Rect, state: &State, theme: Theme) -> Areas {
    let Some(report) = &state.report else { return Areas::default() };
    if let Some(text) = notice(state).filter(|_| area.height >= 3) {
        put(frame, take_top(&mut area), Line::styled(text, theme.faint()));
    }
    let placed = columns::place(area.width, &state.options);
    let titles = take_top(&mut area);
    let painter = Painter { state, report, theme, placed: &placed };
    painter.titles(frame.buffer_mut(), titles);
    let lines = &state.list.lines;
    let height = usize::from(area.height);
    // The marked line is always visible, and there is no empty space below a list that is long
    // enough.
    let top = state.top.min(state.cursor).max((state.cursor + 1).saturating_sub(height));
    let top = top.min(lines.len().saturating_sub(height));
    for (y, (place, line)) in (area.y..).zip(lines.iter().enumerate().skip(top).take(height)) {
        let row = Rect { y, height: 1, ..area };
        painter.line(frame.buffer_mut(), row, *line);
        if place == state.cursor {
            frame.buffer_mut().set_style(row, theme.marked());
        }
    }
    let sorts = placed.iter().filter_map(|placed| {
        Some((placed.x, placed.x + placed.width.saturating_sub(1), placed.column.sort()?))
    });
    Areas {
        titles: (titles.y, sorts.collect()),
        rows: area,
        top,
        lines: lines.len(),
        page_lines: height,
        scroll: 0,
    }
}

/// Which rows the list shows, where that is not obvious.
fn notice(state: &State) -> Option<String> {
    let options = &state.options;
    let mut parts = Vec::new();
    if options.is_ended {
        parts.push("Containers that ended since Tare started, the latest first".to_owned());
    }
    match state.list.fallback {
        Some(Kind::Service) => parts.push("No containers here; showing services".to_owned()),
        Some(_) => parts.push("No containers or services here; showing cgroups".to_owned()),
        None => match options.scope {
            Scope::Containers => {}
            Scope::Services => parts.push("Services".to_owned()),
            Scope::All => parts.push("Containers, services and other cgroups".to_owned()),
        },
    }
    if !options.filter.is_empty() && state.prompt.is_none() {
        parts.push(format!("only rows with “{}” (Esc shows all)", printable(&options.filter)));
    }
    if state.list.lines.is_empty() {
        parts.push("nothing to show".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join(" · "))
}

/// What it takes to draw a line.
struct Painter<'a> {
    state: &'a State,
    report: &'a Report,
    theme: Theme,
    placed: &'a [PlacedColumn],
}

impl Painter<'_> {
    fn titles(&self, buffer: &mut Buffer, area: Rect) {
        buffer.set_style(area, self.theme.header());
        let options = &self.state.options;
        for placed in self.placed {
            let column = placed.column;
            let sorts = column.sort() == Some(options.sort)
                && !matches!(column, Column::Sparkline(_))
                && !options.is_ended;
            let mut title = column.title().to_owned();
            if sorts {
                // Names are sorted ascending by default, numbers descending.
                let is_up = options.is_reversed != (options.sort == Sort::Name);
                title.push(if is_up { '▴' } else { '▾' });
            }
            let style = self.theme.header();
            let style = if sorts { style.patch(self.theme.title()) } else { style };
            put_cell(buffer, area, placed, &title, style);
        }
    }

    fn line(&self, buffer: &mut Buffer, area: Rect, line: ListLine) {
        match line {
            ListLine::Group(index) => {
                let Some(group) = self.state.list.groups.get(index) else { return };
                for placed in self.placed {
                    let text = tree::cell(placed.column, group);
                    put_cell(buffer, area, placed, &text, self.theme.title());
                }
            }
            ListLine::Row(index) => {
                let row = self.report.containers.get(index);
                let figures = self.state.histories.figures().get(index);
                let Some((row, figures)) = row.zip(figures) else { return };
                for placed in self.placed {
                    let (text, style) = self.alive(placed, row, figures);
                    put_cell(buffer, area, placed, &text, style);
                }
            }
            ListLine::Ended(index) => {
                let Some(ended) = self.report.ended.get(index) else { return };
                for placed in self.placed {
                    let text = match placed.column {
                        Column::Name => columns::name(&ended.container),
                        Column::Ended(column) => columns::ended(column, ended, self.report),
                        _ => String::new(),
                    };
                    put_cell(buffer, area, placed, &text, Style::new());
                }
            }
        }
    }

    fn alive(&self, placed: &PlacedColumn, row: &Container, figures: &Figures) -> (String, Style) {
        let text = match placed.column {
            Column::Name if self.state.options.is_tree => tree::row_name(row),
            Column::Name => columns::name(row),
            Column::Id => columns::short_id(row),
            Column::Figure(figure) => columns::figure(figure, figures),
            Column::Sparkline(series) => {
                let values = self.state.histories.values(&row.cgroup, series);
                // The full height of the CPU line is one CPU, that of the others their highest
                // value.
                let full = if series == Series::Cpu { 100.0 } else { 0.0 };
                let line = sparkline(values, usize::from(placed.width), full);
                return (line, self.theme.graph());
            }
            Column::Ended(_) => String::new(),
        };
        (text, Style::new())
    }
}

/// Draws the text of a cell, cut to the width of its column.
fn put_cell(buffer: &mut Buffer, area: Rect, placed: &PlacedColumn, text: &str, style: Style) {
    let length = text.chars().count().min(usize::from(placed.width)) as u16;
    let indent = if placed.column.is_right() { placed.width - length } else { 0 };
    let x = area.x + placed.x + indent;
    if area.is_empty() || x >= area.right() {
        return;
    }
    buffer.set_stringn(x, area.y, text, usize::from(placed.width - indent), style);
}
