//! Saved snapshots: JSON, in a zstd frame if the name of the file ends in `.zst`.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Error, Result, anyhow, bail};
use ruzstd::{
    decoding::StreamingDecoder,
    encoding::{CompressionLevel, compress_to_vec},
};
use serde::Deserialize;
use tare_model::{SNAPSHOT_VERSION, Snapshot};
use tempfile::NamedTempFile;

/// The largest accepted snapshot in bytes, uncompressed: tens of thousands of containers.
pub(super) const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// The first bytes of a zstd frame (RFC 8878, 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Standard input instead of a file.
const STDIN: &str = "-";

/// Checks whether a snapshot can be saved at `path`.
///
/// # Errors
///
/// If there is something else than a regular file, or no directory for it.
pub(super) fn check_target(path: &Path) -> Result<()> {
    target(path).map(drop)
}

/// Saves a snapshot. A concurrent reader sees the whole old file or the whole new one.
///
/// # Errors
///
/// If it cannot be written; a file that was there before stays as it was.
pub(super) fn write(path: &Path, snapshot: &Snapshot) -> Result<()> {
    let (target, directory) = target(path)?;
    let mut bytes = serde_json::to_vec(snapshot)?;
    bytes.push(b'\n');
    if path.extension().is_some_and(|ending| ending == "zst") {
        bytes = compress_to_vec(bytes.as_slice(), CompressionLevel::Fastest);
    }
    let save = || -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&directory)?;
        file.write_all(&bytes)?;
        file.as_file().sync_all()?;
        file.persist(&target)?;
        Ok(())
    };
    save().with_context(|| format!("cannot save the snapshot as {}", path.display()))
}

/// Reads a saved snapshot, compressed or not; `-` is standard input.
///
/// # Errors
///
/// If it cannot be read or is no snapshot that this version can read; the message names the file.
pub(crate) fn read(path: &Path) -> Result<Snapshot> {
    let named =
        if path == STDIN { "standard input".to_owned() } else { path.display().to_string() };
    load(path).and_then(parse).with_context(|| named)
}

/// The file to replace and its directory. A link is followed.
fn target(path: &Path) -> Result<(PathBuf, PathBuf)> {
    let shown = path.display();
    if path == STDIN {
        bail!("--output needs a file; `--format json` prints to standard output");
    }
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match fs::metadata(&target) {
        Ok(found) if found.is_dir() => {
            bail!("cannot save as {shown}: it is a directory; name a file in it")
        }
        Ok(found) if !found.is_file() => bail!("cannot save as {shown}: it is no regular file"),
        _ => {}
    }
    let directory = match target.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => bail!("cannot save as {shown}: name a file"),
    };
    if !directory.is_dir() {
        bail!(
            "cannot save as {shown}: there is no directory {}; make it first",
            directory.display()
        );
    }
    Ok((target, directory))
}

fn load(path: &Path) -> Result<Vec<u8>> {
    let mut input: Box<dyn Read> = if path == STDIN {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            bail!("it is a directory; name a file in it");
        }
        Box::new(file)
    };
    limited(&mut input)
}

/// All bytes of `input`, if there are at most [`MAX_BYTES`].
fn limited(input: &mut dyn Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!("it is longer than {MAX_BYTES} bytes: no snapshot of `tare`");
    }
    Ok(bytes)
}

/// Reads a snapshot from any bytes.
pub(super) fn parse(bytes: Vec<u8>) -> Result<Snapshot> {
    let bytes = if bytes.starts_with(&ZSTD_MAGIC) { unpack(&bytes)? } else { bytes };
    // A newer format may lack what this one needs, so the version is read first.
    #[derive(Deserialize)]
    struct Head {
        version: Option<u64>,
        host: Option<serde::de::IgnoredAny>,
    }
    match serde_json::from_slice(&bytes).map_err(explained)? {
        Head { version: Some(1..=SNAPSHOT_VERSION), host: Some(_) } => {
            serde_json::from_slice(&bytes).map_err(explained)
        }
        Head { version: Some(version), .. } if version > SNAPSHOT_VERSION => bail!(
            "it has version {version}, and this `tare` reads up to {SNAPSHOT_VERSION}; take a newer one"
        ),
        _ => bail!(
            "it is JSON but no snapshot of `tare`: save one with `tare snapshot --output FILE`"
        ),
    }
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>> {
    let damaged = |error: &dyn std::fmt::Display| {
        anyhow!("it is damaged or cut off: its zstd frame cannot be unpacked ({error})")
    };
    let mut decoder = StreamingDecoder::new(bytes).map_err(|error| damaged(&error))?;
    let unpacked = limited(&mut decoder).map_err(|error| damaged(&error))?;
    let frame = decoder.into_frame_decoder();
    match (frame.get_checksum_from_data(), frame.get_calculated_checksum()) {
        (Some(written), Some(found)) if written != found => Err(damaged(&"its checksum is wrong")),
        _ => Ok(unpacked),
    }
}

fn explained(error: serde_json::Error) -> Error {
    use serde_json::error::Category;
    match error.classify() {
        Category::Eof => anyhow!("it is empty or cut off ({error})"),
        Category::Data => anyhow!("it is no snapshot that this `tare` can read ({error})"),
        Category::Syntax | Category::Io => {
            anyhow!("it is no JSON, so no snapshot of `tare` ({error})")
        }
    }
}

#[cfg(test)]
mod tests;
