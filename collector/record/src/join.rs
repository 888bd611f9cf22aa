//! A directory becomes one file.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use crate::{
    Error,
    files::{self, Kind},
};

/// Writes the blocks of a directory into one file, and removes the directory. Logs that could not
/// be sealed make it fail, and the directory stays.
///
/// # Errors
///
/// If the file exists or cannot be written.
pub fn join(directory: &Path, output: &Path) -> Result<(), Error> {
    let found = files::list(directory)?;
    if let Some(log) = found.iter().find(|found| found.kind == Kind::Log) {
        return Err(Error::Damaged { path: log.path.clone(), what: "it is not sealed" });
    }
    let mut file = File::create_new(output).map_err(Error::io(output))?;
    let copy = |path: &Path, file: &mut File| io::copy(&mut File::open(path)?, file);
    for block in &found {
        copy(&block.path, &mut file).map_err(Error::io(output))?;
    }
    file.sync_all().map_err(Error::io(output))?;
    fs::remove_dir_all(directory).map_err(Error::io(directory))
}
