//! A child process on a new terminal.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    libc,
    pty::{Winsize, openpty},
};

use crate::wait;

/// The character of Ctrl-C.
pub const CTRL_C: &str = "\x03";

/// A program that runs on a terminal; killed on drop.
#[derive(Debug)]
pub struct Terminal {
    what: String,
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    /// Starts a program as the foreground of a new terminal with so many columns and lines.
    pub fn spawn(mut command: Command, columns: u16, lines: u16) -> Result<Self> {
        let what = format!("{command:?}");
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).context("make a terminal")?;
        let side = |fd: &OwnedFd| fd.try_clone().context("copy the terminal's descriptor");
        command.stdin(side(&pty.slave)?).stdout(side(&pty.slave)?).stderr(pty.slave);
        // SAFETY: between fork and exec only setsid and ioctl are called, which may be.
        unsafe { command.pre_exec(take_terminal) };
        let child = command.spawn().with_context(|| format!("start {what}"))?;
        // The command holds copies of the program's side, which would keep the terminal open.
        drop(command);
        let mut output = File::from(side(&pty.master)?);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&screen);
        let reader = thread::spawn(move || {
            let mut bytes = [0; 4096];
            // EIO: no process has the program's side open.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                lock(&seen).extend_from_slice(&bytes[..count]);
            }
        });
        Ok(Self { what, child, keyboard: pty.master.into(), screen, reader })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it wrote so far, with the escape sequences.
    #[must_use]
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&lock(&self.screen)).into_owned()
    }

    /// Types a text.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        self.keyboard.write_all(keys.as_bytes()).with_context(|| format!("type to {}", self.what))
    }

    /// Waits until it ends by itself, and all that it wrote is there.
    pub fn finish(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.what);
        wait::until(&what, limit, || {
            let ended = self.child.try_wait()?;
            Ok(ended.filter(|_| self.reader.is_finished()))
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock(screen: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes standard input the terminal whose keys send signals to this process.
fn take_terminal() -> io::Result<()> {
    nix::unistd::setsid()?;
    // SAFETY: TIOCSCTTY takes an integer and touches no memory of ours.
    let done = unsafe { libc::ioctl(io::stdin().as_raw_fd(), libc::TIOCSCTTY, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
