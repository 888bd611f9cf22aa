//! Detects when a tool samples, so that a measurement contains only complete samples.
//!
//! All tools sample once a second. A measurement begins half a second after a sample and takes
//! whole seconds. The samples are counted afterwards, because the question costs CPU time.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::http::{self, Server};
use crate::wait::{pause, until};

const SECOND: Duration = Duration::from_secs(1);
const HALF: Duration = Duration::from_millis(500);
/// Limit for a tool's next sample.
const LIMIT: Duration = Duration::from_secs(20);

/// How to detect that a tool has sampled.
pub(crate) enum SampleSignal {
    /// It samples at each full second of the clock.
    Clock,
    /// The history of a container in a `tare run`.
    Daemon(Server, String),
    /// A file with its output; each sample writes a line that starts so.
    Output(PathBuf, &'static str),
}

/// The last sample before a measurement.
pub(crate) enum LastSample {
    Second(u64),
    Time(String),
    Line(u64),
}

impl SampleSignal {
    /// Waits until half a second after a sample.
    pub(crate) fn wait_between_samples(&self) -> Result<LastSample> {
        let mark = match self {
            Self::Clock => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).context("clock")?;
                pause(SECOND - Duration::from_nanos(now.subsec_nanos().into()))?;
                LastSample::Second(now.as_secs() + 1)
            }
            Self::Daemon(server, container) => {
                let latest = || -> Result<_> { Ok(times(server, container)?.pop()) };
                let before = latest()?;
                until("a sample of the daemon", LIMIT, || {
                    Ok(latest()?.filter(|now| Some(now) != before.as_ref()).map(LastSample::Time))
                })?
            }
            Self::Output(file, mark) => {
                let before = lines(file, mark)?;
                until("a sample in the output", LIMIT, || {
                    let now = lines(file, mark)?;
                    Ok((now > before).then_some(LastSample::Line(now)))
                })?
            }
        };
        pause(HALF)?;
        Ok(mark)
    }

    /// The number of samples after `last`.
    pub(crate) fn samples_since(&self, last: &LastSample) -> Result<u64> {
        match (self, last) {
            (Self::Daemon(server, container), LastSample::Time(mark)) => {
                let times = times(server, container)?;
                let known = times.iter().position(|time| time == mark);
                let known = known.context("the daemon's history is too short")?;
                Ok((times.len() - known - 1) as u64)
            }
            (Self::Output(file, begin), LastSample::Line(before)) => {
                Ok(lines(file, begin)? - before)
            }
            (_, LastSample::Second(before)) => Ok(super::machine::unix_seconds() - before),
            _ => anyhow::bail!("a sample of another tool"),
        }
    }
}

/// The times of the samples in the daemon's history. The request makes it compute no report.
fn times(server: &Server, container: &str) -> Result<Vec<String>> {
    let history = http::json(server, &format!("/api/v1/history?container={container}"))?;
    let times = history.get("times").and_then(Value::as_array).context("a history has no times")?;
    Ok(times.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn lines(file: &Path, begin: &str) -> Result<u64> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file:?}"))?;
    Ok(text.lines().filter(|line| line.starts_with(begin)).count() as u64)
}
