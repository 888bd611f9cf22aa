//! A child process: its output is read continuously, and it never outlives the test.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::wait;

/// A running child; killed on drop.
#[derive(Debug)]
pub struct Process {
    what: String,
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

/// The result of a child.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, without the lines that were read before.
    pub stdout: String,
    /// Its standard error, all of it.
    pub stderr: String,
}

impl Process {
    /// Starts it.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let what = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start {what}"))?;
        let stdout = child.stdout.take().context("the child's standard output")?;
        let mut stderr = child.stderr.take().context("the child's standard error")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let errors = thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Ok(Self { what, child, lines, errors: Some(errors) })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its standard output.
    pub fn next_line(&mut self, limit: Duration) -> Result<String> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => bail!("no line for {limit:?} from {}", self.what),
            Err(RecvTimeoutError::Disconnected) => {
                let errors = self.errors.take().and_then(|thread| thread.join().ok());
                bail!("{} ended early: {}", self.what, errors.unwrap_or_default().trim())
            }
        }
    }

    /// Drops lines that were printed and not read.
    pub fn skip_lines(&mut self) {
        while !matches!(
            self.lines.try_recv(),
            Err(TryRecvError::Empty | TryRecvError::Disconnected)
        ) {}
    }

    /// An error, with its standard error, if it has ended.
    pub fn ensure_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let errors = self.errors.take().and_then(|thread| thread.join().ok());
            bail!("{} ended, {status}: {}", self.what, errors.unwrap_or_default().trim());
        }
        Ok(())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("process id")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("{signal} to {}", self.what))
    }

    /// Waits until it ends by itself.
    pub fn finish(mut self, limit: Duration) -> Result<Finished> {
        let what = format!("the end of {}", self.what);
        let status = wait::until(&what, limit, || Ok(self.child.try_wait()?))?;
        let stdout = self.lines.iter().fold(String::new(), |all, line| all + &line + "\n");
        let errors = self.errors.take().context("its errors were read before")?;
        let stderr = errors.join().map_err(|_| anyhow!("the thread that reads errors panicked"))?;
        Ok(Finished { status, stdout, stderr })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end.
pub fn run(command: Command, limit: Duration) -> Result<Finished> {
    Process::spawn(command)?.finish(limit)
}

/// Runs a command that must succeed; its standard output without the last line end.
pub fn output(command: Command, limit: Duration) -> Result<String> {
    let what = format!("{command:?}");
    let done = run(command, limit)?;
    if !done.status.success() {
        bail!("{what}: {}: {}", done.status, done.stderr.trim());
    }
    Ok(done.stdout.trim_end().to_owned())
}
