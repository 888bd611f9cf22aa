//! CPU time and memory.

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};
use serde_json::{Value, json};

use super::units;

#[derive(Args, Debug)]
pub(super) struct Spin {
    /// How long.
    #[arg(long = "for", value_name = "DURATION", value_parser = units::duration)]
    time: Duration,
    /// On how many threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

impl Spin {
    pub(super) fn apply(self) -> Result<Value> {
        let end = Instant::now() + self.time;
        let threads: Vec<_> = (0..self.threads).map(|_| thread::spawn(move || burn(end))).collect();
        super::say_ready()?;
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a spinning thread died"))?;
        }
        let used = getrusage(UsageWho::RUSAGE_SELF).context("getrusage")?;
        Ok(json!({
            "load": "spin",
            "threads": self.threads,
            "cpu_seconds": seconds(used.user_time()) + seconds(used.system_time()),
        }))
    }
}

/// Burns CPU time until then.
pub(super) fn burn(end: Instant) {
    let mut x = 1_u64;
    while Instant::now() < end {
        for _ in 0..10_000 {
            x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

fn seconds(time: TimeVal) -> f64 {
    // At most years of seconds and a million microseconds: both exact in an f64.
    #[allow(clippy::cast_precision_loss)]
    let (whole, micros) = (time.tv_sec() as f64, time.tv_usec() as f64);
    whole + micros / 1e6
}

#[derive(Args, Debug)]
pub(super) struct Allocate {
    /// How many bytes are touched.
    #[arg(long, value_parser = units::buffer_size)]
    bytes: usize,
    /// How long they are held.
    #[arg(long = "for", value_name = "DURATION", value_parser = units::duration)]
    time: Duration,
}

impl Allocate {
    pub(super) fn apply(self) -> Result<Value> {
        let held = black_box(vec![1_u8; self.bytes]);
        super::say_ready()?;
        thread::sleep(self.time);
        Ok(json!({ "load": "allocate", "bytes": black_box(held).len() }))
    }
}

#[derive(Args, Debug)]
pub(super) struct Threads {
    /// How many, besides the first.
    #[arg(long)]
    count: usize,
    /// How long they stay.
    #[arg(long = "for", value_name = "DURATION", value_parser = units::duration)]
    time: Duration,
}

impl Threads {
    pub(super) fn apply(self) -> Result<Value> {
        const STACK_BYTES: usize = 16 << 10;
        for _ in 0..self.count {
            let thread = thread::Builder::new().stack_size(STACK_BYTES);
            thread.spawn(thread::park).context("make a thread")?;
        }
        super::say_ready()?;
        thread::sleep(self.time);
        Ok(json!({ "load": "threads", "count": self.count }))
    }
}

#[derive(Args, Debug)]
pub(super) struct Sleep {
    /// How long.
    #[arg(long = "for", value_name = "DURATION", value_parser = units::duration)]
    time: Duration,
}

impl Sleep {
    pub(super) fn apply(self) -> Result<Value> {
        thread::sleep(self.time);
        Ok(json!({ "load": "sleep", "seconds": self.time.as_secs_f64() }))
    }
}
