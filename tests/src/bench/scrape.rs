//! Times requests, at most one per sample.

use std::{
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::http;

/// Longer than the daemon's interval, so that no response is cached.
const PAUSE: Duration = Duration::from_millis(1050);

#[derive(Args, Debug)]
pub(super) struct Scrape {
    /// The daemon's unix socket.
    #[arg(long)]
    socket: PathBuf,
    /// The path.
    #[arg(long, default_value = "/metrics")]
    path: String,
    /// Request compression.
    #[arg(long)]
    gzip: bool,
    /// Number of requests.
    #[arg(long)]
    count: u32,
}

impl Scrape {
    pub(super) fn run(self) -> Result<Value> {
        let headers: &[_] = if self.gzip { &[("Accept-Encoding", "gzip")] } else { &[] };
        let (mut times, mut bytes) = (Vec::new(), 0);
        for _ in 0..self.count {
            sleep(PAUSE);
            let begin = Instant::now();
            let answer = http::get(&self.socket, &self.path, headers)?;
            times.push(super::nanoseconds(begin.elapsed()));
            ensure!(answer.status == 200, "{}: {}", self.path, answer.status);
            bytes = answer.body.len();
        }
        let mut found = super::quantiles(times);
        found["body_bytes"] = json!(bytes);
        Ok(found)
    }
}
