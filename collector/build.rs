//! Embeds the kernel side, if it was built.
use std::path::Path;
fn main() {
    println!("cargo::rustc-check-cfg=cfg(has_ebpf)");
    let p = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/tare-ebpf.o");
    println!("cargo::rerun-if-changed={}", p.display());
    if p.exists() {
        println!("cargo::rustc-cfg=has_ebpf");
        println!("cargo::rustc-env=TARE_EBPF_OBJECT={}", p.display());
    }
}
