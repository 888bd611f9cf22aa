//! Container daemons that a test starts: in private directories, with complete cleanup.

use std::{
    fs::{self, File},
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{
    scratch::unique_name,
    wait::{self, PATIENCE},
};

/// Lines of a log that a failed start shows.
const LOG_LINES: usize = 10;

/// A private directory with a short path, because paths of sockets are limited. Mounts below it are
/// removed on drop.
#[derive(Debug)]
pub struct RunDir(TempDir);

impl RunDir {
    /// Makes it in `/tmp`.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(&unique_name()).tempdir_in("/tmp");
        dir.map(Self).context("make a directory in /tmp")
    }

    /// A path in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        unmount_below(self.0.path());
    }
}

/// Unmounts what a runtime left mounted, inner mounts first.
pub fn unmount_below(directory: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    for point in points.iter().rev().filter(|point| Path::new(point).starts_with(directory)) {
        if let Err(error) = umount2(*point, MntFlags::MNT_DETACH) {
            eprintln!("could not unmount {point}: {error}");
        }
    }
}

/// A daemon that listens at a unix socket; stopped on drop.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
    socket: PathBuf,
}

impl Daemon {
    /// Starts it and waits until it listens.
    pub fn start(mut command: Command, socket: &Path, log: &Path) -> Result<Self> {
        let what = format!("{command:?}");
        let file = File::create(log).with_context(|| format!("make {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // Ctrl-C must not reach it before its containers are gone.
        command.process_group(0);
        let child = command.spawn().with_context(|| format!("start {what}"))?;
        let mut daemon = Self { child, log: log.to_owned(), socket: socket.to_owned() };
        wait::until(&format!("{what} to listen"), PATIENCE, || {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("{what}: {status}: {}", daemon.log_end());
            }
            Ok(UnixStream::connect(socket).ok().map(drop))
        })
        .with_context(|| daemon.log_end())?;
        Ok(daemon)
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Stops it now and waits for its end.
    pub fn stop(self) {}

    fn log_end(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn end(&mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).context("process id")?);
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        kill(pid, Signal::SIGTERM).context("SIGTERM")?;
        let ended = wait::until("the end of a daemon", PATIENCE, || Ok(self.child.try_wait()?));
        if ended.is_err() {
            self.child.kill().context("SIGKILL")?;
            self.child.wait().context("wait")?;
        }
        ended.map(drop)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("the daemon at {}: {error:#}", self.socket.display());
        }
    }
}
