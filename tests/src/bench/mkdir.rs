//! Times making cgroups, as for the start of a container.

use std::{
    fs,
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::Value;

/// Pause between two, so that some meet a lock that a collector holds for a moment.
const PAUSE: Duration = Duration::from_micros(500);

#[derive(Args, Debug)]
pub(super) struct Mkdir {
    /// The directory to make them in.
    #[arg(long)]
    below: PathBuf,
    /// Number of cgroups.
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
