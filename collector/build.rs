//! Embeds the kernel side, where `cargo xtask build` has built it.
//!
//! Without the object, or with an empty one, the crate compiles all the same and reads files only.

use std::{
    env,
    error::Error,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use flate2::{Compression, write::ZlibEncoder};

/// Names the object where it is not in the target directory.
const OVERRIDE: &str = "TARE_EBPF_OBJECT_PATH";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rustc-check-cfg=cfg(has_ebpf)");
    println!("cargo::rerun-if-env-changed={OVERRIDE}");
    let object = match env::var_os(OVERRIDE) {
        Some(path) => PathBuf::from(path),
        None => default_object()?,
    };
    println!("cargo::rerun-if-changed={}", object.display());
    if fs::metadata(&object).is_ok_and(|found| found.len() > 0) {
        pack(&object)?;
        println!("cargo::rustc-cfg=has_ebpf");
    }
    Ok(())
}

/// Compresses the object, for the binary to carry.
fn pack(object: &Path) -> Result<(), Box<dyn Error>> {
    let packed = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?).join("tare-ebpf.zlib");
    let mut encoder = ZlibEncoder::new(File::create(packed)?, Compression::best());
    encoder.write_all(&fs::read(object)?)?;
    encoder.finish()?;
    Ok(())
}

/// The object in the workspace's target directory, where `xtask` puts it.
fn default_object() -> Result<PathBuf, Box<dyn Error>> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("no CARGO_MANIFEST_DIR")?);
    let workspace = package.parent().ok_or("no directory above the package")?;
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let target = workspace.join(target);
    let object = target.join("bpf/tare-ebpf.o");
    if target.is_dir() {
        // Cargo takes a missing file for one that changes all the time: without the placeholder
        // every build would start over here. If making it fails, only time is lost.
        let _ = make_placeholder(&object);
    }
    Ok(object)
}

/// Makes an empty object where there is none, older than anything that cargo compares it with.
fn make_placeholder(object: &Path) -> io::Result<()> {
    if let Some(directory) = object.parent() {
        fs::create_dir_all(directory)?;
    }
    File::create_new(object)?.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1))
}
