//! Takes over the terminal, and always restores it.

use std::{
    fs::File,
    io,
    os::fd::AsFd,
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::{
    cursor::{Hide, Show},
    event::{DisableMouseCapture, EnableMouseCapture},
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen},
};
use nix::{
    libc,
    sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
};

use crate::logging;

/// A terminal in raw mode on its alternate screen. Dropping this restores it.
pub(super) struct Terminal(Arc<Tty>);

struct Tty {
    file: File,
    before: libc::termios,
    is_taken: AtomicBool,
}

impl Terminal {
    /// Takes over a terminal. A panic restores it before its message is printed.
    ///
    /// # Errors
    ///
    /// If it is no terminal, or cannot be written to.
    pub(super) fn take(file: File) -> io::Result<Self> {
        let before = tcgetattr(&file)?.into();
        let tty = Arc::new(Tty { file, before, is_taken: AtomicBool::new(false) });
        let terminal = Self(Arc::clone(&tty));
        terminal.enter()?;
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            tty.restore();
            hook(panic);
        }));
        Ok(terminal)
    }

    /// Takes it over again after [`Terminal::leave`].
    ///
    /// # Errors
    ///
    /// If its mode cannot be set, or it cannot be written to.
    pub(super) fn enter(&self) -> io::Result<()> {
        let tty = &*self.0;
        tty.is_taken.store(true, Ordering::Relaxed);
        logging::hold();
        let mut raw = Termios::from(tty.before);
        cfmakeraw(&mut raw);
        tcsetattr(tty.file.as_fd(), SetArg::TCSANOW, &raw)?;
        execute!(&tty.file, EnterAlternateScreen, EnableMouseCapture, Hide)
    }

    /// Restores it until [`Terminal::enter`].
    pub(super) fn leave(&self) {
        self.0.restore();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.0.restore();
    }
}

impl Tty {
    /// Errors are ignored: without a terminal there is no place to report them.
    fn restore(&self) {
        if !self.is_taken.swap(false, Ordering::Relaxed) {
            return;
        }
        let _ = execute!(&self.file, DisableMouseCapture, LeaveAlternateScreen, Show);
        // Drops what was typed but not read, so that the shell does not get it.
        let _ = tcsetattr(self.file.as_fd(), SetArg::TCSAFLUSH, &self.before.into());
        logging::release();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::fd::OwnedFd,
        panic::AssertUnwindSafe,
    };

    use nix::{
        pty::openpty,
        sys::termios::{LocalFlags, Termios},
    };

    use super::*;

    /// Our side and the program's side of a new terminal.
    fn pty() -> (File, OwnedFd) {
        let pty = openpty(None, None).unwrap();
        (File::from(pty.master), pty.slave)
    }

    fn is_cooked(modes: &Termios) -> bool {
        modes.local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    /// Everything that was written to the side of the program.
    fn written(master: &mut File, slave: OwnedFd) -> String {
        const END: &str = "<end>";
        File::from(slave).write_all(END.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        // One read need not return everything.
        while !bytes.ends_with(END.as_bytes()) {
            let mut piece = [0; 256];
            let length = master.read(&mut piece).unwrap();
            bytes.extend_from_slice(&piece[..length]);
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_panic_restores_the_terminal() {
        let (mut master, slave) = pty();
        let file = File::from(slave.try_clone().unwrap());
        let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
            let terminal = Terminal::take(file).unwrap();
            assert!(!is_cooked(&tcgetattr(&slave).unwrap()), "raw while it is ours");
            let _kept = &terminal;
            panic!("to see the terminal survive");
        }));
        assert!(panicked.is_err());
        assert!(is_cooked(&tcgetattr(&slave).unwrap()));
        let text = written(&mut master, slave);
        let entered = text.find("\x1b[?1049h").unwrap();
        let left = text.find("\x1b[?1049l").unwrap();
        assert!(entered < left && text.rfind("\x1b[?25h") > Some(left), "{text:?}");
        assert!(text.rfind("\x1b[?1000l") > Some(entered), "the mouse is given back: {text:?}");
    }

    #[test]
    fn a_terminal_can_be_left_and_entered_again() {
        let (mut master, slave) = pty();
        let terminal = Terminal::take(File::from(slave.try_clone().unwrap())).unwrap();
        terminal.leave();
        terminal.leave();
        assert!(is_cooked(&tcgetattr(&slave).unwrap()));
        terminal.enter().unwrap();
        assert!(!is_cooked(&tcgetattr(&slave).unwrap()));
        drop(terminal);
        let text = written(&mut master, slave);
        assert_eq!(text.matches("\x1b[?1049h").count(), 2);
        assert_eq!(text.matches("\x1b[?1049l").count(), 2, "left once for each time: {text:?}");
    }

    #[test]
    fn a_file_that_is_no_terminal_is_refused() {
        assert!(Terminal::take(File::open("/dev/null").unwrap()).is_err());
    }
}
