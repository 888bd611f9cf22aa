//! From the first directory of a container to the message that tells of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::http;

/// Between two, so that each finds the daemon asleep.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a message is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub(super) struct Detect {
    /// The daemon's unix socket.
    #[arg(long)]
    socket: PathBuf,
    /// The directory in each hierarchy in which they are made.
    #[arg(long, required = true)]
    below: Vec<PathBuf>,
    /// How many.
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
            while let Ok((heard, id)) = events.try_recv() {
                times.extend(made.remove(&id).map(|made| super::nanoseconds(heard - made)));
            }
            for parent in &self.below {
                fs::remove_dir(parent.join(&id)).with_context(|| format!("remove {id}"))?;
            }
        }
        while !made.is_empty() {
            let Ok((heard, id)) = events.recv_timeout(PATIENCE) else { break };
            times.extend(made.remove(&id).map(|made| super::nanoseconds(heard - made)));
        }
        let mut found = super::quantiles(times);
        found["missed"] = json!(made.len());
        Ok(found)
    }
}

/// Ids of containers that the daemon says have started, and when it was heard.
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
            let heard = Instant::now();
            let Some(data) = line.strip_prefix("data:") else { continue };
            let Ok(event) = serde_json::from_str::<Value>(data) else { continue };
            if let Some(id) = id_of(&event)
                && sender.send((heard, id.to_owned())).is_err()
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
