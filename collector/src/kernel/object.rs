//! The eBPF object that this binary carries.

/// Its bytes; none if the crate was built before `cargo xtask build` made it.
#[cfg(has_ebpf)]
pub(super) const OBJECT: &[u8] = aya::include_bytes_aligned!(env!("TARE_EBPF_OBJECT"));
#[cfg(not(has_ebpf))]
pub(super) const OBJECT: &[u8] = &[];

/// Whether there is one.
pub(super) fn is_built_in() -> bool {
    !OBJECT.is_empty()
}
