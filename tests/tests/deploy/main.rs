//! What is in `deploy`: rules, dashboards, manifests, the chart and the unit, checked by the
//! programs that read them.

mod kubernetes;
mod prometheus;
mod systemd;

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tare_tests::process;

/// The first call of Helm's engine reads 85 MB.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file or directory below `deploy`.
fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

/// The output of a program that must succeed.
fn output(program: impl AsRef<OsStr>, args: &[&OsStr]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args);
    process::output(command, PATIENCE)
}

/// A program that `cargo xtask test --only deploy` has found or installed.
fn program(variable: &str) -> Result<PathBuf> {
    let path = env::var_os(variable)
        .with_context(|| format!("{variable} is not set: run `cargo xtask test --only deploy`"))?;
    Ok(path.into())
}

/// What `tools.py` prints.
fn tools(args: &[&OsStr]) -> Result<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy/tools.py");
    let all: Vec<&OsStr> = [script.as_os_str()].into_iter().chain(args.iter().copied()).collect();
    Ok(serde_json::from_str(&output(program("TARE_PYTHON")?, &all)?)?)
}

/// The only document of a YAML file.
fn yaml(path: &Path) -> Result<Value> {
    let mut documents = tools(&["json".as_ref(), path.as_os_str()])?;
    Ok(documents[0].take())
}
