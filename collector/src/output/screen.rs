//! Shows listings: in place on a terminal, one after another anywhere else.

use std::{
    io::{self, IsTerminal, Stdout, Write},
    os::fd::AsRawFd,
};

use nix::libc;

use crate::output::{table::Listing, text::cut};

const HOME: &str = "\x1b[H";
const CLEAR_TO_END_OF_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Columns and lines of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines on the screen.
    pub lines: usize,
}

/// Where listings are shown.
#[derive(Debug)]
pub struct Screen<W> {
    out: W,
    live: Option<fn() -> Option<Size>>,
}

impl Screen<Stdout> {
    /// Standard output. With `live`, on a terminal, each listing replaces the previous one and is
    /// cut to the size of the terminal. Otherwise listings follow each other, uncut.
    pub fn stdout(live: bool) -> Self {
        let out = io::stdout();
        let live = (live && out.is_terminal()).then_some(stdout_size as fn() -> Option<Size>);
        Self { out, live }
    }
}

impl<W: Write> Screen<W> {
    /// Shows a listing, in a single write.
    ///
    /// # Errors
    ///
    /// Those of the write. `BrokenPipe` means that the reader is gone.
    pub fn show(&mut self, listing: &Listing) -> io::Result<()> {
        let frame = match self.live {
            Some(size) => live_frame(listing, size()),
            None => listing.lines(None).iter().flat_map(|line| [line.as_str(), "\n"]).collect(),
        };
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }
}

fn live_frame(listing: &Listing, size: Option<Size>) -> String {
    // One line is left for the cursor, where the prompt of the shell appears afterwards.
    let height = size.map(|size| size.lines.saturating_sub(1).max(1));
    let width = size.map_or(usize::MAX, |size| size.columns);
    let mut frame = String::from(HOME);
    for line in listing.lines(height) {
        frame.push_str(cut(&line, width));
        frame.push_str(CLEAR_TO_END_OF_LINE);
        frame.push('\n');
    }
    frame.push_str(CLEAR_BELOW);
    frame
}

fn stdout_size() -> Option<Size> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize to the pointer, which is valid for the call.
    let result = unsafe { libc::ioctl(io::stdout().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    let known = result == 0 && size.ws_row > 0 && size.ws_col > 0;
    known.then(|| Size { columns: size.ws_col.into(), lines: size.ws_row.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::table::Table;

    fn listing(rows: usize) -> Listing {
        let rows = (0..rows).map(|row| format!("row {row}")).collect();
        let table = Table { intro: None, header: Some("HEADER".to_owned()), rows };
        Listing { tables: vec![table], notes: vec!["a note".to_owned()] }
    }

    fn shown(listing: &Listing, live: Option<fn() -> Option<Size>>) -> String {
        let mut out = Vec::new();
        Screen { out: &mut out, live }.show(listing).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn listings_follow_each_other_without_a_terminal() {
        assert_eq!(shown(&listing(2), None), "HEADER\nrow 0\nrow 1\n\na note\n");
    }

    #[test]
    fn a_terminal_is_redrawn_in_place() {
        let frame = shown(&listing(1), Some(|| None));
        assert_eq!(frame, "\x1b[HHEADER\x1b[K\nrow 0\x1b[K\n\x1b[K\na note\x1b[K\n\x1b[J");
    }

    #[test]
    fn cut_to_the_terminal() {
        let frame = shown(&listing(100), Some(|| Some(Size { columns: 8, lines: 8 })));
        let lines: Vec<_> = frame.trim_start_matches(HOME).split("\x1b[K\n").collect();
        let expected = ["HEADER", "row 0", "row 1", "row 2", "… and 97", "", "a note", "\x1b[J"];
        assert_eq!(lines, expected);
        let tiny = shown(&listing(100), Some(|| Some(Size { columns: 1, lines: 1 })));
        assert_eq!(tiny, "\x1b[H…\x1b[K\n\x1b[J");
    }

    #[test]
    fn a_reader_that_is_gone_is_recognised() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = Screen { out: Gone, live: None }.show(&listing(1)).unwrap_err();
        assert!(crate::output::is_broken_pipe(&error));
        assert!(!crate::output::is_broken_pipe(&io::Error::other("full")));
        let wrapped = anyhow::Error::from(error).context("cannot write");
        assert!(crate::output::is_broken_pipe(wrapped.as_ref()));
    }
}
