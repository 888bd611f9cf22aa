//! The list: titles, and the lines that find a place.

use ratatui::{Frame, buffer::Buffer, layout::Rect, style::Style};

use super::{
    Areas,
    columns::{self, Column, Placed},
    graph::sparkline,
    theme::Theme,
    tree,
};
use crate::{
    model::{Container, Kind, Report},
    output::{Scope, Sort, text::printable},
    top::{figures::Figures, history::Series, rows::Line, state::State},
};

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, mut area: Rect, state: &State, theme: Theme) -> Areas {
    let Some(report) = &state.report else { return Areas::default() };
    if let Some(text) = said(state).filter(|_| area.height >= 3) {
        super::put(
            frame,
            super::above(&mut area),
            ratatui::text::Line::styled(text, theme.faint()),
        );
    }
    let placed = columns::place(area.width, &state.wanted);
    let titles = super::above(&mut area);
    let painter = Painter { state, report, theme, placed: &placed };
    painter.titles(frame.buffer_mut(), titles);
    let lines = &state.lines.lines;
    let height = usize::from(area.height);
    // The mark stays in sight, and the list fills the screen as far as it can.
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

/// What the reader must know of the choice of rows.
fn said(state: &State) -> Option<String> {
    let wanted = &state.wanted;
    let mut said = Vec::new();
    if wanted.is_ended {
        said.push("What ended since this started to look, the latest first".to_owned());
    }
    match state.lines.instead {
        Some(Kind::Service) => said.push("No containers here; showing services".to_owned()),
        Some(_) => said.push("No containers or services here; showing cgroups".to_owned()),
        None => match wanted.scope {
            Scope::Containers => {}
            Scope::Services => said.push("Services".to_owned()),
            Scope::All => said.push("Containers, services and other cgroups".to_owned()),
        },
    }
    if !wanted.filter.is_empty() && state.prompt.is_none() {
        said.push(format!("only with “{}” (Esc shows all)", printable(&wanted.filter)));
    }
    if state.lines.lines.is_empty() {
        said.push("nothing to show".to_owned());
    }
    (!said.is_empty()).then(|| said.join(" · "))
}

/// What a row needs to be painted.
struct Painter<'a> {
    state: &'a State,
    report: &'a Report,
    theme: Theme,
    placed: &'a [Placed],
}

impl Painter<'_> {
    fn titles(&self, buffer: &mut Buffer, area: Rect) {
        buffer.set_style(area, self.theme.header());
        let wanted = &self.state.wanted;
        for placed in self.placed {
            let column = placed.column;
            let sorts = column.sort() == Some(wanted.sort)
                && !matches!(column, Column::Sparkline(_))
                && !wanted.is_ended;
            let mut title = column.title().to_owned();
            if sorts {
                // Names go up from A, sizes down from the biggest.
                let is_up = wanted.is_reversed != (wanted.sort == Sort::Name);
                title.push(if is_up { '▴' } else { '▾' });
            }
            let style = self.theme.header();
            let style = if sorts { style.patch(self.theme.title()) } else { style };
            put(buffer, area, placed, &title, style);
        }
    }

    fn line(&self, buffer: &mut Buffer, area: Rect, line: Line) {
        match line {
            Line::Group(index) => {
                let Some(group) = self.state.lines.groups.get(index) else { return };
                for placed in self.placed {
                    let text = tree::cell(placed.column, group);
                    put(buffer, area, placed, &text, self.theme.title());
                }
            }
            Line::Row(index) => {
                let row = self.report.containers.get(index);
                let figures = self.state.histories.figures().get(index);
                let Some((row, figures)) = row.zip(figures) else { return };
                for placed in self.placed {
                    let (text, style) = self.alive(placed, row, figures);
                    put(buffer, area, placed, &text, style);
                }
            }
            Line::Ended(index) => {
                let Some(ended) = self.report.ended.get(index) else { return };
                for placed in self.placed {
                    let text = match placed.column {
                        Column::Name => columns::name(&ended.container),
                        Column::Ended(column) => columns::ended(column, ended, self.report),
                        _ => String::new(),
                    };
                    put(buffer, area, placed, &text, Style::new());
                }
            }
        }
    }

    fn alive(&self, placed: &Placed, row: &Container, figures: &Figures) -> (String, Style) {
        let text = match placed.column {
            Column::Name if self.state.wanted.is_tree => tree::member(row),
            Column::Name => columns::name(row),
            Column::Id => columns::short_id(row),
            Column::Figure(figure) => columns::figure(figure, figures),
            Column::Sparkline(series) => {
                let values = self.state.histories.values(&row.cgroup, series);
                // A whole CPU is worth a full line; for the others it is their shape that counts.
                let full = if series == Series::Cpu { 100.0 } else { 0.0 };
                let line = sparkline(values, usize::from(placed.width), full);
                return (line, self.theme.graph());
            }
            Column::Ended(_) => String::new(),
        };
        (text, Style::new())
    }
}

/// Puts a text at its column, cut to it.
fn put(buffer: &mut Buffer, area: Rect, placed: &Placed, text: &str, style: Style) {
    let length = text.chars().count().min(usize::from(placed.width)) as u16;
    let indent = if placed.column.is_right() { placed.width - length } else { 0 };
    let x = area.x + placed.x + indent;
    if area.is_empty() || x >= area.right() {
        return;
    }
    buffer.set_stringn(x, area.y, text, usize::from(placed.width - indent), style);
}
