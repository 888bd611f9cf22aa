//! The eBPF object that this binary carries.

use std::{io::Read as _, sync::LazyLock};

use flate2::read::ZlibDecoder;

/// As the build has packed it: an eighth of its size, for 1 ms at the start.
#[cfg(has_ebpf)]
const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tare-ebpf.zlib"));
/// The crate was built before `cargo xtask build` made the object.
#[cfg(not(has_ebpf))]
const PACKED: &[u8] = &[];

static OBJECT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut object = Vec::new();
    // Whoever reads the object finds out that it is incomplete.
    if let Err(error) = ZlibDecoder::new(PACKED).read_to_end(&mut object) {
        tracing::error!(%error, "the eBPF object in this binary is damaged");
    }
    object
});

/// Its bytes; none if there is none.
pub(super) fn object() -> &'static [u8] {
    if is_built_in() { &OBJECT } else { &[] }
}

/// Whether there is one.
pub(super) fn is_built_in() -> bool {
    !PACKED.is_empty()
}
