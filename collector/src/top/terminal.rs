//! The terminal while it is ours, and how it gets back to what it was, come what may.

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

/// A terminal in raw mode that shows another screen. Dropping it gives back the one before.
pub struct Terminal(Arc<Tty>);

struct Tty {
    file: File,
    before: libc::termios,
    is_ours: AtomicBool,
}

impl Terminal {
    /// Takes a terminal over. A panic gives it back before it says anything.
    ///
    /// # Errors
    ///
    /// If it is none, or cannot be written to.
    pub fn take(file: File) -> io::Result<Self> {
        let before = tcgetattr(&file)?.into();
        let tty = Arc::new(Tty { file, before, is_ours: AtomicBool::new(false) });
        let terminal = Self(Arc::clone(&tty));
        terminal.enter()?;
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            tty.give_back();
            hook(panic);
        }));
        Ok(terminal)
    }

    /// Takes it again after [`Terminal::leave`].
    ///
    /// # Errors
    ///
    /// If it cannot be set or written to.
    pub fn enter(&self) -> io::Result<()> {
        let tty = &*self.0;
        tty.is_ours.store(true, Ordering::Relaxed);
        logging::hold();
        let mut raw = Termios::from(tty.before);
        cfmakeraw(&mut raw);
        tcsetattr(tty.file.as_fd(), SetArg::TCSANOW, &raw)?;
        execute!(&tty.file, EnterAlternateScreen, EnableMouseCapture, Hide)
    }

    /// Gives the screen before back, for as long as somebody else needs it.
    pub fn leave(&self) {
        self.0.give_back();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl Tty {
    /// Nobody could be told of an error: it is the terminal that is lost.
    fn give_back(&self) {
        if !self.is_ours.swap(false, Ordering::Relaxed) {
            return;
        }
        let _ = execute!(&self.file, DisableMouseCapture, LeaveAlternateScreen, Show);
        // What was typed for us is not for the shell.
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

    /// Everything that was written to the program's side.
    fn written(master: &mut File, slave: OwnedFd) -> String {
        const END: &str = "<end>";
        File::from(slave).write_all(END.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        // The kernel hands it over piece by piece.
        while !bytes.ends_with(END.as_bytes()) {
            let mut piece = [0; 256];
            let length = master.read(&mut piece).unwrap();
            bytes.extend_from_slice(&piece[..length]);
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_panic_gives_the_terminal_back() {
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
    fn what_is_left_is_entered_again() {
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
    fn what_is_no_terminal_is_refused() {
        assert!(Terminal::take(File::open("/dev/null").unwrap()).is_err());
    }
}
