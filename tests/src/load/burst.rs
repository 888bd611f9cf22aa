//! A short life: a little of everything, all of it known.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

use super::{compute, disk, flow, units};

/// Where a container sees the CPU time of its own cgroup, in nanoseconds or microseconds.
const OWN_CPU: [(&str, u64); 3] = [
    ("/sys/fs/cgroup/cpuacct/cpuacct.usage", 1),
    ("/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", 1),
    ("/sys/fs/cgroup/cpu.stat", 1000),
];

#[derive(Args, Debug)]
pub(super) struct Burst {
    /// How many bytes are written past the page cache.
    #[arg(long, value_parser = units::size)]
    write_bytes: u64,
    /// Over which file, which must be there.
    #[arg(long)]
    path: PathBuf,
    /// How many bytes go over TCP to oneself.
    #[arg(long, value_parser = units::size)]
    tcp_bytes: u64,
    /// By which address of one's own.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7000")]
    addr: SocketAddr,
    /// For how long CPU time is burnt.
    #[arg(long = "for", value_name = "DURATION", value_parser = units::duration)]
    time: Duration,
}

impl Burst {
    pub(super) fn apply(self) -> Result<Value> {
        disk::Write::direct_in_place(self.path, self.write_bytes).apply()?;
        flow::Pair::over_tcp(self.addr, self.tcp_bytes).apply()?;
        compute::burn(Instant::now() + self.time);
        Ok(json!({ "load": "burst", "cgroup_cpu_nanoseconds": own_cpu_nanoseconds()? }))
    }
}

fn own_cpu_nanoseconds() -> Result<u64> {
    let found = OWN_CPU.iter().find_map(|(path, unit)| {
        let text = fs::read_to_string(path).ok()?;
        let number = text.trim_start_matches("usage_usec ").split_whitespace().next()?;
        Some(number.parse::<u64>().ok()? * unit)
    });
    found.context("no cgroup file tells this container's own CPU time")
}
