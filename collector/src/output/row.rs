//! The rows of a report: which are shown, and in which order. Pure.

use std::cmp::Reverse;

use jiff::Timestamp;
use tare_model::{Container, Ended, Kind, Report};

use crate::output::{Sort, filter::Filters};

/// A row of a table, and what else its cells need.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The container, service or cgroup.
    pub container: &'a Container,
    /// Its receipt, if it has ended.
    pub ended: Option<&'a Ended>,
    /// The time of the report.
    pub now: Timestamp,
    /// How its cells are written.
    pub cells: CellOptions<'a>,
}

/// How cells are written.
#[derive(Clone, Copy, Debug)]
pub struct CellOptions<'a> {
    /// Names and ids as given on the command line.
    pub names: &'a [String],
    /// Whether ids are not cut to 12 characters.
    pub no_trunc: bool,
    /// Whether numbers that a footnote explains are marked.
    pub marks: bool,
}

/// The running rows of one kind.
pub(super) fn alive<'a>(
    report: &'a Report,
    kind: Kind,
    filters: &Filters,
    cells: CellOptions<'a>,
) -> Vec<Row<'a>> {
    let wanted = |row: &&Container| row.kind == kind && filters.fit(row);
    let row = |container| Row { container, ended: None, now: report.time, cells };
    report.containers.iter().filter(wanted).map(row).collect()
}

/// The ended rows, the latest first.
pub(super) fn ended<'a>(
    report: &'a Report,
    filters: &Filters,
    cells: CellOptions<'a>,
) -> Vec<Row<'a>> {
    let wanted = |ended: &&Ended| filters.fit(&ended.container);
    let row = |ended: &'a Ended| {
        let container = &ended.container;
        Row { container, ended: Some(ended), now: report.time, cells }
    };
    report.ended.iter().filter(wanted).map(row).collect()
}

/// The name of a row, which also orders rows.
pub(crate) fn name(container: &Container) -> &str {
    match container.kind {
        Kind::Container => container.name.as_deref().unwrap_or(&container.id),
        Kind::Service => &container.id,
        Kind::Other => &container.cgroup,
    }
}

/// Sorts by name, or the biggest first and the unknown last; equals by name.
pub(super) fn order(rows: &mut [Row<'_>], sort: Sort) {
    rows.sort_by_cached_key(|row| {
        let container = row.container;
        let size = match sort {
            Sort::Name => None,
            Sort::Cpu => container.cpu.percent.map(ordered),
            Sort::Memory => container.memory.working_set_bytes,
            Sort::Network => {
                let io = container.network.io();
                sum(io.rx_bytes, io.tx_bytes)
            }
            Sort::Block => sum(container.block.total.read_bytes, container.block.total.write_bytes),
            Sort::Pids => container.pids.current,
        };
        (Reverse(size), name(container).to_owned(), container.cgroup.clone())
    });
}

/// An integer that sorts like this non-negative number.
pub(crate) fn ordered(value: f64) -> u64 {
    value.max(0.0).to_bits()
}

fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (None, None) => None,
        _ => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
    }
}
