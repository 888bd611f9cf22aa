//! Making cgroups, as whoever starts a container must.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::Value;

/// Between two, so that a collector that holds a lock now and then is met now and then.
const PAUSE: Duration = Duration::from_micros(500);

#[derive(Args, Debug)]
pub(super) struct Mkdir {
    /// The directory in which they are made.
    #[arg(long)]
    below: PathBuf,
    /// How many.
    #[arg(long)]
    count: u32,
}

impl Mkdir {
    pub(super) fn run(self) -> Result<Value> {
        let path = self.below.join(format!("tare-bench-mkdir-{}", std::process::id()));
        let mut times = Vec::new();
        for _ in 0..self.count {
            let begin = Instant::now();
            fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
            times.push(super::nanoseconds(begin.elapsed()));
            fs::remove_dir(&path).with_context(|| format!("remove {}", path.display()))?;
            sleep(PAUSE);
        }
        Ok(super::quantiles(times))
    }
}
