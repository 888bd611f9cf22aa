//! From what the first process shows to the contract.

use tare_model::RootFilesystem;

use crate::families::first_process::{FirstProcess, Root};

/// The root file system.
pub fn report(process: &FirstProcess) -> Option<RootFilesystem> {
    let Root { place, size_bytes, free_bytes, inodes, inodes_free } = process.root.as_ref()?;
    Some(RootFilesystem {
        device: place.device.clone(),
        kind: place.kind.clone(),
        size_bytes: *size_bytes,
        free_bytes: *free_bytes,
        inodes: *inodes,
        inodes_free: *inodes_free,
    })
}
