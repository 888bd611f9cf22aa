//! The licences of the crates that are linked into the binary.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::{cmd, project};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: String,
    source: Option<String>,
}

/// Name, licence and licence texts of each crate. An error if a crate declares no licence.
pub(super) fn text(target: &str) -> Result<String> {
    let linked = linked(target)?;
    let mut metadata = project::cargo();
    metadata.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", target]);
    let metadata: Metadata = serde_json::from_str(&cmd::capture(&mut metadata)?)?;
    let mut packages = metadata.packages;
    packages.retain(|package| {
        package.source.is_some()
            && linked.contains(&(package.name.clone(), package.version.clone()))
    });
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    ensure!(!packages.is_empty(), "no crate is linked into tare");
    let mut out = String::from("Tare contains the following crates of others.\n");
    for package in packages {
        let licence = package.license.as_deref();
        let licence = licence.with_context(|| format!("{} has no licence", package.name))?;
        out += &format!("\n{}\n{} {}: {licence}\n", "=".repeat(78), package.name, package.version);
        for text in texts(Path::new(&package.manifest_path))? {
            out += &format!("{}\n{text}\n", "-".repeat(78));
        }
    }
    Ok(out)
}

/// Names and versions of all crates in the binary.
fn linked(target: &str) -> Result<BTreeSet<(String, String)>> {
    let mut tree = project::cargo();
    tree.args(["tree", "--package", "tare", "--edges", "normal", "--target", target, "--locked"]);
    let tree = cmd::capture(tree.args(["--prefix", "none", "--format", "{p}"]))?;
    let package = |line: &str| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
    };
    Ok(tree.lines().filter_map(package).collect())
}

/// The licence files beside a manifest, by name.
fn texts(manifest: &Path) -> Result<Vec<String>> {
    let directory = manifest.parent().context("a manifest is in a directory")?;
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {directory:?}"))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        let is_licence = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT", "UNLICENSE"]
            .iter()
            .any(|start| name.starts_with(start));
        if is_licence && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let bytes = fs::read(file).with_context(|| format!("cannot read {file:?}"))?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    files.iter().map(read).collect()
}
