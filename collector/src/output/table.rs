//! Tables for people, with the columns of `docker stats`.

pub(crate) mod columns;
pub(crate) mod ended;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::HashSet;

use self::columns::{HOST_SOCKETS, Layout, traffic};
use crate::model::{Container, Family, Kind, Report, State};
use crate::output::text::printable;
use crate::output::{Scope, Sort};

/// Plain cgroups shown where there is neither a container nor a service.
pub const MAX_FALLBACK_CGROUPS: usize = 20;

/// How deep below the root those may be.
pub const MAX_FALLBACK_DEPTH: usize = 3;

/// What a table shows, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Which rows.
    pub scope: Scope,
    /// In which order.
    pub sort: Sort,
    /// Full ids instead of their first 12 characters.
    pub no_trunc: bool,
    /// Containers that ended, instead of what is alive.
    pub ended: bool,
}

/// A formatted report: tables of rows, then notes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The tables from top to bottom.
    pub tables: Vec<Table>,
    /// What the reader must know besides: footnotes, and sources that are not whole.
    pub notes: Vec<String>,
}

/// One table. All lines are safe on a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// A line above the table.
    pub intro: Option<String>,
    /// The column titles; `None` where there is nothing to show but the intro.
    pub header: Option<String>,
    /// A line for each row.
    pub rows: Vec<String>,
}

/// Lays out a report. Give it all rows: where none is in scope, it shows something else.
pub fn render(report: &Report, options: &Options) -> Page {
    let of_kind = |kind| report.containers.iter().filter(|row| row.kind == kind).collect();
    let containers: Vec<_> = of_kind(Kind::Container);
    let services: Vec<_> = of_kind(Kind::Service);
    let others: Vec<_> = of_kind(Kind::Other);

    let mut page = Builder { options, page: Page::default(), stars: false };
    if options.ended {
        page.page.tables.push(ended::table(report, options.no_trunc));
        return page.finish(report);
    }
    match options.scope {
        Scope::Containers if containers.is_empty() => page.instead(services, others),
        Scope::Containers => page.table(Layout::Containers, containers),
        Scope::Services if services.is_empty() => page.say("No services here."),
        Scope::Services => page.table(Layout::Services, services),
        Scope::All => {
            page.table(Layout::Containers, containers);
            page.table(Layout::Services, services);
            page.table(Layout::Cgroups, others);
            if page.page.tables.is_empty() {
                page.say("No containers, services or other cgroups here.");
            }
        }
    }
    page.finish(report)
}

impl Page {
    /// The lines from top to bottom, at most `height` of them. Rows that find no place are counted
    /// in a line of their own; notes give way when they would take more than half.
    pub fn lines(&self, height: Option<usize>) -> Vec<String> {
        let body = self.body();
        let mut notes: Vec<String> = self.notes.clone();
        if !notes.is_empty() {
            notes.insert(0, String::new());
        }
        let height = height.unwrap_or(usize::MAX);
        if body.len() + notes.len() <= height {
            return body.into_iter().map(|(line, _)| line.to_owned()).chain(notes).collect();
        }
        notes.truncate(height / 2);
        let room = (height - notes.len()).saturating_sub(1);
        let shown = body.iter().take(room).map(|(line, _)| (*line).to_owned());
        let hidden = body.iter().skip(room).filter(|(_, is_row)| *is_row).count();
        let more = (hidden > 0).then(|| format!("… and {hidden} more"));
        shown.chain(more).chain(notes).take(height).collect()
    }

    /// The lines of all tables, each with whether it is a row.
    fn body(&self) -> Vec<(&str, bool)> {
        let mut lines = Vec::new();
        for (index, table) in self.tables.iter().enumerate() {
            if index > 0 {
                lines.push(("", false));
            }
            lines.extend(table.intro.iter().map(|line| (line.as_str(), false)));
            lines.extend(table.header.iter().map(|line| (line.as_str(), false)));
            lines.extend(table.rows.iter().map(|line| (line.as_str(), true)));
        }
        lines
    }
}

struct Builder<'a> {
    options: &'a Options,
    page: Page,
    /// Whether a row carries the footnote's mark.
    stars: bool,
}

impl Builder<'_> {
    fn table(&mut self, layout: Layout, mut rows: Vec<&Container>) {
        if rows.is_empty() {
            return;
        }
        order(&mut rows, self.options.sort, layout);
        self.ordered_table(layout, &rows);
    }

    fn ordered_table(&mut self, layout: Layout, rows: &[&Container]) {
        let repeated = repeated_ids(rows);
        let mut grid = vec![layout.titles()];
        for row in rows {
            self.stars |= traffic(row).2;
            grid.push(layout.cells(row, self.options.no_trunc, repeated.contains(row.id.as_str())));
        }
        let mut lines = align(&grid).into_iter();
        self.page.tables.push(Table { intro: None, header: lines.next(), rows: lines.collect() });
    }

    /// What a host without containers has to show.
    fn instead(&mut self, services: Vec<&Container>, others: Vec<&Container>) {
        let count = services.len();
        if count > 0 {
            self.table(Layout::Services, services);
            let noun = if count == 1 { "service" } else { "services" };
            self.introduce(format!("No containers here; showing {count} {noun}."));
            return;
        }
        let biggest = biggest(others);
        let count = biggest.len();
        if count == 0 {
            self.say("No containers here, nor services or other cgroups.");
            return;
        }
        match self.options.sort {
            Sort::Name => self.ordered_table(Layout::Cgroups, &biggest),
            _ => self.table(Layout::Cgroups, biggest),
        }
        let noun = if count == 1 { "cgroup" } else { "cgroups" };
        self.introduce(format!(
            "No containers or services here; showing the biggest {count} {noun}."
        ));
    }

    /// Puts a line above the last table.
    fn introduce(&mut self, text: String) {
        if let Some(table) = self.page.tables.last_mut() {
            table.intro = Some(text);
        }
    }

    fn say(&mut self, text: &str) {
        let table = Table { intro: Some(text.to_owned()), ..Table::default() };
        self.page.tables.push(table);
    }

    fn finish(mut self, report: &Report) -> Page {
        if self.stars {
            self.page.notes.push(HOST_SOCKETS.to_owned());
        }
        for (family, source) in &report.sources {
            let state = match source.state {
                State::On => continue,
                State::Degraded => "degraded",
                State::Off => "off",
            };
            let mut note = format!("{}: {state}", family_name(*family));
            if let Some(reason) = &source.reason {
                note.push_str(" — ");
                note.push_str(&printable(reason));
            }
            self.page.notes.push(note);
        }
        self.page
    }
}

/// What people call a family.
pub(crate) fn family_name(family: Family) -> &'static str {
    match family {
        Family::Cpu => "cpu",
        Family::Memory => "memory",
        Family::Pids => "pids",
        Family::NetworkInterfaces => "network interfaces",
        Family::NetworkSockets => "network sockets",
        Family::NetworkTcp => "TCP events",
        Family::Block => "block",
        Family::Lifecycle => "lifecycle",
        Family::Identity => "identity",
    }
}

/// Sorts by name, or biggest first with the unknown at the end; equals by name.
fn order(rows: &mut [&Container], sort: Sort, layout: Layout) {
    rows.sort_by_cached_key(|row| {
        let size = match sort {
            Sort::Name => None,
            Sort::Cpu => row.cpu.percent.map(ordered),
            Sort::Memory => row.memory.working_set_bytes,
            Sort::Network => sum(traffic(row).0, traffic(row).1),
            Sort::Block => sum(row.block.total.read_bytes, row.block.total.write_bytes),
            Sort::Pids => row.pids.current,
        };
        (Reverse(size), layout.name(row).to_owned(), row.cgroup.clone())
    });
}

/// A non-negative number as one that sorts like it.
pub(crate) fn ordered(value: f64) -> u64 {
    value.max(0.0).to_bits()
}

fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (None, None) => None,
        _ => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
    }
}

/// The cgroups with the most memory, then the most CPU, near the root.
fn biggest(mut others: Vec<&Container>) -> Vec<&Container> {
    others.retain(|row| row.cgroup.split('/').skip(1).count() <= MAX_FALLBACK_DEPTH);
    others.sort_by_cached_key(|row| {
        let cpu = row.cpu.percent.map(ordered);
        (Reverse(row.memory.working_set_bytes), Reverse(cpu), row.cgroup.clone())
    });
    others.truncate(MAX_FALLBACK_CGROUPS);
    others
}

/// Ids that name several rows, as units of several users' managers do.
fn repeated_ids<'a>(rows: &[&'a Container]) -> HashSet<&'a str> {
    let mut seen = HashSet::new();
    rows.iter().map(|row| row.id.as_str()).filter(|id| !seen.insert(*id)).collect()
}

/// Pads each column to its widest cell as Docker does: three spaces between, at least ten wide.
fn align(grid: &[Vec<String>]) -> Vec<String> {
    let columns = grid.first().map_or(0, Vec::len);
    let mut widths = vec![10; columns];
    for row in grid {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + 3);
        }
    }
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<String>().trim_end().to_owned()
    };
    grid.iter().map(line).collect()
}
