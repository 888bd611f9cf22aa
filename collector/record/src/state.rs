//! What the process that records says about itself, for others to read.
//!
//! It stands in the file that this process locks. The file takes its room at the start, because
//! what is to be said may be that the disk is full.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::Path,
};

use crate::{Error, files};

/// Bytes of the file.
const STATE_BYTES: usize = 512;

/// What is known about who records into a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriterState {
    /// Nobody does.
    None,
    /// A process does.
    Active {
        /// Its number, in its own namespace; `None` if it has not said so yet.
        process: Option<u32>,
        /// Why it cannot write at present; `None` while it can.
        fault: Option<String>,
    },
}

impl WriterState {
    /// Looks who records into a directory.
    ///
    /// # Errors
    ///
    /// If nothing was ever recorded there, or if this may not be seen.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(files::LOCK);
        let file = File::open(&path).map_err(Error::io(&path))?;
        match file.try_lock_shared() {
            Ok(()) => return Ok(Self::None),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(Error::io(path)(error)),
        }
        let mut bytes = Vec::new();
        let read = (&file).take(STATE_BYTES as u64).read_to_end(&mut bytes);
        read.map_err(Error::io(path))?;
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines().map(str::trim);
        let process = lines.next().and_then(|line| line.parse().ok());
        let fault = lines.next().filter(|line| !line.is_empty()).map(str::to_owned);
        Ok(Self::Active { process, fault })
    }
}

/// Says how this process does.
pub(crate) fn write(mut file: &File, fault: Option<&str>) -> std::io::Result<()> {
    let fault = fault.unwrap_or_default().replace('\n', " ");
    let mut bytes = format!("{}\n{fault}", std::process::id()).into_bytes();
    bytes.resize(STATE_BYTES - 1, b' ');
    bytes.push(b'\n');
    file.rewind()?;
    file.write_all(&bytes)
}
