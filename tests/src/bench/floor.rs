//! The floor: reads files once a second and does nothing with their contents.

use std::{
    fs::{self, File},
    hint::black_box,
    io::{Read as _, Write as _},
    os::unix::{fs::FileExt as _, net::UnixStream},
    path::PathBuf,
    thread::{self, sleep},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use nix::{
    sys::{
        prctl::set_pdeathsig,
        resource::{Resource, getrlimit, setrlimit},
        signal::Signal,
    },
    unistd::{ForkResult, fork},
};

const SECOND: Duration = Duration::from_secs(1);

/// Larger than the largest cgroup file.
const BUFFER: usize = 16 << 10;

/// Descriptors reserved for other files.
const SPARE: usize = 16;

#[derive(Args, Debug)]
pub(super) struct Floor {
    /// A file with the paths of the files to read, one per line.
    #[arg(long)]
    files: PathBuf,
}

impl Floor {
    /// Reads them at each full second of the clock until it is killed; in several processes if one
    /// may not have all of them open.
    pub(super) fn run(self) -> Result<()> {
        let list = fs::read_to_string(&self.files)
            .with_context(|| format!("read {}", self.files.display()))?;
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("getrlimit")?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most).context("setrlimit")?;
        let list: Vec<&str> = list.lines().collect();
        let (mut receiver, sender) = UnixStream::pair().context("socketpair")?;
        let mut waiting = 0;
        for part in list.chunks(usize::try_from(most)?.saturating_sub(SPARE).max(1)) {
            waiting += 1;
            // SAFETY: this process has one thread, so its child may do what it may do itself.
            if let ForkResult::Child = unsafe { fork() }.context("fork")? {
                set_pdeathsig(Signal::SIGKILL).context("end with the parent")?;
                let open = |path: &&str| File::open(path).with_context(|| format!("open {path}"));
                let files: Vec<File> = part.iter().map(open).collect::<Result<_>>()?;
                (&sender).write_all(b".").context("say that all are open")?;
                drop(sender);
                return read(&files);
            }
        }
        drop(sender);
        for _ in 0..waiting {
            ensure!(receiver.read(&mut [0]).context("wait")? == 1, "a file could not be opened");
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
            // Skipped files would make the floor look too cheap.
            file.read_at(&mut buffer, 0).context("read a file of the list")?;
        }
        black_box(&mut buffer);
    }
}
