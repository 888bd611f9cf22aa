//! The binaries under test: named by the environment, or built here.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::process::output;

/// Long enough for a cold build on a slow machine.
const BUILD_LIMIT: Duration = Duration::from_secs(900);

/// The `tare` binary: `TARE_BIN`, or else built in the profile of this test.
pub fn tare() -> Result<PathBuf> {
    if let Some(path) = from_environment("TARE_BIN")? {
        return Ok(path);
    }
    let own = std::env::current_exe().context("where this test is")?;
    let profile = own.ancestors().nth(2).context("target/PROFILE/deps holds this test")?;
    let target = profile.parent().context("target holds the profile")?;
    let mut build = cargo();
    build.args(["build", "--quiet", "--package", "tare", "--bin", "tare"]);
    build.arg("--target-dir").arg(target);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    build_once(build).context("build tare; TARE_BIN names one that is built already")?;
    must_exist(profile.join("tare"))
}

/// The static `tare-load` binary: `TARE_LOAD_BIN`, or else built here.
pub fn load() -> Result<PathBuf> {
    if let Some(path) = from_environment("TARE_LOAD_BIN")? {
        return Ok(path);
    }
    let mut version = Command::new("rustc");
    version.arg("-vV");
    let version = output(version, BUILD_LIMIT)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc -vV names no host")?;
    let target = workspace().join("target/static");
    let mut build = cargo();
    build.args(["rustc", "--quiet", "--package", "tare-tests", "--bin", "tare-load", "--release"]);
    build.args(["--target", host]).arg("--target-dir").arg(&target);
    build.args(["--", "-C", "target-feature=+crt-static"]);
    build_once(build).context("build the static tare-load")?;
    must_exist(target.join(host).join("release/tare-load"))
}

/// Docker's clients of other releases, from `TARE_DOCKER_CLIENTS`: paths with colons between them.
pub fn docker_clients() -> Result<Vec<PathBuf>> {
    let paths = std::env::var_os("TARE_DOCKER_CLIENTS");
    let paths = paths.context("TARE_DOCKER_CLIENTS names no clients; `cargo xtask test` does")?;
    std::env::split_paths(&paths).map(must_exist).collect()
}

/// A Python with the SDK of Docker: `TARE_PYTHON`.
pub fn python() -> Result<PathBuf> {
    from_environment("TARE_PYTHON")?.context("TARE_PYTHON is not set; `cargo xtask test` sets it")
}

fn from_environment(variable: &str) -> Result<Option<PathBuf>> {
    let Some(path) = std::env::var_os(variable) else { return Ok(None) };
    let path =
        std::path::absolute(&path).with_context(|| format!("{variable}={}", path.display()))?;
    must_exist(path).with_context(|| format!("{variable} is wrong")).map(Some)
}

fn must_exist(path: PathBuf) -> Result<PathBuf> {
    ensure!(path.is_file(), "there is no file {}", path.display());
    Ok(path)
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    cargo
}

fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// One build at a time: tests of one process run side by side.
fn build_once(build: Command) -> Result<()> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    output(build, BUILD_LIMIT).map(|_| ())
}
