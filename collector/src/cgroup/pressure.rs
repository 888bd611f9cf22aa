//! Time that a cgroup lost to waiting for a resource (PSI, `Documentation/accounting/psi.rst`).

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::cgroup::error::ReadError;
use crate::cgroup::file::KeptFile;
use crate::cgroup::mounts::Hierarchies;
use crate::cgroup::text::{lines, number, words};
use crate::cgroup::walk::below;

/// The kernel adds pressure up every 2 s (`kernel/sched/psi.c`, `PSI_FREQ`): until then a file says
/// what it has said. A little less, so that a tick that comes early is not lost.
pub const PRESSURE_INTERVAL: Duration = Duration::from_millis(1900);

/// How long tasks waited for one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Some task waited.
    pub some: Stall,
    /// No task could do anything but wait. For CPU since Linux 5.13.
    pub full: Stall,
}

/// One line of a pressure file. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// Since the cgroup was made.
    pub total_microseconds: Option<u64>,
    /// Share of the last 10 s, in hundredths of a percent.
    pub avg10: Option<u64>,
    /// Share of the last 60 s, in hundredths of a percent.
    pub avg60: Option<u64>,
    /// Share of the last 300 s, in hundredths of a percent.
    pub avg300: Option<u64>,
}

/// The pressures of a cgroup with all its descendants; `None` where the kernel does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Pressures {
    pub cpu: Option<Pressure>,
    pub memory: Option<Pressure>,
    pub io: Option<Pressure>,
}

/// The open pressure files of one cgroup, and what they said last.
#[derive(Debug)]
pub struct PressureFiles {
    cpu: Option<KeptFile>,
    memory: Option<KeptFile>,
    io: Option<KeptFile>,
    latest: Pressures,
    read_at: Option<Instant>,
}

impl PressureFiles {
    /// Opens the files of the cgroup at a path such as `/docker/abc`; `None` if there are none.
    ///
    /// They are in the unified hierarchy whichever hierarchy the controllers are in, since Linux
    /// 4.20, unless the kernel was started with `psi=0`.
    ///
    /// # Errors
    ///
    /// If a file is there but cannot be opened.
    pub fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
        let Some(root) = hierarchies.unified.as_deref() else { return Ok(None) };
        let directory = below(root, path);
        let open = |name| open(&directory.join(name));
        let files = ["cpu.pressure", "memory.pressure", "io.pressure"].map(open);
        Self::of(files)
    }

    /// Opens those of the host as a whole, which a `/proc` has; `None` if there are none. One that
    /// cannot be opened is unknown: the others are worth having.
    pub fn open_host(proc_root: &Path) -> Option<Self> {
        let open = |name| Ok(open(&proc_root.join("pressure").join(name)).ok().flatten());
        Self::of(["cpu", "memory", "io"].map(open)).ok().flatten()
    }

    fn of(
        [cpu, memory, io]: [Result<Option<KeptFile>, ReadError>; 3],
    ) -> Result<Option<Self>, ReadError> {
        let files = Self {
            cpu: cpu?,
            memory: memory?,
            io: io?,
            latest: Pressures::default(),
            read_at: None,
        };
        let any = files.cpu.is_some() || files.memory.is_some() || files.io.is_some();
        Ok(any.then_some(files))
    }

    /// The pressures, read anew if the kernel may have added them up since the last time.
    ///
    /// # Errors
    ///
    /// [`ReadError::Vanished`] when the cgroup was removed.
    pub fn read_pressures(
        &mut self,
        now: Instant,
        buffer: &mut Vec<u8>,
    ) -> Result<Pressures, ReadError> {
        let old = |at: Instant| now.saturating_duration_since(at) >= PRESSURE_INTERVAL;
        if self.read_at.is_none_or(old) {
            self.latest = Pressures {
                cpu: read(self.cpu.as_ref(), buffer)?,
                memory: read(self.memory.as_ref(), buffer)?,
                io: read(self.io.as_ref(), buffer)?,
            };
            self.read_at = Some(now);
        }
        Ok(self.latest)
    }

    /// Has the next read go to the files.
    pub fn expire(&mut self) {
        self.read_at = None;
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &KeptFile> {
        [&self.cpu, &self.memory, &self.io].into_iter().flatten()
    }
}

/// Reads a pressure file (`kernel/sched/psi.c`, `psi_show`).
pub fn parse_pressure(text: &[u8]) -> Pressure {
    let mut pressure = Pressure::default();
    for line in lines(text) {
        let mut words = words(line);
        match words.next() {
            Some(b"some") => pressure.some = parse_stall(words),
            Some(b"full") => pressure.full = parse_stall(words),
            _ => {}
        }
    }
    pressure
}

/// `avg10=0.12 avg60=0.02 avg300=0.00 total=25522`
fn parse_stall<'a>(words: impl Iterator<Item = &'a [u8]>) -> Stall {
    let mut stall = Stall::default();
    for word in words {
        let Some(equals) = word.iter().position(|byte| *byte == b'=') else { continue };
        let value = &word[equals + 1..];
        match &word[..equals] {
            b"total" => stall.total_microseconds = number(value),
            b"avg10" => stall.avg10 = hundredths(value),
            b"avg60" => stall.avg60 = hundredths(value),
            b"avg300" => stall.avg300 = hundredths(value),
            _ => {}
        }
    }
    stall
}

/// A number with exactly two decimals, as the kernel writes averages.
pub(crate) fn hundredths(digits: &[u8]) -> Option<u64> {
    let (whole, decimals) = digits.split_at_checked(digits.len().checked_sub(3)?)?;
    let decimals = decimals.strip_prefix(b".")?;
    number(whole)?.checked_mul(100)?.checked_add(number(decimals)?)
}

fn open(path: &Path) -> Result<Option<KeptFile>, ReadError> {
    known(KeptFile::open(path)).map(Option::flatten)
}

fn read(file: Option<&KeptFile>, buffer: &mut Vec<u8>) -> Result<Option<Pressure>, ReadError> {
    let Some(file) = file else { return Ok(None) };
    known(file.read(buffer).map(parse_pressure))
}

/// `None` where pressure is not accounted: on the whole host (`psi=0`) or in this cgroup
/// (`cgroup.pressure`).
fn known<T>(result: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(ReadError::Io { source, .. }) if is_unsupported(&source) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::cgroup::find_hierarchies;

    const TEXT: &str = "some avg10=97.89 avg60=98.94 avg300=0.05 total=2729856881\n\
        full avg10=0.00 avg60=100.00 avg300=0.00 total=7\n";

    #[test]
    fn both_lines_are_read() {
        let some = Stall {
            total_microseconds: Some(2_729_856_881),
            avg10: Some(9789),
            avg60: Some(9894),
            avg300: Some(5),
        };
        let full = Stall {
            total_microseconds: Some(7),
            avg10: Some(0),
            avg60: Some(10_000),
            avg300: Some(0),
        };
        assert_eq!(parse_pressure(TEXT.as_bytes()), Pressure { some, full });
    }

    #[test]
    fn what_is_not_said_is_unknown() {
        let pressure = parse_pressure(b"some avg10=1.5 avg60=.00 total=x\nfull\nodd total=3\n");
        assert_eq!(pressure, Pressure::default());
    }

    #[test]
    fn a_file_is_read_again_when_it_may_have_changed() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("abc")).unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "").unwrap();
        fs::write(tree.path().join("abc/io.pressure"), "some total=1\n").unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let mut files = PressureFiles::open(&hierarchies, "/abc").unwrap().unwrap();
        let start = Instant::now();
        let total = |files: &mut PressureFiles, at| {
            let pressures = files.read_pressures(at, &mut Vec::new()).unwrap();
            assert_eq!((pressures.cpu, pressures.memory), (None, None));
            pressures.io.unwrap().some.total_microseconds
        };
        assert_eq!(total(&mut files, start), Some(1));
        fs::write(tree.path().join("abc/io.pressure"), "some total=2\n").unwrap();
        assert_eq!(total(&mut files, start + Duration::from_secs(1)), Some(1));
        assert_eq!(total(&mut files, start + Duration::from_secs(2)), Some(2));
        fs::write(tree.path().join("abc/io.pressure"), "some total=3\n").unwrap();
        files.expire();
        assert_eq!(total(&mut files, start + Duration::from_secs(2)), Some(3));
        assert!(PressureFiles::open(&hierarchies, "/gone").unwrap().is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(text: Vec<u8>) {
            parse_pressure(&text);
        }

        #[test]
        fn any_words_are_taken(text in "(some|full|avg10=|total=|[0-9]{1,21}|[.= \n])*") {
            parse_pressure(text.as_bytes());
        }

        #[test]
        fn every_average_is_read_back(value in 0_u64..1_000_000) {
            let text = format!("{}.{:02}", value / 100, value % 100);
            prop_assert_eq!(hundredths(text.as_bytes()), Some(value));
        }
    }
}
