//! The table on the screen.

use anyhow::{Context as _, Result, ensure};
use tare_tests::{docker::Run, lab::Lab};

const COLUMNS: [&str; 8] =
    ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"];

/// Cells are separated by at least two spaces.
fn cells(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn the_table_has_the_columns_of_docker_stats_and_a_row_for_each_container() -> Result<()> {
    let lab = Lab::open()?;
    let containers = [lab.start(Run::load("serve"))?, lab.start(Run::load("spin --for 600s"))?];
    let done = lab.tare.run(&["stats", "--no-stream"])?;
    ensure!(done.status.success(), "{done:?}");
    let mut lines = done.stdout.lines().skip_while(|line| !line.starts_with("CONTAINER ID"));
    let header = lines.next().with_context(|| format!("no header in {done:?}"))?;
    ensure!(cells(header) == COLUMNS, "columns {:?}", cells(header));
    let rows: Vec<Vec<&str>> = lines.map(cells).collect();
    for container in &containers {
        let row = rows.iter().find(|row| row.get(1) == Some(&container.name()));
        let row = row.with_context(|| format!("no row of {} in {rows:?}", container.name()))?;
        ensure!(row.len() == COLUMNS.len(), "{row:?}");
        ensure!(container.id().starts_with(row[0]) && row[0].len() == 12, "{row:?}");
        ensure!(row[2].ends_with('%') && row[4].ends_with('%'), "{row:?}");
        ensure!(row[3].contains(" / ") && row[5].contains(" / "), "{row:?}");
    }
    let escape = '\u{1b}';
    ensure!(!done.stdout.contains(escape), "escape sequences where no terminal is: {done:?}");
    Ok(())
}

#[test]
fn names_and_ids_choose_the_containers_shown() -> Result<()> {
    let lab = Lab::open()?;
    let wanted = [lab.start(Run::load("serve"))?, lab.start(Run::load("serve"))?];
    let other = lab.start(Run::load("serve"))?;
    let (name, id) = (wanted[0].name(), &wanted[1].id()[..12]);
    let done = lab.tare.run(&["stats", "--no-stream", "--format", "json", name, id])?;
    ensure!(done.status.success(), "{done:?}");
    let report = tare_tests::report::Report::parse(done.stdout.trim())?;
    for container in &wanted {
        report.row(container.id())?;
    }
    ensure!(report.find(other.id()).is_none(), "{} was not asked for", other.name());
    Ok(())
}
