//! Files that stay open.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit},
};

use crate::cgroup::error::{ReadError, is_gone};
use tare_parsers::text::number;

/// Size of a buffer at its first use: more than `memory.stat` needs.
const FIRST_BUFFER_BYTES: usize = 8 << 10;

/// The least that a page of memory has, on any machine.
const PAGE_BYTES_MIN: usize = 4 << 10;

/// The most that one file may hold; a longer one is [`ReadError::Malformed`].
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Descriptors that are left for whatever is opened only for a moment.
const RESERVED_DESCRIPTORS: u64 = 16;

/// A file of the kernel that was opened once and is read again and again.
///
/// It holds a descriptor, and with it the memory of a removed cgroup: drop it when the cgroup
/// ended.
#[derive(Debug)]
pub struct KeptFile(Source);

#[derive(Debug)]
enum Source {
    /// Its path, which would take more memory than all the rest, can be had from the kernel.
    Held(File),
    /// Where descriptors are scarce: each read opens the file anew.
    Named(Named),
}

/// The path of a file that does not stay open.
#[derive(Debug)]
struct Named(Box<Path>);

/// How many files there are that do not stay open.
static NAMED: AtomicUsize = AtomicUsize::new(0);

impl Named {
    fn new(path: &Path) -> Self {
        NAMED.fetch_add(1, Ordering::Relaxed);
        Self(path.into())
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        NAMED.fetch_sub(1, Ordering::Relaxed);
    }
}

impl KeptFile {
    /// Opens a file for reading; `None` if it does not exist (or no longer).
    ///
    /// It stays open unless three quarters of all descriptors are in use; then it is opened for
    /// each read. What is left is for network namespaces and connections, which must stay open.
    pub fn open(path: &Path) -> Result<Option<Self>, ReadError> {
        let limit = descriptor_limit();
        Self::open_below(limit - limit / 4, path)
    }

    /// The same for a file that is read in each sample, even if nothing happens: it stays open
    /// unless seven eighths of all descriptors are in use.
    pub fn open_steady(path: &Path) -> Result<Option<Self>, ReadError> {
        let limit = descriptor_limit();
        Self::open_below(limit - limit / 8, path)
    }

    /// The same for a file whose path may lead to another file later: it always stays open.
    ///
    /// # Errors
    ///
    /// Also if almost all descriptors are in use.
    pub fn open_held(path: &Path) -> Result<Option<Self>, ReadError> {
        let Some(file) = open(path)? else { return Ok(None) };
        if descriptor(&file) >= descriptor_limit().saturating_sub(RESERVED_DESCRIPTORS) {
            let source = io::Error::from_raw_os_error(Errno::EMFILE as i32);
            return Err(ReadError::Io { path: path.into(), source });
        }
        Ok(Some(Self(Source::Held(file))))
    }

    fn open_below(descriptors_max: u64, path: &Path) -> Result<Option<Self>, ReadError> {
        let file = open(path)?;
        Ok(file.map(|file| match descriptor(&file) < descriptors_max {
            true => Self(Source::Held(file)),
            false => Self(Source::Named(Named::new(path))),
        }))
    }

    /// Its path, for messages.
    fn path(&self) -> PathBuf {
        match &self.0 {
            Source::Held(file) => path_of(file),
            Source::Named(Named(path)) => path.to_path_buf(),
        }
    }

    /// Whether any file of this process does not stay open.
    pub fn is_any_reopened() -> bool {
        NAMED.load(Ordering::Relaxed) > 0
    }

    /// Whether it stays open between reads.
    pub fn is_held(&self) -> bool {
        matches!(self.0, Source::Held(_))
    }

    /// Reads a file that the kernel writes in one piece, as cgroup files with `seq_show` are.
    ///
    /// One `pread` from the start, so the content is of one instant: kernfs makes the whole text
    /// before it copies any (`fs/seq_file.c`, `seq_read_iter`). A full buffer grows and is read
    /// again. The buffer only ever grows; with a buffer that is large enough nothing is allocated.
    ///
    /// # Errors
    ///
    /// [`ReadError::Vanished`] when the cgroup was removed, [`ReadError::Malformed`] for more than
    /// [`MAX_FILE_BYTES`].
    pub fn read<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], ReadError> {
        match &self.0 {
            Source::Held(file) => read_whole(file, || path_of(file), buffer),
            Source::Named(Named(path)) => read_once(path, buffer)?.ok_or(ReadError::Vanished),
        }
    }

    /// Reads a file of many records to its end, such as `/proc/PID/net/dev`.
    ///
    /// The kernel fills a page or more with whole records, and hands that out (`fs/seq_file.c`,
    /// `seq_read_iter`): it stops at the last record, at one that does not fit, or when there is
    /// as much as was asked for. So the end was reached where neither of the latter can be: the
    /// first read left room in the buffer, and in a page for one more record of `record_bytes_max`.
    /// Otherwise it is read until nothing comes, and is not of one instant.
    ///
    /// # Errors
    ///
    /// As [`KeptFile::read`].
    pub fn read_records<'b>(
        &self,
        buffer: &'b mut Vec<u8>,
        record_bytes_max: usize,
    ) -> Result<&'b [u8], ReadError> {
        let opened;
        let file = match &self.0 {
            Source::Held(file) => file,
            Source::Named(Named(path)) => {
                opened = open(path)?.ok_or(ReadError::Vanished)?;
                &opened
            }
        };
        let path = || self.path();
        let mut length = 0;
        loop {
            make_room(path, buffer, length)?;
            let more = read_at(file, path, &mut buffer[length..], length as u64)?;
            let first = length == 0;
            length += more;
            let fits = length < buffer.len() && length + record_bytes_max < PAGE_BYTES_MIN;
            if more == 0 || (first && fits) {
                return Ok(&buffer[..length]);
            }
        }
    }

    /// Reads a file that holds one number.
    ///
    /// # Errors
    ///
    /// As [`KeptFile::read`]; [`ReadError::Malformed`] if it holds anything else.
    pub fn read_number(&self, buffer: &mut Vec<u8>) -> Result<u64, ReadError> {
        let text = self.read(buffer)?.trim_ascii();
        number(text).ok_or_else(|| self.malformed("not a number"))
    }

    pub(crate) fn malformed(&self, what: &'static str) -> ReadError {
        ReadError::Malformed { path: self.path(), what }
    }
}

/// Opens, reads and closes a file; `None` if it does not exist.
///
/// # Errors
///
/// As [`KeptFile::read`].
pub(crate) fn read_once<'b>(
    path: &Path,
    buffer: &'b mut Vec<u8>,
) -> Result<Option<&'b [u8]>, ReadError> {
    open(path)?.map(|file| read_whole(&file, || path.to_owned(), buffer)).transpose()
}

/// The most files that this process may have open.
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(now, _)| now)
}

fn open(path: &Path) -> Result<Option<File>, ReadError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(ReadError::from_io(path, error)),
    }
}

/// The kernel gives out the lowest number that is free, so at least this many are in use.
fn descriptor(file: &File) -> u64 {
    u64::try_from(file.as_raw_fd()).unwrap_or(0)
}

/// The path of an open file, if the kernel shows it.
fn path_of(file: &File) -> PathBuf {
    let link = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    fs::read_link(&link).unwrap_or(link)
}

fn read_whole<'b>(
    file: &File,
    path: impl Fn() -> PathBuf + Copy,
    buffer: &'b mut Vec<u8>,
) -> Result<&'b [u8], ReadError> {
    loop {
        make_room(path, buffer, 0)?;
        let length = read_at(file, path, buffer, 0)?;
        if length < buffer.len() {
            return Ok(&buffer[..length]);
        }
        make_room(path, buffer, length)?;
    }
}

fn read_at(
    file: &File,
    path: impl Fn() -> PathBuf,
    buffer: &mut [u8],
    offset: u64,
) -> Result<usize, ReadError> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ReadError::from_io(&path(), error)),
            Ok(length) => return Ok(length),
        }
    }
}

/// Makes the buffer longer than `used`.
fn make_room(
    path: impl Fn() -> PathBuf,
    buffer: &mut Vec<u8>,
    used: usize,
) -> Result<(), ReadError> {
    if buffer.len() > used {
        return Ok(());
    }
    if used >= MAX_FILE_BYTES {
        return Err(ReadError::Malformed { path: path(), what: "file too large" });
    }
    buffer.resize((used * 2).clamp(FIRST_BUFFER_BYTES, MAX_FILE_BYTES), 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(content: &[u8]) -> (tempfile::TempDir, KeptFile) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, content).unwrap();
        let file = KeptFile::open(&path).unwrap().unwrap();
        (directory, file)
    }

    #[test]
    fn a_missing_file_is_none() {
        assert!(KeptFile::open(Path::new("/nonexistent/cpu.stat")).unwrap().is_none());
    }

    #[test]
    fn a_refused_file_is_an_error_with_its_path() {
        let error = KeptFile::open(Path::new("/proc/self/stat/x")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /proc/self/stat/x");
    }

    #[test]
    fn content_of_every_size_is_read_whole_in_both_ways() {
        for size in [0, 1, FIRST_BUFFER_BYTES - 1, FIRST_BUFFER_BYTES, 3 * FIRST_BUFFER_BYTES + 1] {
            let content = vec![b'7'; size];
            let (_directory, file) = kept(&content);
            assert_eq!(file.read(&mut Vec::new()).unwrap(), content);
            assert_eq!(file.read_records(&mut vec![0; 1], 1).unwrap(), content);
        }
    }

    #[test]
    fn a_changed_file_is_read_anew_into_the_same_memory() {
        let (_directory, file) = kept(b"1000\n");
        let mut buffer = Vec::new();
        assert_eq!(file.read_number(&mut buffer).unwrap(), 1000);
        let memory = buffer.as_ptr();
        fs::write(file.path(), b"7\n").unwrap();
        assert_eq!(file.read_number(&mut buffer).unwrap(), 7);
        assert_eq!(buffer.as_ptr(), memory);
    }

    #[test]
    fn a_file_over_the_limit_is_refused() {
        let (_directory, file) = kept(&vec![b'7'; MAX_FILE_BYTES]);
        for error in [
            file.read(&mut Vec::new()).unwrap_err(),
            file.read_records(&mut Vec::new(), 1).unwrap_err(),
        ] {
            assert!(matches!(error, ReadError::Malformed { what: "file too large", .. }));
        }
    }

    #[test]
    fn a_word_is_no_number() {
        let mut buffer = Vec::new();
        assert!(kept(b"max\n").1.read_number(&mut buffer).is_err());
    }

    #[test]
    fn a_file_of_an_ended_process_vanished() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let path = format!("/proc/{}/status", child.id());
        let file = KeptFile::open(Path::new(&path)).unwrap().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(file.read(&mut Vec::new()), Err(ReadError::Vanished)));
    }
}
