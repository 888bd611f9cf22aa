//! Times the daemon's event for a new container, from its first `mkdir`.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::http;

/// Pause between two, so that the daemon sleeps.
const PAUSE: Duration = Duration::from_millis(20);

/// Limit for an event.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub(super) struct Detect {
    /// The daemon's unix socket.
    #[arg(long)]
    socket: PathBuf,
    /// The directory in each hierarchy to make them in.
    #[arg(long, required = true)]
    below: Vec<PathBuf>,
    /// Number of containers.
    #[arg(long)]
    count: u32,
}

impl Detect {
    pub(super) fn run(self) -> Result<Value> {
        let events = subscribe(&self.socket)?;
        let mut times = Vec::new();
        let mut made = BTreeMap::new();
        for n in 0..self.count {
            let id = format!("de{:08x}{n:054x}", std::process::id());
            made.insert(id.clone(), Instant::now());
            for parent in &self.below {
                fs::create_dir(parent.join(&id)).with_context(|| format!("make {id}"))?;
            }
            thread::sleep(PAUSE);
            while let Ok((received, id)) = events.try_recv() {
                times.extend(made.remove(&id).map(|made| super::nanoseconds(received - made)));
            }
            for parent in &self.below {
                fs::remove_dir(parent.join(&id)).with_context(|| format!("remove {id}"))?;
            }
        }
        while !made.is_empty() {
            let Ok((received, id)) = events.recv_timeout(PATIENCE) else { break };
            times.extend(made.remove(&id).map(|made| super::nanoseconds(received - made)));
        }
        let mut found = super::quantiles(times);
        found["missed"] = json!(made.len());
        Ok(found)
    }
}

/// Ids of containers in the daemon's events, with their times of arrival.
fn subscribe(socket: &Path) -> Result<Receiver<(Instant, String)>> {
    let mut stream = http::connect(socket)?;
    stream.set_read_timeout(None)?;
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: tare\r\n\r\n").context("subscribe")?;
    let mut lines = BufReader::new(stream).lines();
    let status = lines.next().context("no answer")??;
    ensure!(status.contains(" 200 "), "the daemon answers {status}");
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let received = Instant::now();
            let Some(data) = line.strip_prefix("data:") else { continue };
            let Ok(event) = serde_json::from_str::<Value>(data) else { continue };
            if let Some(id) = id_of(&event)
                && sender.send((received, id.to_owned())).is_err()
            {
                break;
            }
        }
    });
    Ok(receiver)
}

fn id_of(event: &Value) -> Option<&str> {
    event.pointer("/container/id").or_else(|| event.get("id"))?.as_str()
}
