//! `tare diff`: two saved snapshots side by side.

mod compare;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, anyhow};
use tare_model::Snapshot;

use self::compare::{Changed, Difference, compare};
use crate::{
    config::{self, PlainFormat},
    output::{
        json,
        measure::shown,
        text::{align, printable},
        units::span,
    },
    record::{Replay, When},
    snapshot,
};

/// Compares two snapshots, and prints what changed.
///
/// # Errors
///
/// If one of them cannot be read, or if the result cannot be written.
pub fn run(options: &config::Diff) -> Result<()> {
    let mut snapshots = [load(&options.before, options)?, load(&options.after, options)?];
    for snapshot in &mut snapshots {
        snapshot::keep(snapshot, &options.names)?;
    }
    let [before, after] = snapshots;
    let difference = compare(&before, &after, options.percent);
    let mut out = io::stdout().lock();
    match options.format {
        PlainFormat::Json => json::write(&difference, &mut out)?,
        PlainFormat::Table => out.write_all(render(&difference).as_bytes())?,
    }
    out.flush()?;
    Ok(())
}

/// A saved snapshot, or an instant of a recording.
fn load(source: &Path, options: &config::Diff) -> Result<Snapshot> {
    let (path, at) = match split(source) {
        Some((path, time)) if !source.exists() => {
            let at = time.parse().map_err(|error| anyhow!("{}: {error}", source.display()))?;
            (path, at)
        }
        _ if !Replay::is_recording(source) => return snapshot::read(source),
        _ => (source.to_owned(), When::Before(Duration::ZERO)),
    };
    let from = Some(When::Earlier(Box::new(at.clone()), options.window));
    snapshot::replayed(&config::Replay { path, at: Some(at), from })
}

/// `PATH@TIME`.
fn split(source: &Path) -> Option<(PathBuf, &str)> {
    let (path, time) = source.to_str()?.rsplit_once('@')?;
    Some((path.into(), time))
}

fn render(difference: &Difference) -> String {
    let mut lines = "CONTAINER\tMEASURE\tBEFORE\tAFTER\tCHANGE\n".to_owned();
    for changed in &difference.changes {
        row(&mut lines, changed);
    }
    let Difference { before, after, changes, only_before, only_after } = difference;
    let apart = after.duration_since(*before).abs().as_secs_f64();
    let mut page = format!(
        "{} → {} ({} apart)\n\n",
        before.strftime("%F %T"),
        after.strftime("%F %T UTC"),
        span(apart)
    );
    page += &if changes.is_empty() { "Nothing changed.\n".to_owned() } else { align(&lines) };
    for (what, names) in [("Only before", only_before), ("Only after", only_after)] {
        if !names.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(page, "\n{what}: {}", printable(&names.join(", ")));
        }
    }
    page
}

fn row(lines: &mut String, changed: &Changed) {
    let Changed { container, measure, before, after, change_percent, .. } = changed;
    let change =
        change_percent.map_or_else(|| "new".to_owned(), |percent| format!("{percent:+.0}%"));
    let (name, before, after) =
        (printable(container), shown(measure, *before), shown(measure, *after));
    let _ = writeln!(lines, "{name}\t{}\t{before}\t{after}\t{change}", measure.name);
}
