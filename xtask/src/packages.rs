//! Debian packages of programs that the tests call and this machine lacks.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cmd;

/// A program and the Debian packages that bring it: the first one that exists is installed.
pub(crate) type Needed = (&'static str, &'static [&'static str]);

/// Installs the Debian packages of the programs that are missing.
pub(crate) fn install(needed: &[Needed]) -> Result<()> {
    let missing: Vec<&Needed> =
        needed.iter().filter(|(program, _)| cmd::find(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs = missing.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(", ");
    if cmd::find("apt-get").is_none() {
        bail!("{programs} missing, and there is no apt-get to install them: please do");
    }
    println!("Installing what is missing: {programs}");
    apt_get(&["update"])?;
    let mut packages: Vec<&str> = Vec::new();
    for (program, choices) in missing {
        let package = choices.iter().find(|package| {
            cmd::succeeds(Command::new("apt-cache").args(["show", "--quiet=2", package]))
        });
        packages.push(package.with_context(|| format!("no package for {program}: {choices:?}"))?);
    }
    packages.dedup();
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(packages);
    apt_get(&args)
}

fn apt_get(args: &[&str]) -> Result<()> {
    let mut apt = cmd::as_root("env", &[]);
    apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "-o", "Dpkg::Use-Pty=0"]);
    cmd::run(apt.args(args))
}
