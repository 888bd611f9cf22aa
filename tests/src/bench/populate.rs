//! A process in each of many cgroups, as containers have; some do a little each second.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, fork};

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
    /// A file with the cgroups' names, one on each line.
    #[arg(long)]
    names: PathBuf,
    /// Every how manieth process is busy; 0 for none.
    #[arg(long)]
    busy_every: usize,
}

impl Populate {
    /// Makes the processes and stays until it is killed, and they with it.
    pub(super) fn run(self) -> Result<()> {
        let names = fs::read_to_string(&self.names).context("read the names")?;
        let names: Vec<&str> = names.lines().collect();
        let (mut told, tell) = UnixStream::pair().context("socketpair")?;
        let begin = Instant::now();
        for (n, name) in names.iter().enumerate() {
            let busy = self.busy_every > 0 && n % self.busy_every == 0;
            // SAFETY: this process has one thread, so its copy may do whatever it could do.
            match unsafe { fork() }.context("fork")? {
                ForkResult::Parent { .. } => {}
                ForkResult::Child => {
                    set_pdeathsig(Signal::SIGKILL).context("end with the parent")?;
                    let places: Vec<_> = self.below.iter().map(|below| below.join(name)).collect();
                    enter(places.iter().map(PathBuf::as_path))?;
                    (&tell).write_all(b".").context("say that it is there")?;
                    // Whoever fails lets go too: then nobody is left who could still say so.
                    drop(tell);
                    let share = u32::try_from(n * 1000 / names.len())?;
                    be(busy, begin + SECOND * share / 1000)
                }
            }
        }
        drop(tell);
        for _ in &names {
            if told.read(&mut [0]).context("wait for the processes")? == 0 {
                bail!("a process could not enter its cgroup");
            }
        }
        super::say("ready")?;
        loop {
            thread::park();
        }
    }
}

/// Moves this process, which must have one thread, into the cgroups at these places.
pub(super) fn enter<'a>(places: impl Iterator<Item = &'a Path>) -> Result<()> {
    for place in places {
        // A thread that moves itself through `tasks` (v1) waits for nobody.
        let tasks = place.join("tasks");
        let file = if tasks.exists() { tasks } else { place.join("cgroup.procs") };
        fs::write(&file, "0").with_context(|| format!("enter {}", file.display()))?;
    }
    Ok(())
}

/// Sleeps; if busy, uses a little each second from then on.
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
