//! The floor: what the kernel takes to tell what is in the files, once a second.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::{self, sleep};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, fork};

const SECOND: Duration = Duration::from_secs(1);

/// As large as the largest file of a cgroup may be, and a page is what the kernel gives at once.
const BUFFER: usize = 16 << 10;

/// Descriptors for something else than the files of the list.
const SPARE: usize = 16;

#[derive(Args, Debug)]
pub(super) struct Floor {
    /// A file that names the files to read, one on each line.
    #[arg(long)]
    files: PathBuf,
}

impl Floor {
    /// Reads them at the beginning of each second of the clock, until it is killed; in several
    /// processes, if one may not have all of them open.
    pub(super) fn run(self) -> Result<()> {
        let list = fs::read_to_string(&self.files)
            .with_context(|| format!("read {}", self.files.display()))?;
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("getrlimit")?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most).context("setrlimit")?;
        let list: Vec<&str> = list.lines().collect();
        let (mut told, tell) = UnixStream::pair().context("socketpair")?;
        let mut waiting = 0;
        for part in list.chunks(usize::try_from(most)?.saturating_sub(SPARE).max(1)) {
            waiting += 1;
            // SAFETY: this process has one thread, so its copy may do whatever it could do.
            if let ForkResult::Child = unsafe { fork() }.context("fork")? {
                set_pdeathsig(Signal::SIGKILL).context("end with the parent")?;
                let open = |path: &&str| File::open(path).with_context(|| format!("open {path}"));
                let files: Vec<File> = part.iter().map(open).collect::<Result<_>>()?;
                (&tell).write_all(b".").context("say that all are open")?;
                drop(tell);
                return read(&files);
            }
        }
        drop(tell);
        for _ in 0..waiting {
            ensure!(told.read(&mut [0]).context("wait")? == 1, "a file could not be opened");
        }
        super::say("ready")?;
        loop {
            thread::park();
        }
    }
}

fn read(files: &[File]) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("clock")?;
        sleep(SECOND - Duration::from_nanos(now.subsec_nanos().into()));
        for file in files {
            // One file that cannot be read would make the others look dear.
            file.read_at(&mut buffer, 0).context("read a file of the list")?;
        }
        black_box(&mut buffer);
    }
}
