//! When a tool samples, so that exactly so many samples lie in the time that is measured.
//!
//! All of them sample once a second. A measurement begins and ends half-way between two samples.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};
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
    /// Tare's daemon: at its socket it says of when the latest sample is.
    Daemon(PathBuf),
    /// Its output, with a line at each sample that begins so.
    Output(PathBuf, &'static str),
}

impl Pulse {
    /// Waits until half a second after a sample; how many samples there were by then.
    pub(crate) fn between(&self) -> Result<u64> {
        match self {
            Self::Clock => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).context("clock")?;
                let part = Duration::from_nanos(now.subsec_nanos().into());
                pause((SECOND + HALF - part).min(SECOND + HALF))?;
                Ok(now.as_secs() + 1)
            }
            Self::Daemon(socket) => {
                let before = uptime(socket)?;
                let sample = until("a sample of the daemon", LIMIT, || {
                    let now = uptime(socket)?;
                    Ok((now > before).then_some(now))
                })?;
                let age = boottime()?.saturating_sub(Duration::from_secs_f64(sample));
                pause(HALF.saturating_sub(age))?;
                Ok(rounded(sample))
            }
            Self::Output(file, mark) => {
                let count = || -> Result<u64> {
                    let text = fs::read_to_string(file)?;
                    Ok(text.lines().filter(|line| line.starts_with(mark)).count() as u64)
                };
                let before = count()?;
                let now = until("a sample in the output", LIMIT, || {
                    let now = count()?;
                    Ok((now > before).then_some(now))
                })?;
                pause(HALF)?;
                Ok(now)
            }
        }
    }
}

/// Seconds to the nearest whole one: samples come a second apart.
fn rounded(seconds: f64) -> u64 {
    seconds.round() as u64
}

/// When the latest sample was made, in seconds since the machine started.
fn uptime(socket: &std::path::Path) -> Result<f64> {
    let host = http::json(socket, "/api/v1/host")?;
    host.get("uptime_seconds").and_then(Value::as_f64).context("the host has no uptime")
}

fn boottime() -> Result<Duration> {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).context("clock_gettime")?;
    Ok(Duration::from(now))
}
