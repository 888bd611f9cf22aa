//! Waiting with a deadline, so that no test hangs.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// For whatever a quiet machine does in a second or two.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Asks until there is an answer; fails with `what` when there is none after `limit`.
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
            bail!("waited {limit:?} in vain: {what}");
        }
        sleep(POLL);
    }
}
