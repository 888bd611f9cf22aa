//! Programs that run during a measurement, each in its own cgroup.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::measure::ProgramCgroup;
use crate::{cmd, project};

const POLL: Duration = Duration::from_millis(20);

/// How long a program may take to end after SIGTERM.
const ENDING: Duration = Duration::from_secs(10);

/// Enters the cgroups with these `cgroup.procs` files and executes the program.
const ENTER: &str = "for file in $PROCS_FILES; do echo $$ > $file || exit 1; done; exec \"$@\"";

/// A running program; on drop all processes in its cgroup are ended.
pub(crate) struct Program {
    what: String,
    child: Child,
    cgroup: ProgramCgroup,
}

impl Program {
    /// Starts it in its own cgroup; its standard output goes to a file or is discarded.
    pub(crate) fn start(name: &str, command: &Command, output: Option<&Path>) -> Result<Self> {
        let cgroup = ProgramCgroup::open(name)?;
        let mut shell = entering(&cgroup, command);
        shell.stderr(File::create(scratch(&format!("{name}.errors"))?)?);
        shell.stdout(match output {
            Some(file) => File::create(file).with_context(|| format!("make {file:?}"))?.into(),
            None => Stdio::null(),
        });
        let child = shell.spawn().with_context(|| format!("failed to start {command:?}"))?;
        Ok(Self { what: name.to_owned(), child, cgroup })
    }

    /// Starts it and waits until it prints `ready`.
    pub(crate) fn start_ready(name: &str, command: &Command) -> Result<Self> {
        let cgroup = ProgramCgroup::open(name)?;
        let mut shell = entering(&cgroup, command);
        shell.stdout(Stdio::piped());
        let mut child = shell.spawn().with_context(|| format!("failed to start {command:?}"))?;
        let output = child.stdout.take().context("no standard output")?;
        let program = Self { what: name.to_owned(), child, cgroup };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line.trim() == "ready", "{name} did not get ready");
        Ok(program)
    }

    pub(crate) fn cgroup(&self) -> &ProgramCgroup {
        &self.cgroup
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error, with its standard error, if it has ended.
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
            let pids = self.cgroup.pids();
            // A child that has ended remains a zombie until it is waited for.
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) && pids.is_empty() {
                return;
            }
            for pid in pids {
                // It may have ended already.
                let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
            }
            if Instant::now() > end {
                signal = Signal::SIGKILL;
            }
            sleep(POLL);
        }
    }
}

fn entering(cgroup: &ProgramCgroup, command: &Command) -> Command {
    let procs_files: Vec<String> =
        cgroup.procs_files().map(|file| file.display().to_string()).collect();
    let mut shell = Command::new("sh");
    shell.args(["-c", ENTER, "sh"]).arg(command.get_program()).args(command.get_args());
    shell.env("PROCS_FILES", procs_files.join(" "));
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // Ctrl-C must reach this process only, which then ends the program.
    shell.stdin(Stdio::null()).process_group(0);
    shell
}

/// The path of a temporary file or directory.
pub(crate) fn scratch(name: &str) -> Result<PathBuf> {
    let directory = project::target().join("bench/scratch");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {directory:?}"))?;
    Ok(directory.join(name))
}

/// Runs a program that prints JSON.
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
