//! Request and response over TCP on the loopback device.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use serde_json::Value;

use crate::load::duration;

/// A small request, as sockperf's.
const MESSAGE: usize = 64;

#[derive(Args, Debug)]
pub(super) struct Ping {
    /// Duration.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    time: Duration,
}

impl Ping {
    pub(super) fn run(self) -> Result<Value> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
        let mut ours = TcpStream::connect(listener.local_addr()?).context("connect")?;
        let theirs = listener.accept().context("accept")?.0;
        ours.set_nodelay(true)?;
        theirs.set_nodelay(true)?;
        let echo = thread::spawn(move || answer(theirs));
        let mut message = [0; MESSAGE];
        let mut times = Vec::new();
        let end = Instant::now() + self.time;
        let mut sent = Instant::now();
        while sent < end {
            ours.write_all(&message).context("send")?;
            ours.read_exact(&mut message).context("receive")?;
            let back = Instant::now();
            times.push(super::nanoseconds(back - sent));
            sent = back;
        }
        drop(ours);
        echo.join().map_err(|_| anyhow!("the answering thread died"))?;
        Ok(super::quantiles(times))
    }
}

fn answer(mut stream: TcpStream) {
    let mut message = [0; MESSAGE];
    while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {}
}
