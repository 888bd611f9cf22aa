//! `tare record export`: a recording in the formats of other programs.

mod csv;
mod open_metrics;
mod perfetto;
mod points;

use std::{
    fs::File,
    io::{self, BufWriter, Write},
};

use anyhow::{Context as _, Result, bail};
use jiff::tz::TimeZone;
use tare_record::Moment;

use crate::{
    collector::SamplePair,
    config::{ExportFormat, RecordExport},
    record::{Replay, time_of},
};

/// A recorded instant.
struct Instant<'a> {
    /// Its sample, and the one before it, which rates are made of.
    pair: &'a SamplePair,
    is_first: bool,
    is_last: bool,
}

/// Writes what was recorded.
trait Writer {
    /// Adds the next instant.
    fn add(&mut self, instant: &Instant<'_>, out: &mut dyn Write) -> Result<()>;

    /// Ends the output.
    fn finish(&mut self, out: &mut dyn Write) -> Result<()>;
}

/// Exports a recording to a file or to standard output.
///
/// # Errors
///
/// If it cannot be read, if nothing was recorded in the wanted time, or if the output cannot be
/// written.
pub fn run(options: &RecordExport) -> Result<()> {
    let mut replay = Replay::open(&options.recording)?;
    match &options.output {
        None => export(&mut replay, options, &mut BufWriter::new(io::stdout().lock())),
        Some(path) => {
            let named = || format!("cannot write {}", path.display());
            let file = File::create_new(path).with_context(named)?;
            let mut out = BufWriter::new(file);
            export(&mut replay, options, &mut out).with_context(named)?;
            out.into_inner()?.sync_all().with_context(named)
        }
    }
}

fn export(replay: &mut Replay, options: &RecordExport, out: &mut dyn Write) -> Result<()> {
    let (first, last) = replay.span().context("nothing is recorded")?;
    let zone = TimeZone::system();
    let from = options.from.as_ref().map_or(first, |when| when.resolve(last, &zone));
    let to = options.to.as_ref().map_or(last, |when| when.resolve(last, &zone));
    let mut writer: Box<dyn Writer> = match options.format {
        ExportFormat::Csv => Box::new(points::Points::new(csv::Csv::default())),
        ExportFormat::Openmetrics => Box::new(points::Points::new(open_metrics::OpenMetrics)),
        ExportFormat::Perfetto => Box::new(perfetto::Perfetto::default()),
    };
    let is_wanted = |moment: &Moment| (from..=to).contains(&time_of(moment));
    let begin = replay.at(from);
    let begin = begin.and_then(|moment| match is_wanted(&moment) {
        true => Some(moment),
        // The last one before the wanted time.
        false => replay.next(&moment),
    });
    let mut next = begin.filter(is_wanted);
    if next.is_none() {
        bail!("nothing was recorded from {from} to {to}; the recording is from {first} to {last}");
    }
    let mut is_first = true;
    while let Some(moment) = next {
        next = replay.next(&moment).filter(is_wanted);
        let pair = replay.pair(&moment)?;
        writer.add(&Instant { pair: &pair, is_first, is_last: next.is_none() }, out)?;
        is_first = false;
    }
    writer.finish(out)?;
    out.flush()?;
    replay.print_problems();
    Ok(())
}
