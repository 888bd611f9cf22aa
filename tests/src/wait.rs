//! Waiting with a deadline, so that no test hangs.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// A limit for what takes a quiet machine a second or two.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Interval between two calls.
const POLL: Duration = Duration::from_millis(20);

/// Calls `check` until it succeeds; its last error after the limit.
pub fn eventually(what: &str, limit: Duration, check: impl Fn() -> Result<()>) -> Result<()> {
    let mut last = None;
    let done = until(what, limit, || {
        last = check().err();
        Ok(last.is_none().then_some(()))
    });
    match last {
        Some(error) => Err(error.context(format!("waited {limit:?} for {what}"))),
        None => done,
    }
}

/// Calls `ask` until it returns a value; an error that names `what` after the limit.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() >= end {
            bail!("waited {limit:?} for {what}");
        }
        sleep(POLL);
    }
}
