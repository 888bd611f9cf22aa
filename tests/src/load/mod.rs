//! The known loads: each does an exact amount of work and prints how much it did.
//!
//! The load is one static binary and the only file of a test container, so it needs no resolver,
//! shell or shared library.

mod burst;
mod compute;
mod connect;
mod disk;
mod flow;
mod frame;
mod receive;
mod send;
mod signals;
mod sockets;
mod tasks;
mod unheard;
mod units;
mod uring;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use serde_json::Value;

pub(crate) use units::duration;

/// Interval at which a file is looked for.
const POLL: Duration = Duration::from_millis(5);

/// Puts an exact load on the machine and prints one line of JSON with what was done.
#[derive(Debug, Parser)]
#[command(name = "tare-load", version)]
pub struct Cli {
    #[command(flatten)]
    timing: Timing,
    #[command(subcommand)]
    load: Load,
}

/// When the load begins and what happens after it.
#[derive(Args, Debug)]
struct Timing {
    /// Begin only when this file exists.
    #[arg(long, global = true, value_name = "FILE")]
    start_when: Option<PathBuf>,
    /// Stay after the load until SIGTERM, so that its counters can still be read.
    #[arg(long, global = true)]
    linger: bool,
}

#[derive(Debug, Subcommand)]
enum Load {
    /// Write a file.
    Write(disk::Write),
    /// Read a file.
    Read(disk::Read),
    /// Receive bytes; prints `ready` once the socket is bound.
    Listen(receive::Listen),
    /// Send bytes.
    Send(send::Send),
    /// Make TCP connections and end them.
    Connect(connect::Connect),
    /// Send raw frames of an unknown protocol.
    Frame(frame::Frame),
    /// Send a datagram to a closed port, and read the error queue.
    Unheard(unheard::Unheard),
    /// Send and receive within this one process.
    Pair(flow::Pair),
    /// Burn CPU time; prints `ready` once all threads do.
    Spin(compute::Spin),
    /// Touch memory and hold it; prints `ready` once it is touched.
    Allocate(compute::Allocate),
    /// Write, send and compute a little, and end.
    Burst(burst::Burst),
    /// Have many threads that do nothing; prints `ready` once all are running.
    Threads(compute::Threads),
    /// Hold sockets in known states until SIGTERM; prints `ready` once they are.
    Sockets(sockets::Sockets),
    /// Have tasks in all states; prints `ready` once they are made.
    Tasks(tasks::Tasks),
    /// Have short-lived processes, one after the other.
    Lives(tasks::Lives),
    /// Do nothing for a while.
    Sleep(compute::Sleep),
    /// Do nothing until SIGTERM; prints `ready` at once.
    Serve,
}

/// Does what the command line asks for.
pub fn run(cli: Cli) -> Result<()> {
    signals::end_on_sigterm().context("install the SIGTERM handler")?;
    if let Some(file) = &cli.timing.start_when {
        wait_for(file);
    }
    let Some(outcome) = cli.load.apply()? else {
        signals::stay();
    };
    say(&outcome.to_string()).context("print the outcome")?;
    if cli.timing.linger {
        signals::stay();
    }
    Ok(())
}

impl Load {
    /// What was done; `None` if the load has no end of its own.
    fn apply(self) -> Result<Option<Value>> {
        match self {
            Self::Write(load) => load.apply(),
            Self::Read(load) => load.apply(),
            Self::Listen(load) => load.apply(),
            Self::Send(load) => load.apply(),
            Self::Connect(load) => load.apply(),
            Self::Frame(load) => load.apply(),
            Self::Unheard(load) => load.apply(),
            Self::Pair(load) => load.apply(),
            Self::Spin(load) => load.apply(),
            Self::Allocate(load) => load.apply(),
            Self::Burst(load) => load.apply(),
            Self::Threads(load) => load.apply(),
            Self::Tasks(load) => load.apply(),
            Self::Lives(load) => load.apply(),
            Self::Sleep(load) => load.apply(),
            Self::Sockets(load) => match load.hold()? {},
            Self::Serve => return say_ready().map(|()| None),
        }
        .map(Some)
    }
}

fn wait_for(file: &Path) {
    while !file.exists() {
        sleep(POLL);
    }
}

/// Prints that the load has reached its steady state.
fn say_ready() -> Result<()> {
    say("ready").context("print that the load is ready")
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
