//! The floor: what the kernel takes to tell what is in the files, once a second.

use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

const SECOND: Duration = Duration::from_secs(1);

/// As large as the largest file of a cgroup may be, and a page is what the kernel gives at once.
const BUFFER: usize = 16 << 10;

#[derive(Args, Debug)]
pub(super) struct Floor {
    /// A file that names the files to read, one on each line.
    #[arg(long)]
    files: PathBuf,
}

impl Floor {
    /// Reads them at the beginning of each second of the clock, until it is killed.
    pub(super) fn run(self) -> Result<()> {
        let list = fs::read_to_string(&self.files)
            .with_context(|| format!("read {}", self.files.display()))?;
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("getrlimit")?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most).context("setrlimit")?;
        let open = |path| File::open(path).with_context(|| format!("open {path}"));
        let files: Vec<File> = list.lines().map(open).collect::<Result<_>>()?;
        super::say("ready")?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).context("clock")?;
            sleep(SECOND - Duration::from_nanos(now.subsec_nanos().into()));
            for file in &files {
                // One file that cannot be read would make the others look dear.
                file.read_at(&mut buffer, 0).context("read a file of the list")?;
            }
            black_box(&mut buffer);
        }
    }
}
