//! Times the daemon's event for a new container with a process, from its first `mkdir`.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command},
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
            let mut process = Process::start()?;
            made.insert(id.clone(), Instant::now());
            for parent in &self.below {
                fs::create_dir(parent.join(&id)).with_context(|| format!("make {id}"))?;
            }
            for parent in &self.below {
                process.enter(&parent.join(&id))?;
            }
            thread::sleep(PAUSE);
            while let Ok((received, id)) = events.try_recv() {
                times.extend(made.remove(&id).map(|made| super::nanoseconds(received - made)));
            }
            process.end();
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

/// A process that waits until it is ended.
struct Process(Child);

impl Process {
    fn start() -> Result<Self> {
        Ok(Self(Command::new("sleep").arg("60").spawn().context("start sleep")?))
    }

    fn enter(&self, directory: &Path) -> Result<()> {
        let file = directory.join("cgroup.procs");
        fs::write(&file, self.0.id().to_string())
            .with_context(|| format!("write {}", file.display()))
    }

    /// Ends it, so that its cgroups can be removed.
    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
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
