//! Programs that aya does not load: their instructions get constants, maps and the kernel's
//! functions here (`patched.rs` of the kernel's side).

pub(super) mod instructions;
pub(super) mod sys;
