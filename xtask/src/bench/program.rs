//! Programs that run while something is measured, each in a cgroup of its own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::measure::Account;
use crate::{cmd, project};

const POLL: Duration = Duration::from_millis(20);

/// How long a program may take to end by itself once it is told to.
const ENDING: Duration = Duration::from_secs(10);

/// Enters the cgroups of `$DOORS` and becomes the program.
const ENTER: &str = "for door in $DOORS; do echo $$ > $door || exit 1; done; exec \"$@\"";

/// A running program; ended on drop, with everything in its cgroup.
pub(crate) struct Program {
    what: String,
    child: Child,
    account: Account,
}

impl Program {
    /// Starts it in a cgroup of its own; what it prints goes to a file, or nowhere.
    pub(crate) fn start(name: &str, command: &Command, output: Option<&Path>) -> Result<Self> {
        let account = Account::open(name)?;
        let mut shell = entering(&account, command);
        shell.stderr(File::create(scratch(&format!("{name}.errors"))?)?);
        shell.stdout(match output {
            Some(file) => File::create(file).with_context(|| format!("make {file:?}"))?.into(),
            None => Stdio::null(),
        });
        let child = shell.spawn().with_context(|| format!("failed to start {command:?}"))?;
        Ok(Self { what: name.to_owned(), child, account })
    }

    /// Starts it and waits until it prints `ready`.
    pub(crate) fn start_ready(name: &str, command: &Command) -> Result<Self> {
        let account = Account::open(name)?;
        let mut shell = entering(&account, command);
        shell.stdout(Stdio::piped());
        let mut child = shell.spawn().with_context(|| format!("failed to start {command:?}"))?;
        let output = child.stdout.take().context("no standard output")?;
        let program = Self { what: name.to_owned(), child, account };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line.trim() == "ready", "{name} did not get ready");
        Ok(program)
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with what it said, if it has ended.
    pub(crate) fn ensure_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let said = fs::read_to_string(scratch(&format!("{}.errors", self.what))?);
            bail!("{} ended, {status}: {}", self.what, said.unwrap_or_default().trim());
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let end = Instant::now() + ENDING;
        let mut signal = Signal::SIGTERM;
        loop {
            let pids = self.account.pids();
            // A program that has ended is our child until it was waited for.
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) && pids.is_empty() {
                return;
            }
            for pid in pids {
                // It may have ended by itself just now.
                let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
            }
            if Instant::now() > end {
                signal = Signal::SIGKILL;
            }
            sleep(POLL);
        }
    }
}

fn entering(account: &Account, command: &Command) -> Command {
    let doors: Vec<String> = account.doors().map(|door| door.display().to_string()).collect();
    let mut shell = Command::new("sh");
    shell.args(["-c", ENTER, "sh"]).arg(command.get_program()).args(command.get_args());
    shell.env("DOORS", doors.join(" "));
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // Ctrl-C is for us: we end it.
    shell.stdin(Stdio::null()).process_group(0);
    shell
}

/// A file or directory of the run's own.
pub(crate) fn scratch(name: &str) -> Result<PathBuf> {
    let directory = project::target().join("bench/scratch");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {directory:?}"))?;
    Ok(directory.join(name))
}

/// Runs a program that prints one line of JSON.
pub(crate) fn ask(command: &mut Command) -> Result<Value> {
    let text = cmd::capture(command.process_group(0))?;
    serde_json::from_str(&text).with_context(|| format!("no JSON from {command:?}: {text}"))
}

/// A command with arguments.
pub(crate) fn command<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// Sleeps, unless the run is interrupted.
pub(crate) fn pause(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    loop {
        if cmd::interrupted() {
            bail!("interrupted");
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        sleep(left.min(POLL));
    }
}

/// Asks until there is an answer.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > end {
            bail!("waited {} s in vain for {what}", limit.as_secs());
        }
        pause(POLL)?;
    }
}
