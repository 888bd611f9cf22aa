//! Records into a directory.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    Error, block,
    encoder::Encoder,
    files::{self, Found, Kind},
    log,
    shape::Same,
    state,
    table::{Run, TICKS_MAX},
};

/// What a recording may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files; the oldest blocks go first.
    pub bytes_max: u64,
    /// How old a block may become.
    pub age_max: Duration,
    /// How long a log may become before it is sealed.
    pub block_span: Duration,
    /// How many bytes the instants after the first may take before a log is sealed, if the first
    /// does not take more. Sealing takes twenty to thirty times as much memory.
    pub log_bytes_max: u64,
    /// How much time may pass before what was written is on the disk; 0 waits for it at each
    /// instant.
    pub sync_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_max: 256 << 20,
            age_max: Duration::from_secs(7 * 24 * 3600),
            block_span: Duration::from_secs(600),
            log_bytes_max: 2 << 20,
            sync_every: Duration::from_secs(10),
        }
    }
}

/// How often the lock of a directory is tried, and the time between.
const LOCK_ATTEMPTS: u32 = 3;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A log of an earlier process that was found at the start.
#[derive(Debug)]
pub struct Recovered {
    /// The log.
    pub path: PathBuf,
    /// How many instants it had.
    pub instants: usize,
    /// Bytes at its end that were not whole.
    pub lost_bytes: usize,
    /// Why it stays as it is, if it does.
    pub error: Option<Error>,
}

/// Writes a recording. Only one process can write into a directory at a time.
#[derive(Debug)]
pub struct Writer {
    directory: PathBuf,
    limits: Limits,
    run: Run,
    /// The number of the next file.
    next: u64,
    kept: Vec<Found>,
    open: Option<OpenLog>,
    frame: Vec<u8>,
    lock: File,
}

#[derive(Debug)]
struct OpenLog {
    number: u64,
    path: PathBuf,
    file: File,
    encoder: Encoder,
    bytes: u64,
    /// Those of the head and of the first instant.
    first_bytes: u64,
    first: i64,
    last: i64,
    ticks: usize,
    synced: Instant,
}

/// An instant that is being recorded. Without [`Tick::commit`] it is not.
#[derive(Debug)]
pub struct Tick<'a> {
    writer: &'a mut Writer,
    time: i64,
}

impl Writer {
    /// Opens a directory, makes it if it is missing, and seals what an earlier process left.
    ///
    /// # Errors
    ///
    /// If another process records there, or if the directory cannot be used.
    pub fn open(
        directory: &Path,
        run: Run,
        limits: Limits,
    ) -> Result<(Self, Vec<Recovered>), Error> {
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(directory);
        made.map_err(Error::io(directory))?;
        let lock = lock(directory)?;
        let kept = files::list(directory)?;
        remove_leftovers(directory, &kept)?;
        let next = kept.last().map_or(0, |found| found.number + 1);
        let directory = directory.to_owned();
        let mut writer =
            Self { directory, limits, run, next, kept, open: None, frame: Vec::new(), lock };
        let recovered = writer.recover();
        writer.sync_directory()?;
        writer.tell(None);
        Ok((writer, recovered))
    }

    /// Tells others why nothing can be written at present, or that it can; see
    /// [`WriterState`](crate::WriterState).
    pub fn tell(&self, fault: Option<&str>) {
        // It is for information, and a disk that refuses it makes itself known.
        let _ = state::write(&self.lock, fault);
    }

    /// Seals the logs of earlier processes.
    fn recover(&mut self) -> Vec<Recovered> {
        let is_log = |found: &&Found| found.kind == Kind::Log;
        let logs: Vec<Found> = self.kept.iter().filter(is_log).cloned().collect();
        let seal = |found: &Found| {
            let (instants, lost_bytes, error) = match self.seal(found.number, &found.path) {
                Ok((instants, lost)) => (instants, lost, None),
                Err(error) => (0, 0, Some(error)),
            };
            Recovered { path: found.path.clone(), instants, lost_bytes, error }
        };
        let mut seal = seal;
        logs.iter().map(&mut seal).collect()
    }

    /// Begins to record an instant: its time in nanoseconds since 1970, and by the monotonic clock.
    /// Numbers that are one of both take no room. Where the clock has gone back, a new stretch
    /// begins.
    ///
    /// # Errors
    ///
    /// If no log can be made.
    pub fn tick(&mut self, time: i64, monotonic: i64) -> Result<Tick<'_>, Error> {
        let now = &mut self.open;
        // Within a stretch time never goes back.
        if now.as_ref().is_some_and(|log| time <= log.last) {
            self.finish()?;
        }
        if self.open.is_none() {
            self.open = Some(self.begin(time)?);
        }
        if let Some(log) = &mut self.open {
            log.encoder.begin(time, monotonic);
        }
        Ok(Tick { writer: self, time })
    }

    fn begin(&mut self, time: i64) -> Result<OpenLog, Error> {
        let number = self.next;
        let path = self.directory.join(files::log_name(number));
        let mut options = File::options();
        let file = options.append(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.map_err(Error::io(&path))?;
        self.next += 1;
        let head = log::begin(&self.run);
        if let Err(error) = file.write_all(&head) {
            // An empty log takes a number and is of no use.
            let _ = fs::remove_file(&path);
            return Err(Error::io(path)(error));
        }
        self.sync_directory()?;
        let synced = Instant::now();
        let (bytes, encoder) = (head.len() as u64, Encoder::default());
        Ok(OpenLog {
            number,
            path,
            file,
            encoder,
            bytes,
            first_bytes: 0,
            first: time,
            last: i64::MIN,
            ticks: 0,
            synced,
        })
    }

    /// Seals the open log, if there is one.
    ///
    /// # Errors
    ///
    /// If the block cannot be written. The log stays then and can be read.
    pub fn finish(&mut self) -> Result<(), Error> {
        let Some(log) = self.open.take() else { return Ok(()) };
        let OpenLog { number, path, bytes, .. } = log;
        self.kept.push(Found { number, kind: Kind::Log, path: path.clone(), bytes });
        self.seal(number, &path)?;
        self.retain()
    }

    /// Makes a block of a log; how many instants it has, and how many bytes were not whole.
    fn seal(&mut self, number: u64, log: &Path) -> Result<(usize, usize), Error> {
        let read = log::read(log)?;
        let times = &read.table.times;
        let done = (times.len(), read.lost_bytes);
        if let (Some(first), Some(last)) = (times.first(), times.last()) {
            let path = self.directory.join(files::block_name(number, *first, *last));
            let bytes = block::encode(&read.table);
            write_whole(&path, &bytes)?;
            self.sync_directory()?;
            let bytes = bytes.len() as u64;
            self.kept.push(Found { number, kind: Kind::Block, path, bytes });
        }
        fs::remove_file(log).map_err(Error::io(log))?;
        self.kept.retain(|found| found.path != log);
        self.kept.sort();
        Ok(done)
    }

    /// Removes blocks that are too old or too many.
    fn retain(&mut self) -> Result<(), Error> {
        let open = self.open.as_ref().map_or(0, |log| log.bytes);
        let mut bytes = open + self.kept.iter().map(|found| found.bytes).sum::<u64>();
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let oldest = now.saturating_sub(self.limits.age_max).as_nanos();
        let is_old = |found: &Found| {
            files::block_times(&found.path)
                .is_some_and(|(_, last)| i128::from(last) < oldest as i128)
        };
        while let Some(found) = self.kept.first() {
            if bytes <= self.limits.bytes_max && !is_old(found) {
                break;
            }
            fs::remove_file(&found.path).map_err(Error::io(&found.path))?;
            bytes -= found.bytes;
            self.kept.remove(0);
        }
        Ok(())
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        let open = self.open.as_ref().map_or(0, |log| log.bytes);
        open + self.kept.iter().map(|found| found.bytes).sum::<u64>()
    }

    /// Gives the open log up after an error. What is whole in it can be read.
    pub fn abandon(&mut self) {
        let Some(OpenLog { number, path, bytes, ticks, .. }) = self.open.take() else { return };
        if ticks == 0 {
            // While a disk is full there is one at each attempt.
            let _ = fs::remove_file(&path);
        } else {
            self.kept.push(Found { number, kind: Kind::Log, path, bytes });
        }
    }

    fn sync_directory(&self) -> Result<(), Error> {
        let directory = File::open(&self.directory).and_then(|directory| directory.sync_all());
        directory.map_err(Error::io(&self.directory))
    }

    fn append(&mut self, time: i64) -> Result<u64, Error> {
        let Some(open) = &mut self.open else { return Ok(0) };
        log::tick(open.encoder.finish(), &mut self.frame);
        if let Err(error) = open.file.write_all(&self.frame) {
            // Half a frame would hide those after it.
            let _ = open.file.set_len(open.bytes);
            return Err(Error::io(&open.path)(error));
        }
        open.bytes += self.frame.len() as u64;
        if open.ticks == 0 {
            open.first_bytes = open.bytes;
        }
        open.last = time;
        open.ticks += 1;
        if open.synced.elapsed() >= self.limits.sync_every {
            open.file.sync_data().map_err(Error::io(&open.path))?;
            open.synced = Instant::now();
        }
        Ok(self.frame.len() as u64)
    }

    fn is_full(&self) -> bool {
        let span = i128::try_from(self.limits.block_span.as_nanos()).unwrap_or(i128::MAX);
        self.open.as_ref().is_some_and(|log| {
            log.ticks >= TICKS_MAX
                || log.bytes - log.first_bytes >= self.limits.log_bytes_max.max(log.first_bytes)
                || i128::from(log.last) - i128::from(log.first) >= span
        })
    }
}

impl Tick<'_> {
    /// Adds a thing. Within an instant, kind and key name one.
    ///
    /// # Errors
    ///
    /// If the value has no recordable form, such as a key that is a list.
    pub fn put(
        &mut self,
        kind: &'static str,
        key: u64,
        value: &impl Serialize,
    ) -> Result<(), Error> {
        self.put_changed(kind, key, value, &[])
    }

    /// The same, with fields of the value, or of its fields, that are as they were at the instant
    /// before, in their order. They are not looked at.
    ///
    /// # Errors
    ///
    /// As [`Tick::put`].
    pub fn put_changed(
        &mut self,
        kind: &'static str,
        key: u64,
        value: &impl Serialize,
        same: &[Same],
    ) -> Result<(), Error> {
        match &mut self.writer.open {
            Some(log) => log.encoder.put(kind, key, value, same),
            None => Ok(()),
        }
    }

    /// Takes a thing over from the instant before as it was; `false` if it was not there.
    pub fn keep(&mut self, kind: &'static str, key: u64) -> bool {
        self.writer.open.as_mut().is_some_and(|log| log.encoder.keep(kind, key))
    }

    /// How many numbers it has so far.
    pub fn numbers(&self) -> usize {
        self.writer.open.as_ref().map_or(0, |log| log.encoder.numbers)
    }

    /// Writes the instant; how many bytes that took. A full log is sealed.
    ///
    /// # Errors
    ///
    /// If it cannot be written. The next instant begins a new log then.
    pub fn commit(self) -> Result<u64, Error> {
        let Self { writer, time } = self;
        let bytes = writer.append(time).inspect_err(|_| writer.abandon())?;
        if writer.is_full() {
            writer.finish()?;
        }
        Ok(bytes)
    }
}

/// Takes the directory for this process.
fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join(files::LOCK);
    let mut options = File::options();
    let opened = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.map_err(Error::io(&path))?;
    for _ in 0..LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // Who looks at the state holds the lock for a moment.
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(fs::TryLockError::Error(error)) => return Err(Error::io(path)(error)),
        }
    }
    Err(Error::Busy { path: directory.to_owned() })
}

fn remove_leftovers(directory: &Path, kept: &[Found]) -> Result<(), Error> {
    for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
        let path = entry.map_err(Error::io(directory))?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_kept = kept.iter().any(|found| found.path == path);
        let is_leftover = matches!(extension, Some(files::TEMPORARY | files::LOG)) && !is_kept;
        if is_leftover && files::number(&path).is_some() {
            fs::remove_file(&path).map_err(Error::io(path))?;
        }
    }
    Ok(())
}

/// Writes a file under a temporary name and renames it when it is on the disk.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension(files::TEMPORARY);
    let mut options = File::options();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    written.map_err(|error| {
        // An incomplete file takes room that is wanted.
        let _ = fs::remove_file(&temporary);
        Error::io(path)(error)
    })
}
