//! Batches on disk, so that they survive the end of the process.
//!
//! A batch is a file: written under a temporary name, renamed when it is complete, removed when it
//! is delivered. A crash of the process loses none. A crash of the machine may lose the last
//! seconds, which the kernel had not written; a file that is incomplete then is found by its
//! checksum and skipped.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use flate2::Crc;
use jiff::Timestamp;

use crate::{config::Spool, export::batch::Batch, recurring::is_worth_logging};

/// The first bytes of a file.
const MAGIC: &[u8; 8] = b"TARESNK1";

/// The magic, the checksum of what follows it, the points, and the time in milliseconds.
const HEAD_BYTES: usize = 8 + 4 + 8 + 8;

/// How the name of a complete file ends.
const EXTENSION: &str = "batch";

/// The spool of one sink.
pub(super) struct SinkSpool {
    directory: PathBuf,
    bytes_max: u64,
    age_max: Duration,
    /// The number of the next file.
    next: u64,
    bytes: u64,
    /// What an earlier process left.
    found: VecDeque<SpoolFile>,
    failures: u64,
    /// Locked while this process uses the directory.
    _lock: File,
}

/// A batch on disk.
pub(super) struct SpoolFile {
    path: PathBuf,
    bytes: u64,
    pub(super) points: u64,
    pub(super) made_at: Timestamp,
}

impl SinkSpool {
    /// Opens the spool of the sink with this name, and lists what is in it.
    pub(super) fn open(spool: &Spool, name: &str) -> Result<Self> {
        let directory = spool.directory.join(directory_name(name));
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        let made = builder.create(&directory);
        made.with_context(|| format!("cannot make the spool {}", directory.display()))?;
        let lock = File::create(directory.join("lock"));
        let lock = lock.with_context(|| format!("cannot write to {}", directory.display()))?;
        if lock.try_lock().is_err() {
            bail!("another process uses the spool {}", directory.display());
        }
        let mut names = Vec::new();
        let entries = fs::read_dir(&directory);
        for entry in entries.with_context(|| format!("cannot read {}", directory.display()))? {
            let path = entry?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            match number.filter(|_| path.extension().is_some_and(|it| it == EXTENSION)) {
                Some(number) => names.push((number, path)),
                // A temporary file of a process that was killed.
                None if path.extension().is_some_and(|it| it == "tmp") => {
                    let _ = fs::remove_file(&path);
                }
                None => {}
            }
        }
        names.sort();
        let next = names.last().map_or(0, |(number, _)| number + 1);
        let found: VecDeque<_> =
            names.into_iter().map(|(_, path)| SpoolFile::found(path)).collect();
        let bytes = found.iter().map(|file| file.bytes).sum();
        let Spool { bytes_max, age_max, .. } = *spool;
        Ok(Self { directory, bytes_max, age_max, next, bytes, found, failures: 0, _lock: lock })
    }

    /// What an earlier process left, oldest first.
    pub(super) fn take_found(&mut self) -> VecDeque<SpoolFile> {
        std::mem::take(&mut self.found)
    }

    /// Writes a batch. `None` if that failed, such as when the disk is full: the batch is
    /// in memory only then.
    pub(super) fn write(&mut self, batch: &Batch) -> Option<SpoolFile> {
        let path = self.directory.join(format!("{:020}.{EXTENSION}", self.next));
        match write(&path, batch) {
            Ok(bytes) => {
                self.next += 1;
                self.bytes += bytes;
                let Batch { points, made_at, .. } = *batch;
                Some(SpoolFile { path, bytes, points, made_at })
            }
            Err(error) => {
                self.failures += 1;
                if is_worth_logging(self.failures) {
                    let path = path.display();
                    let times = self.failures;
                    tracing::error!(%error, "cannot write {path}, {times} times so far: batches are in memory only");
                }
                None
            }
        }
    }

    /// Removes a batch that is delivered or dropped.
    pub(super) fn remove(&mut self, file: SpoolFile) {
        self.bytes = self.bytes.saturating_sub(file.bytes);
        if let Err(error) = fs::remove_file(&file.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(%error, "cannot remove {}", file.path.display());
        }
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes > self.bytes_max
    }

    pub(super) fn is_too_old(&self, made_at: Timestamp) -> bool {
        Timestamp::now()
            .duration_since(made_at)
            .try_into()
            .is_ok_and(|age: Duration| age > self.age_max)
    }
}

impl SpoolFile {
    /// A file of an earlier process. What is wrong with it shows when it is read.
    fn found(path: PathBuf) -> Self {
        let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let head = read_head(&path);
        let (points, made_at) = head.unwrap_or_else(|| (0, Timestamp::now()));
        Self { path, bytes, points, made_at }
    }

    /// Reads the batch back.
    pub(super) fn read(&self) -> Result<Bytes> {
        let Self { path, .. } = self;
        let all = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let (head, payload) = all.split_at_checked(HEAD_BYTES).unwrap_or((&[], &[]));
        let sum = head.get(8..12).and_then(|sum| sum.try_into().ok()).map(u32::from_le_bytes);
        let is_whole = head.starts_with(MAGIC) && sum == Some(checksum(head.get(12..), payload));
        ensure!(is_whole, "{} is damaged: its checksum is wrong", path.display());
        Ok(Bytes::from(all).slice(HEAD_BYTES..))
    }
}

fn write(path: &Path, batch: &Batch) -> io::Result<u64> {
    let temporary = path.with_extension("tmp");
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&[0; 4]);
    head.extend_from_slice(&batch.points.to_le_bytes());
    head.extend_from_slice(&batch.made_at.as_millisecond().to_le_bytes());
    let sum = checksum(head.get(12..), &batch.payload);
    head.splice(8..12, sum.to_le_bytes());
    let written = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(&head)?;
            file.write_all(&batch.payload)
        })
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // An incomplete file takes room that is wanted.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    Ok((head.len() + batch.payload.len()) as u64)
}

fn read_head(path: &Path) -> Option<(u64, Timestamp)> {
    let mut head = [0; HEAD_BYTES];
    io::Read::read_exact(&mut File::open(path).ok()?, &mut head).ok()?;
    let points = u64::from_le_bytes(head.get(12..20)?.try_into().ok()?);
    let millis = i64::from_le_bytes(head.get(20..28)?.try_into().ok()?);
    head.starts_with(MAGIC).then_some((points, Timestamp::from_millisecond(millis).ok()?))
}

fn checksum(head: Option<&[u8]>, payload: &[u8]) -> u32 {
    let mut sum = Crc::new();
    sum.update(head.unwrap_or_default());
    sum.update(payload);
    sum.sum()
}

/// The readable part of a sink's name, and a checksum that distinguishes names.
fn directory_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let readable: String = name.chars().map(safe).take(64).collect();
    format!("{readable}-{:08x}", checksum(None, name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(directory: &Path) -> SinkSpool {
        let age_max = Duration::from_secs(3600);
        let spool = Spool { directory: directory.to_owned(), bytes_max: 1000, age_max };
        SinkSpool::open(&spool, "influx+http://host:8086").unwrap()
    }

    fn batch(text: &'static str) -> Batch {
        let made_at = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        Batch { payload: Bytes::from_static(text.as_bytes()), points: 7, made_at }
    }

    #[test]
    fn batches_are_found_again_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let mut first = spool(directory.path());
        let written: Vec<_> =
            ["one", "two", "three"].map(|text| first.write(&batch(text)).unwrap()).into();
        let bytes = first.bytes();
        first.remove(written.into_iter().next().unwrap());
        drop(first);
        let mut second = spool(directory.path());
        assert_eq!(second.bytes(), bytes - 3 - HEAD_BYTES as u64);
        let found = second.take_found();
        let texts: Vec<_> = found.iter().map(|file| file.read().unwrap()).collect();
        assert_eq!(texts, ["two", "three"]);
        assert_eq!((found[0].points, found[0].made_at), (7, batch("").made_at));
        // The numbers go on: a new file is never older than one that was found.
        let file = second.write(&batch("four")).unwrap();
        assert!(file.path > found[1].path);
    }

    #[test]
    fn two_processes_do_not_share_a_spool() {
        let directory = tempfile::tempdir().unwrap();
        let first = spool(directory.path());
        let age_max = Duration::from_secs(1);
        let options = Spool { directory: directory.path().to_owned(), bytes_max: 1, age_max };
        let second = || SinkSpool::open(&options, "influx+http://host:8086");
        let error = second().err().unwrap().to_string();
        assert!(error.starts_with("another process uses the spool "), "{error}");
        drop(first);
        assert!(second().is_ok());
    }

    #[test]
    fn a_damaged_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = spool(directory.path());
        let file = spool.write(&batch("payload")).unwrap();
        for change in [
            |bytes: &mut Vec<u8>| bytes.truncate(30),
            |bytes: &mut Vec<u8>| bytes.clear(),
            |bytes: &mut Vec<u8>| bytes[33] ^= 1,
            |bytes: &mut Vec<u8>| bytes[13] ^= 1,
        ] {
            let whole = fs::read(&file.path).unwrap();
            let mut bytes = whole.clone();
            change(&mut bytes);
            fs::write(&file.path, bytes).unwrap();
            let error = file.read().unwrap_err().to_string();
            assert!(error.contains(file.path.to_str().unwrap()), "{error}");
            fs::write(&file.path, whole).unwrap();
        }
        assert_eq!(file.read().unwrap(), "payload");
    }

    #[test]
    fn names_of_sinks_make_different_directories() {
        assert_ne!(directory_name("a/b"), directory_name("a_b"));
        assert!(!directory_name("../x:y").contains(['/', '.', ':']));
    }
}
