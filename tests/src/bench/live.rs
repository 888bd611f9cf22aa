//! Short-lived containers that do a known amount of work.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};
use serde_json::{Value, json};

use super::{populate, work};

const SENT: usize = 100_000;
const BURN: Duration = Duration::from_millis(5);
const LIFE: Duration = Duration::from_millis(20);

#[derive(Args, Debug)]
pub(super) struct Live {
    /// The directory in each hierarchy to make them in.
    #[arg(long, required = true)]
    below: Vec<PathBuf>,
    /// Number of containers.
    #[arg(long)]
    count: u32,
}

impl Live {
    /// Runs them one after the other. Reports the bytes that each sent, and CPU times by id.
    pub(super) fn run(self) -> Result<Value> {
        let prefix = format!("11fe{:08x}", std::process::id());
        let (mut times, mut used) = (Vec::new(), BTreeMap::new());
        for n in 0..self.count {
            let id = format!("{prefix}{n:052x}");
            let places: Vec<PathBuf> = self.below.iter().map(|below| below.join(&id)).collect();
            let begin = Instant::now();
            for place in &places {
                fs::create_dir(place).with_context(|| format!("make {}", place.display()))?;
            }
            life(&places)?;
            let seconds = places.iter().find_map(|place| cpu_seconds(place));
            used.insert(id.clone(), seconds.context("no CPU time")?);
            for place in &places {
                fs::remove_dir(place).with_context(|| format!("remove {}", place.display()))?;
            }
            times.push(super::nanoseconds(begin.elapsed()));
        }
        let mut found = super::quantiles(times);
        found["sent_bytes"] = json!(SENT);
        found["used_seconds"] = json!(used);
        Ok(found)
    }
}

fn life(places: &[PathBuf]) -> Result<()> {
    // SAFETY: this process has one thread, so its child may do what it may do itself.
    match unsafe { fork() }.context("fork")? {
        ForkResult::Parent { child } => {
            let end = waitpid(child, None).context("wait")?;
            ensure!(matches!(end, WaitStatus::Exited(_, 0)), "a life ended early: {end:?}");
            Ok(())
        }
        ForkResult::Child => {
            let done = populate::enter(places.iter().map(PathBuf::as_path)).and_then(|()| act());
            std::process::exit(i32::from(done.is_err()));
        }
    }
}

fn act() -> Result<()> {
    let end = Instant::now() + LIFE;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    let mut ours = TcpStream::connect(listener.local_addr()?).context("connect")?;
    let mut theirs = listener.accept().context("accept")?.0;
    let mut rest = SENT;
    let mut message = [0; 10_000];
    while rest > 0 {
        ours.write_all(&message).context("send")?;
        theirs.read_exact(&mut message).context("receive")?;
        rest -= message.len();
    }
    work::burn(BURN);
    let now = Instant::now();
    if now > end {
        return Ok(());
    }
    thread::sleep(end - now);
    Ok(())
}

/// CPU time of a cgroup, if this hierarchy counts it.
fn cpu_seconds(place: &Path) -> Option<f64> {
    let v1 = fs::read_to_string(place.join("cpuacct.usage")).ok();
    if let Some(nanoseconds) = v1.and_then(|text| text.trim().parse::<f64>().ok()) {
        return Some(nanoseconds / 1e9);
    }
    let stat = fs::read_to_string(place.join("cpu.stat")).ok()?;
    let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(micros.parse::<f64>().ok()? / 1e6)
}
