//! Runs other programs. Every failure names the whole command.
//!
//! The program at work gets its own process group, so that an interrupt ends it and everything it
//! started, while this process lives on to clean up.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _};
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, Uid};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Process group of the program at work; 0 when there is none of its own.
static RUNNING: AtomicI32 = AtomicI32::new(0);

/// Makes Ctrl-C and the signals of a CI system end the program at work and not this process.
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

fn end_running() {
    let group = RUNNING.load(Ordering::SeqCst);
    if group > 0 {
        // It may have ended by itself just now.
        let _ = killpg(Pid::from_raw(group), Signal::SIGTERM);
    }
}

/// Runs a program with its output passed through; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let mut child = spawn(command)?;
    let status = finish(command, &mut child)?;
    if !status.success() {
        bail!("{status}: {command:?}");
    }
    Ok(())
}

/// Runs a program with its output passed through, and shows each line of its standard output to
/// `look` as well.
pub(crate) fn run_and_look(
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

/// Runs a program and shows each line of its output to `look`, which may end it. How it ends is
/// no matter; that it does not within the limit is an error.
pub(crate) fn run_and_watch(
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
    // It may have ended by itself just now.
    let _ = child.kill();
    finish(command, &mut child)?;
    result
}

/// The lines of a program's output as they come.
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

/// What a program prints; anything but success is an error.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("failed to start {command:?}"))?;
    if !output.status.success() {
        bail!("{}: {command:?}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("not UTF-8: output of {command:?}"))
}

/// Whether a program can be started and succeeds; what it prints is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    check(command).is_ok()
}

/// Runs a short program to its end whatever was interrupted; the error holds what it printed.
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
        RUNNING.store(child.id().cast_signed(), Ordering::SeqCst);
    }
    if interrupted() {
        end_running();
    }
    Ok(child)
}

fn finish(command: &Command, child: &mut Child) -> Result<ExitStatus> {
    let status = child.wait().with_context(|| format!("failed to wait for {command:?}"));
    RUNNING.store(0, Ordering::SeqCst);
    if interrupted() {
        bail!("interrupted: {command:?}");
    }
    status
}

/// sudo asks for a password on the terminal, and only the terminal's own group may read there.
fn own_group() -> bool {
    is_root() || !io::stdin().is_terminal()
}

pub(crate) fn is_root() -> bool {
    Uid::effective().is_root()
}

/// A command that runs as root: through sudo, with these environment variables kept, when this
/// process does not.
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

/// Where a program is: in `PATH`, or where system programs are when `PATH` lacks that.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(program))
        .find(|file| fs::metadata(file).is_ok_and(|found| found.is_file()))
}
