//! Runs other programs. Every error names the whole command.
//!
//! A program gets its own process group: an interrupt ends it and its children, while this process
//! continues and cleans up.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{self, BufRead as _, BufReader, IsTerminal as _},
    ops::ControlFlow,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::{Pid, Uid},
};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Process groups of the running programs.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Makes SIGINT, SIGTERM and SIGHUP end the running program, not this process.
pub(crate) fn catch_interrupts() -> Result<()> {
    ctrlc::set_handler(|| {
        INTERRUPTED.store(true, Ordering::SeqCst);
        end_running();
    })
    .context("failed to install the signal handler")
}

pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end_running() {
    for group in running().iter() {
        // It may have ended already.
        let _ = killpg(*group, Signal::SIGTERM);
    }
}

/// Runs a program with its output passed through; an error unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let mut child = spawn(command)?;
    let status = finish(command, &mut child)?;
    if !status.success() {
        bail!("{status}: {command:?}");
    }
    Ok(())
}

/// Runs a program with its output passed through, and calls `look` with each line of its standard
/// output.
pub(crate) fn run_with_lines(
    command: &mut Command,
    mut look: impl FnMut(&str),
) -> Result<ExitStatus> {
    command.stdout(Stdio::piped());
    let mut child = spawn(command)?;
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        while stdout.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            print!("{text}");
            look(text.trim_end());
            line.clear();
        }
    }
    finish(command, &mut child)
}

/// Runs a program and calls `look` with each line of its standard output until that returns
/// `Break`, which ends the program. Its exit status is ignored; running longer than the limit is an
/// error.
pub(crate) fn run_until(
    command: &mut Command,
    limit: Duration,
    mut look: impl FnMut(&str) -> ControlFlow<()>,
) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = spawn(command)?;
    let lines = lines(child.stdout.take().context("no standard output")?);
    let end = Instant::now() + limit;
    let result = loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) if look(&line).is_break() => break Ok(()),
            Ok(_) => {}
            Err(RecvTimeoutError::Disconnected) => break Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                break Err(anyhow!("no end after {} s: {command:?}", limit.as_secs()));
            }
        }
    };
    // It may have ended already.
    let _ = child.kill();
    finish(command, &mut child)?;
    result
}

/// The lines of a program's output, as they are written.
fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while matches!(output.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(text).is_err() {
                break;
            }
            line.clear();
        }
    });
    lines
}

/// A program's standard output; an error unless it succeeds.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("failed to start {command:?}"))?;
    if !output.status.success() {
        bail!("{}: {command:?}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("not UTF-8: output of {command:?}"))
}

/// Whether a program starts and succeeds; its output is discarded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    check(command).is_ok()
}

/// Runs a short program, even after an interrupt; the error contains its standard error.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    if own_group() {
        command.process_group(0);
    }
    command.stdin(Stdio::null());
    let output = command.output().with_context(|| format!("failed to start {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {command:?}: {}", output.status, said.trim());
    }
    Ok(())
}

fn spawn(command: &mut Command) -> Result<Child> {
    if interrupted() {
        bail!("interrupted before {command:?}");
    }
    let own_group = own_group();
    if own_group {
        command.stdin(Stdio::null()).process_group(0);
    }
    let child = command.spawn().with_context(|| format!("failed to start {command:?}"))?;
    if own_group {
        running().push(group(&child));
    }
    if interrupted() {
        end_running();
    }
    Ok(child)
}

fn finish(command: &Command, child: &mut Child) -> Result<ExitStatus> {
    let status = child.wait().with_context(|| format!("failed to wait for {command:?}"));
    running().retain(|one| *one != group(child));
    if interrupted() {
        bail!("interrupted: {command:?}");
    }
    status
}

fn group(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Not with sudo on a terminal: it asks for a password there, and only the terminal's foreground
/// group may read it.
fn own_group() -> bool {
    is_root() || !io::stdin().is_terminal()
}

pub(crate) fn is_root() -> bool {
    Uid::effective().is_root()
}

/// A command that runs as root. If this process does not, through sudo, which keeps these
/// environment variables.
pub(crate) fn as_root(program: impl AsRef<OsStr>, keep: &[&str]) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    if !keep.is_empty() {
        sudo.arg(format!("--preserve-env={}", keep.join(",")));
    }
    sudo.arg(program);
    sudo
}

/// The path of a program, from `PATH` and the directories of system programs.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(program))
        .find(|file| fs::metadata(file).is_ok_and(|found| found.is_file()))
}
