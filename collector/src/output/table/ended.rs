//! Containers that ended.

use super::{Table, align, columns};
use crate::model::{Ended, Report};

/// The receipts as a table, the latest first.
pub(super) fn table(report: &Report, no_trunc: bool) -> Table {
    if report.ended.is_empty() {
        let intro = "No container has ended since this started to look.".to_owned();
        return Table { intro: Some(intro), ..Table::default() };
    }
    let titles = [
        "CONTAINER ID",
        "NAME",
        "ENDED",
        "CPU TIME",
        "MEM PEAK",
        "NET I/O",
        "BLOCK I/O",
        "OOM",
        "TOTALS",
    ];
    let mut grid = vec![titles.map(str::to_owned).to_vec()];
    grid.extend(report.ended.iter().map(|ended| cells(report, ended, no_trunc)));
    let mut lines = align(&grid).into_iter();
    Table { intro: None, header: lines.next(), rows: lines.collect() }
}

fn cells(report: &Report, ended: &Ended, no_trunc: bool) -> Vec<String> {
    let row = &ended.container;
    let ago = report.time.duration_since(ended.ended_at).as_secs_f64().max(0.0);
    let [id, name] = columns::who(row, no_trunc);
    vec![
        id,
        name,
        format!("{ago:.1} s ago"),
        columns::known(row.cpu.usage_seconds, |seconds| format!("{seconds:.3} s")),
        columns::known(row.memory.peak_bytes, crate::output::units::bytes_size),
        columns::network(row),
        columns::pair(row.block.total.read_bytes, row.block.total.write_bytes),
        columns::known(row.memory.oom_kills, |count| count.to_string()),
        totals(ended),
    ]
}

/// `final`, or what keeps the totals from being so.
pub(crate) fn totals(ended: &Ended) -> String {
    let oldest = ended.finality.values().filter_map(|how| how.age_seconds).reduce(f64::max);
    let unknown = ended.finality.values().any(|how| how.state == "unknown");
    match oldest {
        Some(age) => format!("{age:.1} s before the end"),
        None if unknown => "final, some unknown".to_owned(),
        None => "final".to_owned(),
    }
}
