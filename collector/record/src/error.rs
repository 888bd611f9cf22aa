//! What can go wrong.

use std::{io, path::PathBuf};

/// Why a recording cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another process records there.
    #[error("{}: another process records into this directory", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// A part is damaged.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It was written by a later version.
    #[error("{}: it has format {found}, and this version reads up to {known}", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        known: u32,
    },
    /// A value has no recordable form.
    #[error("cannot record {kind}: {error}")]
    Unrecordable {
        /// What it is.
        kind: String,
        /// Why.
        error: crate::Unrecordable,
    },
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { path, error }
    }

    /// Whether the disk or a quota is full.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(self, Self::Io { error, .. }
            if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge))
    }
}
