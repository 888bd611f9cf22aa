//! Tables for people, by default with the columns of `docker stats`.

#[cfg(test)]
mod tests;

use std::{cmp::Reverse, collections::HashSet};

use tare_model::{Family, Kind, Report, State};

use crate::output::{
    Scope, Sort,
    columns::{self, Column, HOST_SOCKETS},
    filter::Filters,
    row::{self, CellOptions, Row, order, ordered},
    text::{align, printable},
};

/// How many plain cgroups are shown where there are neither containers nor services.
pub const MAX_FALLBACK_CGROUPS: usize = 20;

const NONE_ENDED: &str = "No container has ended since Tare started.";

const NONE_FIT: &str = "No container fits the filters.";

/// How deep below the root they are at most.
pub const MAX_FALLBACK_DEPTH: usize = 3;

/// What a table shows, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Names and ids of the rows to show; empty for all.
    pub names: Vec<String>,
    /// The kinds of rows.
    pub scope: Scope,
    /// Which rows of these kinds.
    pub filters: Filters,
    /// The order of rows.
    pub sort: Sort,
    /// Whether ids are not cut to 12 characters.
    pub no_trunc: bool,
    /// Whether ended containers are shown too.
    pub all: bool,
    /// Whether only ended containers are shown.
    pub ended: bool,
    /// The columns from left to right.
    pub columns: Vec<&'static Column>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            scope: Scope::default(),
            filters: Filters::default(),
            sort: Sort::default(),
            no_trunc: false,
            all: false,
            ended: false,
            columns: columns::usual(false, false),
        }
    }
}

impl Options {
    /// The containers to show, in order: running, ended, or both.
    pub(super) fn containers<'a>(&'a self, report: &'a Report, marks: bool) -> Vec<Row<'a>> {
        if self.ended {
            return row::ended(report, &self.filters, self.cells(marks));
        }
        let mut rows = row::alive(report, Kind::Container, &self.filters, self.cells(marks));
        if self.all {
            rows.extend(row::ended(report, &self.filters, self.cells(marks)));
        }
        order(&mut rows, self.sort);
        rows
    }

    /// The rows of another kind to show, in order.
    pub(super) fn others<'a>(
        &'a self,
        report: &'a Report,
        kind: Kind,
        marks: bool,
    ) -> Vec<Row<'a>> {
        let mut rows = row::alive(report, kind, &self.filters, self.cells(marks));
        order(&mut rows, self.sort);
        rows
    }

    pub(super) fn cells(&self, marks: bool) -> CellOptions<'_> {
        CellOptions { names: &self.names, no_trunc: self.no_trunc, marks }
    }
}

/// A formatted report: tables of rows, then notes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The tables from top to bottom.
    pub tables: Vec<Table>,
    /// Footnotes, and sources that are degraded or off.
    pub notes: Vec<String>,
}

/// One table. All lines are safe on a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// A line above the table.
    pub intro: Option<String>,
    /// The column titles; `None` if there is only the intro.
    pub header: Option<String>,
    /// A line for each row.
    pub rows: Vec<String>,
}

/// Formats a report. The report must hold all rows: where none is in scope, others are shown.
pub fn render(report: &Report, options: &Options) -> Listing {
    let containers = options.containers(report, true);
    let services = options.others(report, Kind::Service, true);
    let others = options.others(report, Kind::Other, true);

    let mut builder = Builder { options, listing: Listing::default(), has_marks: false };
    match options.scope {
        _ if options.ended && containers.is_empty() => builder.message(NONE_ENDED),
        _ if options.ended => builder.table(Kind::Container, &containers),
        Scope::Containers if !containers.is_empty() => builder.table(Kind::Container, &containers),
        Scope::Containers if !options.filters.is_empty() => builder.message(NONE_FIT),
        Scope::Containers => builder.fallback(&services, others),
        Scope::Services if services.is_empty() => builder.message("No services here."),
        Scope::Services => builder.table(Kind::Service, &services),
        Scope::All => {
            builder.table(Kind::Container, &containers);
            builder.table(Kind::Service, &services);
            builder.table(Kind::Other, &others);
            if builder.listing.tables.is_empty() {
                builder.message("No containers, services or other cgroups here.");
            }
        }
    }
    builder.finish(report)
}

impl Listing {
    /// The lines from top to bottom, at most `height`. A line counts the rows that do not fit.
    /// Notes take at most half of the lines.
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

    /// The lines of all tables, and whether each is a row.
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
    listing: Listing,
    /// Whether a row has a mark that the footnote explains.
    has_marks: bool,
}

impl Builder<'_> {
    fn table(&mut self, kind: Kind, rows: &[Row<'_>]) {
        if rows.is_empty() {
            return;
        }
        let repeated = repeated_ids(rows);
        let columns = self.columns(kind);
        let title = own_title(kind).map(str::to_owned);
        let titles = title.into_iter().chain(columns.iter().map(|column| column.title.to_owned()));
        let mut lines = vec![joined(titles)];
        for row in rows {
            self.has_marks |= row.container.network.io().own_sockets
                && columns.iter().any(|column| column.name == "net");
            let own_name = own_title(kind).map(|_| {
                let ambiguous = repeated.contains(row.container.id.as_str());
                printable(if ambiguous { &row.container.cgroup } else { row::name(row.container) })
                    .into_owned()
            });
            lines.push(joined(
                own_name.into_iter().chain(columns.iter().map(|column| column.text(row))),
            ));
        }
        let aligned = align(&(lines.join("\n") + "\n"));
        let mut lines = aligned.lines().map(|line| line.trim_end().to_owned());
        self.listing.tables.push(Table {
            intro: None,
            header: lines.next(),
            rows: lines.collect(),
        });
    }

    /// The columns without those for id and name: services and plain cgroups have one name, in a
    /// column of its own.
    fn columns(&self, kind: Kind) -> Vec<&'static Column> {
        let mut columns = self.options.columns.clone();
        if own_title(kind).is_some() {
            columns.retain(|column| !["id", "container", "name"].contains(&column.name));
        }
        columns
    }

    /// Shows services, or else cgroups, on a host without containers.
    fn fallback(&mut self, services: &[Row<'_>], others: Vec<Row<'_>>) {
        let count = services.len();
        if count > 0 {
            self.table(Kind::Service, services);
            let noun = if count == 1 { "service" } else { "services" };
            self.set_intro(format!("No containers here; showing {count} {noun}."));
            return;
        }
        let mut biggest = biggest(others);
        let count = biggest.len();
        if count == 0 {
            self.message("No containers here, nor services or other cgroups.");
            return;
        }
        if self.options.sort != Sort::Name {
            order(&mut biggest, self.options.sort);
        }
        self.table(Kind::Other, &biggest);
        let noun = if count == 1 { "cgroup" } else { "cgroups" };
        self.set_intro(format!(
            "No containers or services here; showing the biggest {count} {noun}."
        ));
    }

    /// Adds a line above the last table.
    fn set_intro(&mut self, text: String) {
        if let Some(table) = self.listing.tables.last_mut() {
            table.intro = Some(text);
        }
    }

    fn message(&mut self, text: &str) {
        let table = Table { intro: Some(text.to_owned()), ..Table::default() };
        self.listing.tables.push(table);
    }

    fn finish(mut self, report: &Report) -> Listing {
        if self.has_marks {
            self.listing.notes.push(HOST_SOCKETS.to_owned());
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
            self.listing.notes.push(note);
        }
        self.listing
    }
}

/// The name of a family, for people.
pub(crate) fn family_name(family: Family) -> &'static str {
    match family {
        Family::Cpu => "cpu",
        Family::Memory => "memory",
        Family::Pids => "pids",
        Family::Tasks => "tasks",
        Family::NetworkInterfaces => "network interfaces",
        Family::NetworkSockets => "network sockets",
        Family::NetworkTcp => "TCP events",
        Family::Block => "block",
        Family::Lifecycle => "lifecycle",
        Family::Identity => "identity",
        Family::PerfEvents => "perf events",
    }
}

/// The title of the column with the name, for kinds whose id is their name.
fn own_title(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Container => None,
        Kind::Service => Some("SERVICE"),
        Kind::Other => Some("CGROUP"),
    }
}

fn joined(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join("\t")
}

/// The cgroups near the root with the most memory, then the most CPU.
fn biggest(mut others: Vec<Row<'_>>) -> Vec<Row<'_>> {
    others.retain(|row| row.container.cgroup.split('/').skip(1).count() <= MAX_FALLBACK_DEPTH);
    others.sort_by_cached_key(|row| {
        let cpu = row.container.cpu.percent.map(ordered);
        let memory = row.container.memory.working_set_bytes;
        (Reverse(memory), Reverse(cpu), row.container.cgroup.clone())
    });
    others.truncate(MAX_FALLBACK_CGROUPS);
    others
}

/// Ids that several rows have, such as units of the service managers of several users.
fn repeated_ids<'a>(rows: &[Row<'a>]) -> HashSet<&'a str> {
    let mut seen = HashSet::new();
    rows.iter().map(|row| row.container.id.as_str()).filter(|id| !seen.insert(*id)).collect()
}
