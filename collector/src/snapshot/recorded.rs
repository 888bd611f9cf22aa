//! A snapshot of a recorded instant or stretch.

use anyhow::{Context as _, Result, bail};
use jiff::tz::TimeZone;
use tare_model::Snapshot;

use crate::{
    config,
    record::{Replay, time_of},
};

/// The snapshot of the instant that is asked for. With the beginning of a stretch, rates and
/// changes are those of the stretch.
///
/// # Errors
///
/// If there is no such recording, or if what was recorded cannot be read.
pub(crate) fn take(options: &config::Replay) -> Result<Snapshot> {
    let mut replay = Replay::open(&options.path)?;
    let (_, end) = replay.span().context("nothing is recorded")?;
    let zone = TimeZone::system();
    let at = options.at.as_ref().map_or(end, |when| when.resolve(end, &zone));
    let moment = replay.at(at).context("nothing is recorded at that time")?;
    let older = match &options.from {
        None => replay.previous(&moment).filter(|older| older.run() == moment.run()),
        Some(from) => {
            let from = from.resolve(end, &zone);
            if from >= at {
                bail!("--from {from} is not before {at}");
            }
            replay.first_of_run(from, &moment)
        }
    };
    if let Some(found) = older.as_ref().filter(|_| options.from.is_some()) {
        eprintln!("tare: from {} to {}", time_of(found), time_of(&moment));
    }
    let before = match &older {
        Some(older) => Some(replay.pair_since(None, older)?.report()),
        None => None,
    };
    let report = replay.pair_since(older.as_ref(), &moment)?.report();
    replay.print_problems();
    Ok(Snapshot::new(before.as_ref(), report))
}
