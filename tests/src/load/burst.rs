//! A short-lived load: a little of everything, in known amounts.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

use super::{compute, disk, flow, units};

/// The file with the CPU time of a container's own cgroup, in nanoseconds or microseconds.
const OWN_CPU: [(&str, u64); 3] = [
    ("/sys/fs/cgroup/cpuacct/cpuacct.usage", 1),
    ("/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", 1),
    ("/sys/fs/cgroup/cpu.stat", 1000),
];

#[derive(Args, Debug)]
pub(super) struct Burst {
    /// Bytes written with direct I/O.
    #[arg(long, value_parser = units::size)]
    write_bytes: u64,
    /// An existing file to overwrite.
    #[arg(long)]
    path: PathBuf,
    /// Bytes sent over TCP to itself.
    #[arg(long, value_parser = units::size)]
    tcp_bytes: u64,
    /// Local address for that.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7000")]
    addr: SocketAddr,
    /// CPU time to burn.
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
    found.context("no cgroup file has this container's CPU time")
}
