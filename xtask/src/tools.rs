//! Tools of the build: pinned, installed once, under `target` where possible.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{cmd, project};

/// The last release that uses the compiler's LLVM; later ones need LLVM on the machine.
const BPF_LINKER_VERSION: &str = "0.10.4";

const CARGO_CYCLONEDX_VERSION: &str = "0.5.9";

const CARGO_FUZZ_VERSION: &str = "0.13.2";

/// The tools of the BPF build.
pub(crate) struct Tools {
    pub(crate) bpf_linker: PathBuf,
}

/// Installs what is missing.
pub(crate) fn ready() -> Result<Tools> {
    check_compiler()?;
    rust_src()?;
    Ok(Tools { bpf_linker: bpf_linker()? })
}

/// The BPF build needs the pinned compiler: it builds `core` from its sources, and the linker uses
/// its LLVM.
fn check_compiler() -> Result<()> {
    let file = project::root().join("rust-toolchain.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file:?}"))?;
    let pinned = pinned_channel(&text).with_context(|| format!("no channel in {file:?}"))?;
    let running = project::rustc_says("release")?;
    if running != pinned {
        bail!(
            "this is rustc {running}, but rust-toolchain.toml pins {pinned}: \
             `rustup toolchain install {pinned}`, or put that version first in PATH"
        );
    }
    Ok(())
}

fn pinned_channel(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let value = line.trim().strip_prefix("channel")?.trim_start().strip_prefix('=')?;
        value.trim().strip_prefix('"')?.strip_suffix('"')
    })
}

fn rust_src() -> Result<()> {
    let mut print = Command::new("rustc");
    print.args(["--print", "sysroot"]).current_dir(project::root());
    let sysroot = PathBuf::from(cmd::capture(&mut print)?.trim_end());
    let sources = sysroot.join("lib/rustlib/src/rust");
    let there = || sources.join("library/core").is_dir();
    if there() {
        return Ok(());
    }
    let added = add_component("rust-src");
    if there() {
        return Ok(());
    }
    let by_hand = format!(
        "the sources of the standard library are missing.\n\
         With rustup: `rustup component add rust-src`.\n\
         With Debian: `apt-get download rust-src` in the version of the compiler, \
         `dpkg -x` it, and link its usr/lib/rustlib/src/rust at {sources:?}"
    );
    match added {
        Ok(()) => bail!(by_hand),
        Err(error) => Err(error.context(by_hand)),
    }
}

/// Installs a cargo subcommand that is a component of the toolchain, if it is missing.
pub(crate) fn subcommand(name: &str, component: &str) -> Result<()> {
    if cmd::succeeds(project::cargo().args([name, "--version"])) {
        return Ok(());
    }
    add_component(component).with_context(|| format!("`cargo {name}` is missing"))
}

fn add_component(component: &str) -> Result<()> {
    if cmd::find("rustup").is_none() {
        bail!("there is no rustup to install {component}");
    }
    eprintln!("Installing {component}");
    let mut rustup = Command::new("rustup");
    cmd::run(rustup.args(["component", "add", component]).current_dir(project::root()))
}

/// Installs the standard library for another target.
pub(crate) fn rust_std(target: &str) -> Result<()> {
    let mut print = Command::new("rustc");
    print.args(["--print", "target-libdir", "--target", target]).current_dir(project::root());
    if Path::new(cmd::capture(&mut print)?.trim_end()).is_dir() {
        return Ok(());
    }
    if cmd::find("rustup").is_none() {
        bail!("the standard library for {target} is missing, and there is no rustup");
    }
    eprintln!("Installing the standard library for {target}");
    let mut rustup = Command::new("rustup");
    cmd::run(rustup.args(["target", "add", target]).current_dir(project::root()))
}

fn bpf_linker() -> Result<PathBuf> {
    installed("bpf-linker", BPF_LINKER_VERSION)
}

/// The path of `cargo-cyclonedx`.
pub(crate) fn cargo_cyclonedx() -> Result<PathBuf> {
    installed("cargo-cyclonedx", CARGO_CYCLONEDX_VERSION)
}

/// The path of `cargo-fuzz`.
pub(crate) fn cargo_fuzz() -> Result<PathBuf> {
    installed("cargo-fuzz", CARGO_FUZZ_VERSION)
}

/// The path of a program from crates.io, installed once.
fn installed(name: &str, version: &str) -> Result<PathBuf> {
    let root = project::target().join("tools").join(format!("{name}-{version}"));
    let program = root.join("bin").join(name);
    if works(&program) {
        return Ok(program);
    }
    eprintln!("Installing {name} {version}, once");
    let build = project::target().join("tools/build");
    let mut install = project::cargo();
    install
        .args(["install", name, "--version", version, "--locked", "--force"])
        // Compiling these without optimisation saves more time than they take to run.
        .arg("--debug")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .arg("--root")
        .arg(&root)
        // Otherwise cargo warns that the directory is not in `PATH`.
        .env("PATH", path_with(&root.join("bin"))?)
        .env("CARGO_TARGET_DIR", &build)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    cmd::run(&mut install)?;
    fs::remove_dir_all(&build).with_context(|| format!("cannot remove {build:?}"))?;
    if !works(&program) {
        bail!("{program:?} was installed but does not run");
    }
    Ok(program)
}

fn path_with(directory: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let all = env::split_paths(&path).chain([directory.to_path_buf()]);
    env::join_paths(all).with_context(|| format!("cannot add {directory:?} to PATH"))
}

fn works(program: &Path) -> bool {
    program.is_file() && cmd::succeeds(Command::new(program).arg("--help"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_compiler_is_the_oldest_supported_one() {
        let pinned = fs::read_to_string(project::root().join("rust-toolchain.toml")).unwrap();
        let pinned = pinned_channel(&pinned).unwrap();
        let oldest = env!("CARGO_PKG_RUST_VERSION");
        assert!(pinned == oldest || pinned.strip_prefix(oldest) == Some(".0"), "{pinned}");
    }

    #[test]
    fn the_pinned_channel_is_read() {
        let text = "[toolchain]\nprofile = \"minimal\"\nchannel = \"1.95.0\"\n";
        assert_eq!(pinned_channel(text), Some("1.95.0"));
        assert_eq!(pinned_channel("[toolchain]\n"), None);
    }
}
