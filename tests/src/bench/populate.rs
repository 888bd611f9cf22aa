//! A process in each of many cgroups; some do a little work each second.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use nix::{
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::{ForkResult, fork},
};

use super::work;

const SECOND: Duration = Duration::from_secs(1);

/// CPU time that a busy process uses each second.
const BURN: Duration = Duration::from_micros(20);

/// Memory that a busy process takes in one second and gives back in the next.
const MEMORY: usize = 256 << 10;

#[derive(Args, Debug)]
pub(super) struct Populate {
    /// The directory in each hierarchy that holds the cgroups.
    #[arg(long, required = true)]
    below: Vec<PathBuf>,
    /// A file with the cgroups' names, one per line.
    #[arg(long)]
    names: PathBuf,
    /// Every nth process is busy; 0 for none.
    #[arg(long)]
    busy_every: usize,
}

impl Populate {
    /// Starts the processes and runs until it is killed, which ends them too.
    pub(super) fn run(self) -> Result<()> {
        let names = fs::read_to_string(&self.names).context("read the names")?;
        let names: Vec<&str> = names.lines().collect();
        let (mut receiver, sender) = UnixStream::pair().context("socketpair")?;
        let begin = Instant::now();
        for (n, name) in names.iter().enumerate() {
            let busy = self.busy_every > 0 && n % self.busy_every == 0;
            // SAFETY: this process has one thread, so its child may do what it may do itself.
            match unsafe { fork() }.context("fork")? {
                ForkResult::Parent { .. } => {}
                ForkResult::Child => {
                    set_pdeathsig(Signal::SIGKILL).context("end with the parent")?;
                    let places: Vec<_> = self.below.iter().map(|below| below.join(name)).collect();
                    enter(places.iter().map(PathBuf::as_path))?;
                    (&sender).write_all(b".").context("say that it is there")?;
                    // A child that fails closes its end as well: the parent then reads end of file.
                    drop(sender);
                    let share = u32::try_from(n * 1000 / names.len())?;
                    be(busy, begin + SECOND * share / 1000)
                }
            }
        }
        drop(sender);
        for _ in &names {
            if receiver.read(&mut [0]).context("wait for the processes")? == 0 {
                bail!("a process could not enter its cgroup");
            }
        }
        super::say("ready")?;
        loop {
            thread::park();
        }
    }
}

/// Moves this process, which must have one thread, into these cgroups.
pub(super) fn enter<'a>(places: impl Iterator<Item = &'a Path>) -> Result<()> {
    for place in places {
        // With `tasks` (v1) a thread moves itself without waiting for a grace period.
        let tasks = place.join("tasks");
        let file = if tasks.exists() { tasks } else { place.join("cgroup.procs") };
        fs::write(&file, "0").with_context(|| format!("enter {}", file.display()))?;
    }
    Ok(())
}

/// Sleeps; if busy, does a little work each second.
fn be(busy: bool, mut next: Instant) -> ! {
    let mut held = None;
    loop {
        if !busy {
            thread::park();
            continue;
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next += SECOND;
        work::burn(BURN);
        held = match held {
            Some(_) => None,
            None => work::Pages::touch(MEMORY).ok(),
        };
    }
}
