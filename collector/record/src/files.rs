//! The names of the files of a recording.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::Error;

/// How the name of a block ends.
pub(crate) const BLOCK: &str = "tare";

/// How the name of a log ends.
pub(crate) const LOG: &str = "log";

/// How the name of a block ends that is being written.
pub(crate) const TEMPORARY: &str = "tmp";

/// The file that is locked by the process that records.
pub(crate) const LOCK: &str = "lock";

/// A file of a recording. The number orders them in the order in which they were made, whatever the
/// clock said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Block,
    Log,
}

/// The name of a block: its number, and the time of its first and its last instant in
/// milliseconds since 1970.
pub(crate) fn block_name(number: u64, first: i64, last: i64) -> String {
    let milliseconds = |time: i64| time.div_euclid(1_000_000);
    format!("{number:010}-{}-{}.{BLOCK}", milliseconds(first), milliseconds(last))
}

/// The name of a log.
pub(crate) fn log_name(number: u64) -> String {
    format!("{number:010}.{LOG}")
}

/// The number of a file.
pub(crate) fn number(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.split('-').next()?.parse().ok()
}

/// First and last time of a block by its name, in nanoseconds since 1970; the last one is rounded
/// up.
pub(crate) fn block_times(path: &Path) -> Option<(i64, i64)> {
    let stem = path.file_stem()?.to_str()?;
    let mut parts = stem.split('-').skip(1);
    let first = parts.next()?.parse::<i64>().ok()?.checked_mul(1_000_000)?;
    let last = parts.next()?.parse::<i64>().ok()?.checked_add(1)?.checked_mul(1_000_000)?;
    parts.next().is_none().then_some((first, last))
}

/// The files of a recording in their order. A log whose block is there is left out: it was about to
/// be removed.
pub(crate) fn list(directory: &Path) -> Result<Vec<Found>, Error> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
        let path = entry.map_err(Error::io(directory))?.path();
        let kind = match path.extension().and_then(|extension| extension.to_str()) {
            Some(BLOCK) => Kind::Block,
            Some(LOG) => Kind::Log,
            _ => continue,
        };
        let Some(number) = number(&path) else { continue };
        match fs::metadata(&path) {
            Ok(metadata) => all.push(Found { number, kind, path, bytes: metadata.len() }),
            // Removed a moment ago.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(path)(error)),
        }
    }
    all.sort();
    all.dedup_by(|later, earlier| later.number == earlier.number);
    Ok(all)
}
