//! `tare record`: records this host into one file, without a daemon.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tare_record::Limits;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{self, Instant, MissedTickBehavior},
};

use crate::{
    child::Child,
    collector::Collector,
    config::{Common, RecordCommand},
    record::recorder::Recorder,
};

/// Exit code after a command that a signal ended, less the signal's number, as in shells.
const SIGNALLED: i32 = 128;

/// Records until the time is over, the command has ended, or a signal arrives.
///
/// # Errors
///
/// If there is nothing to read, or if the file cannot be written.
pub async fn run(common: &Common, options: &RecordCommand) -> Result<ExitCode> {
    let output = &options.output;
    let shown = output.display();
    if output.exists() {
        bail!("{shown} exists already; name a new file");
    }
    let name = output.file_name().with_context(|| format!("{shown} is no name of a file"))?;
    let mut name = name.to_owned();
    name.push(".recording");
    let directory = output.with_file_name(name);
    if directory.exists() {
        bail!(
            "{} is left of a recording that was killed; look at it with --replay, or remove it",
            directory.display()
        );
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let limits = Limits { bytes_max: u64::MAX, age_max: Duration::MAX, ..Limits::default() };
    let mut recorder = Recorder::start(&directory, limits, options.interval)?;
    let mut collector = Collector::start(common, options.scope.into())?;
    collector.sampler.with_pods = true;
    let mut older = None;
    let mut ticks = time::interval(options.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut child = Child::start(&options.command, |_| {})?;
    let begun = Instant::now();
    let end = async {
        match options.duration {
            Some(duration) => time::sleep_until(begun + duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let mut status = None;
    let mut is_over = false;
    while !is_over {
        tokio::select! {
            done = collector.wait(&mut ticks) => done?,
            () = &mut end => is_over = true,
            found = child.wait() => {
                status = Some(found?);
                is_over = true;
            }
            // The command gets what is typed in the terminal, too.
            _ = interrupt.recv() => is_over = true,
            _ = terminate.recv() => is_over = true,
        }
        // The last sample has what happened at the end.
        let newer = collector.sample();
        recorder.offer_now(collector.pair(older.as_ref(), &newer));
        older = Some(newer);
    }
    let counts = recorder.counts().clone();
    recorder.stop();
    let counts = counts.now();
    if let Some(fault) = counts.fault {
        bail!("{fault}; what was recorded is in {}", directory.display());
    }
    tare_record::join(&directory, output).context("cannot write the recording")?;
    let seconds = begun.elapsed().as_secs_f64();
    let bytes = fs::metadata(output).map_or(0, |metadata| metadata.len());
    eprintln!("tare: {shown}: {} samples in {seconds:.0} s, {bytes} bytes", counts.instants);
    if counts.dropped > 0 {
        eprintln!("tare: the disk was too slow for {} samples, which are missing", counts.dropped);
    }
    let status = match status {
        None if child.is_some() => Some(child.wait().await?),
        status => status,
    };
    Ok(status.map_or(ExitCode::SUCCESS, code_of))
}

/// The command's exit code, taken over.
fn code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| SIGNALLED + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
