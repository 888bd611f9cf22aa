//! When a tool samples, so that whole samples lie in the time that is measured.
//!
//! All of them sample once a second. A measurement begins half-way between two samples and takes
//! whole seconds; how many samples there were is asked afterwards, because asking costs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::http;
use super::program::{pause, until};

const SECOND: Duration = Duration::from_secs(1);
const HALF: Duration = Duration::from_millis(500);
/// How long a tool may take until its next sample.
const LIMIT: Duration = Duration::from_secs(20);

/// What tells when a tool has sampled.
pub(crate) enum Pulse {
    /// It samples at the beginning of each second of the clock.
    Clock,
    /// Tare's daemon at its socket, which has a history of this container.
    Daemon(PathBuf, String),
    /// Its output, with a line at each sample that begins so.
    Output(PathBuf, &'static str),
}

/// The latest sample before a measurement.
pub(crate) enum Mark {
    Second(u64),
    Time(String),
    Line(u64),
}

impl Pulse {
    /// Waits until half a second after a sample.
    pub(crate) fn between(&self) -> Result<Mark> {
        let mark = match self {
            Self::Clock => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).context("clock")?;
                pause(SECOND - Duration::from_nanos(now.subsec_nanos().into()))?;
                Mark::Second(now.as_secs() + 1)
            }
            Self::Daemon(socket, container) => {
                let latest = || -> Result<_> { Ok(times(socket, container)?.pop()) };
                let before = latest()?;
                until("a sample of the daemon", LIMIT, || {
                    Ok(latest()?.filter(|now| Some(now) != before.as_ref()).map(Mark::Time))
                })?
            }
            Self::Output(file, mark) => {
                let before = lines(file, mark)?;
                until("a sample in the output", LIMIT, || {
                    let now = lines(file, mark)?;
                    Ok((now > before).then_some(Mark::Line(now)))
                })?
            }
        };
        pause(HALF)?;
        Ok(mark)
    }

    /// How many samples there were since.
    pub(crate) fn since(&self, mark: &Mark) -> Result<u64> {
        match (self, mark) {
            (Self::Daemon(socket, container), Mark::Time(mark)) => {
                let times = times(socket, container)?;
                let known = times.iter().position(|time| time == mark);
                let known = known.context("the daemon's history is too short")?;
                Ok((times.len() - known - 1) as u64)
            }
            (Self::Output(file, begin), Mark::Line(before)) => Ok(lines(file, begin)? - before),
            (_, Mark::Second(before)) => Ok(super::measure::unix_seconds() - before),
            _ => anyhow::bail!("a mark of another tool"),
        }
    }
}

/// When the samples in the daemon's history were made; to ask makes no report.
fn times(socket: &Path, container: &str) -> Result<Vec<String>> {
    let history = http::json(socket, &format!("/api/v1/history?container={container}"))?;
    let times = history.get("times").and_then(Value::as_array).context("a history has no times")?;
    Ok(times.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn lines(file: &Path, begin: &str) -> Result<u64> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file:?}"))?;
    Ok(text.lines().filter(|line| line.starts_with(begin)).count() as u64)
}
