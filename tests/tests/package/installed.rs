//! The package, installed until the end of a test.

use std::{
    collections::BTreeSet, ffi::OsStr, fs, os::unix::fs::MetadataExt as _, path::Path,
    process::Command, time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tare_tests::{process::output, report::Report, wait};

/// The package that is tested.
pub(crate) const PACKAGE: &str = "/package/tare.deb";

/// The version of a later package.
pub(crate) const LATER: &str = "999.0";

/// For what takes a host seconds: the machine is emulated.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

const CONFIGURATION: &str = "/etc/default/tare";

/// Where other programs write at any time.
const NOT_OURS: [&str; 7] = ["/proc", "/sys", "/dev", "/run", "/tmp", "/var/log", "/var/cache"];

/// The installed package; purged on drop.
pub(crate) struct Installed;

impl Installed {
    /// Installs it, with the command that the documentation names.
    pub(crate) fn new() -> Result<Self> {
        call("apt-get", &["install", "--yes", PACKAGE])?;
        let installed = Self;
        installed.active()?;
        Ok(installed)
    }

    /// Waits until the service is active: it has then said that it is ready.
    pub(crate) fn active(&self) -> Result<()> {
        wait::eventually("the service to be active", LIMIT, || {
            let state = properties("tare.service", "ActiveState,SubState,UnitFileState")?;
            ensure!(state == ["active", "running", "enabled"], "{state:?}");
            Ok(())
        })
        .with_context(|| call("journalctl", &["--unit=tare", "--no-pager"]).unwrap_or_default())
    }

    /// The process of the service.
    pub(crate) fn pid(&self) -> Result<u32> {
        let pid = properties("tare.service", "MainPID")?;
        Ok(pid.first().context("no process")?.parse()?)
    }

    /// Configures the service and starts it again.
    pub(crate) fn configure(&self, variables: &str) -> Result<()> {
        fs::write(CONFIGURATION, variables).context(CONFIGURATION)?;
        call("systemctl", &["restart", "tare.service"])?;
        self.active()
    }

    /// What the service has measured.
    pub(crate) fn report(&self) -> Result<Report> {
        let socket = "/run/tare/tare.sock";
        let args = ["snapshot", "--daemon", socket, "--window", "0s", "--format", "json"];
        Report::parse(&call("tare", &args)?)
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // A test may have purged it.
        if let Err(error) = call("apt-get", &["purge", "--yes", "tare"]) {
            eprintln!("cannot purge the package: {error:#}");
        }
    }
}

/// Runs a program, which must succeed; its standard output.
pub(crate) fn call(program: &str, args: &[impl AsRef<OsStr>]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    output(command, LIMIT)
}

/// Values of a unit's properties, in the order of their names here.
pub(crate) fn properties(unit: &str, names: &str) -> Result<Vec<String>> {
    let text = call("systemctl", &["show", &format!("--property={names}"), unit])?;
    let value = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.map(str::to_owned).with_context(|| format!("no {name} in {text:?}"))
    };
    names.split(',').map(value).collect()
}

/// The same package with a later version.
pub(crate) fn later_package() -> Result<String> {
    let (directory, package) = ("/tmp/later", "/tmp/later.deb");
    call("dpkg-deb", &["--raw-extract", PACKAGE, directory])?;
    let control = Path::new(directory).join("DEBIAN/control");
    let text = fs::read_to_string(&control)?;
    let with_version = |line: &str| match line.starts_with("Version: ") {
        true => format!("Version: {LATER}\n"),
        false => format!("{line}\n"),
    };
    fs::write(&control, text.lines().map(with_version).collect::<String>())?;
    call("dpkg-deb", &["-Znone", "--build", directory, package])?;
    fs::remove_dir_all(directory)?;
    Ok(package.to_owned())
}

/// All files and directories that stay over a restart of the machine.
pub(crate) fn files() -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    let mut open = vec!["/".to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).with_context(|| directory.clone())? {
            let entry = entry?;
            let path = entry.path().display().to_string();
            if NOT_OURS.contains(&path.as_str()) {
                continue;
            }
            let Ok(found) = entry.metadata() else { continue };
            if found.is_dir() && found.dev() == fs::metadata("/")?.dev() {
                open.push(path.clone());
            }
            files.insert(path);
        }
    }
    Ok(files)
}
