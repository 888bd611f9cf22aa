//! Waiting with a limit, which an interrupt ends early.
//!
//! The tests have an `until` of their own: this program builds before they do, and without what
//! they depend on.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::cmd;

const POLL: Duration = Duration::from_millis(20);

/// Sleeps; an interrupt is an error.
pub(crate) fn pause(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    loop {
        if cmd::interrupted() {
            bail!("interrupted");
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        sleep(left.min(POLL));
    }
}

/// Calls `ask` until it returns a value; an error after the limit, or at an interrupt.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > end {
            bail!("waited {} s for {what}", limit.as_secs());
        }
        pause(POLL)?;
    }
}
