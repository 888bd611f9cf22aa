//! Installs programs that the tests need, from Debian packages.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    apt::{Apt, Archive},
    cmd, project,
};

/// A program and the Debian packages that contain it; the first that exists is installed.
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
        bail!("{programs} missing, and there is no apt-get: please install them");
    }
    println!("Installing {programs}");
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

/// The directory of a package's programs. If the machine does not have them, the package is
/// unpacked under `target`, not installed: installing it would start a service.
pub(crate) fn unpacked(package: &str, programs: &[&str]) -> Result<PathBuf> {
    let found = programs.iter().map(|program| cmd::find(program)).collect::<Option<Vec<_>>>();
    if let Some(directory) = found.as_ref().and_then(|found| found.first()?.parent()) {
        return Ok(directory.to_owned());
    }
    let root = project::target().join("packages").join(package);
    let directory = root.join("usr/bin");
    if programs.iter().all(|program| directory.join(program).is_file()) {
        return Ok(directory);
    }
    for program in ["apt-get", "dpkg-deb"] {
        if cmd::find(program).is_none() {
            bail!("{programs:?} missing, and there is no {program}: please install them");
        }
    }
    println!("Fetching {package}");
    apt_get(&["update"])?;
    let files = root.join("file");
    // An earlier attempt may have left an incomplete directory.
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {root:?}"))?;
    }
    fs::create_dir_all(&files).with_context(|| format!("cannot make {files:?}"))?;
    let mut download = Command::new("apt-get");
    download.args(["--quiet=2", "-o", "APT::Sandbox::User=root", "download", package]);
    cmd::run(download.current_dir(&files)).with_context(|| format!("cannot fetch {package}"))?;
    let file = fs::read_dir(&files)?.next().context("apt-get fetched nothing")??.path();
    cmd::run(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&root))?;
    fs::remove_dir_all(&files).with_context(|| format!("cannot remove {files:?}"))?;
    for program in programs {
        ensure!(directory.join(program).is_file(), "the package {package} has no {program}");
    }
    Ok(directory)
}

/// The path of cAdvisor: the machine's own, or the last release that Debian has.
pub(crate) fn cadvisor() -> Result<PathBuf> {
    const SUITE: &str = "bullseye";
    const VERSION: &str = "0.38.7";
    if let Some(found) = cmd::find("cadvisor") {
        return Ok(found);
    }
    let root = project::target().join("packages/cadvisor");
    let program = root.join("usr/bin/cadvisor");
    if !program.is_file() {
        let apt = Apt::open(&BTreeSet::from([(Archive::Main, SUITE)]))?;
        apt.unpack("cadvisor", VERSION, &root)?;
    }
    Ok(program)
}

/// A package of a Debian suite, unpacked below `target`.
pub(crate) fn of_suite(package: &str, suite: &'static str) -> Result<PathBuf> {
    let root = project::target().join("packages").join(format!("{package}-{suite}"));
    if !root.is_dir() {
        let apt = Apt::open(&BTreeSet::from([(Archive::Main, suite)]))?;
        apt.unpack(package, "", &root)?;
    }
    Ok(root)
}

/// The program of `StatsD`, from npm, below `target`.
pub(crate) fn statsd() -> Result<PathBuf> {
    const PACKAGE: &str = "statsd@0.9.0";
    let root = project::target().join("packages/statsd");
    let program = root.join("node_modules/statsd/stats.js");
    if program.is_file() {
        return Ok(program);
    }
    install(&[("node", &["nodejs"]), ("npm", &["npm"])])?;
    println!("Installing {PACKAGE}");
    fs::create_dir_all(&root).with_context(|| format!("cannot make {root:?}"))?;
    fs::write(root.join("package.json"), "{}").context("cannot write package.json")?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--omit=optional", "--ignore-scripts", "--no-audit", PACKAGE]);
    cmd::run(npm.current_dir(&root))?;
    Ok(program)
}

/// The path of kubectl: the machine's own, or Debian's newest.
pub(crate) fn kubectl() -> Result<PathBuf> {
    if let Some(found) = cmd::find("kubectl") {
        return Ok(found);
    }
    let root = project::target().join("packages/kubectl");
    let program = root.join("usr/bin/kubectl");
    if !program.is_file() {
        let apt = Apt::open(&BTreeSet::from([(Archive::Main, "sid")]))?;
        apt.unpack("kubectl", "", &root)?;
    }
    Ok(program)
}

/// The directory of containerd 2 and its shim.
pub(crate) fn containerd() -> Result<PathBuf> {
    Ok(of_suite("containerd", "sid")?.join("usr/bin"))
}

/// The directory of the plugins that make the networks of pods.
pub(crate) fn cni() -> Result<PathBuf> {
    Ok(of_suite("containernetworking-plugins", "bookworm")?.join("usr/lib/cni"))
}

/// Docker's clients of Debian's suites, oldest first: the machine's own where it is that one.
pub(crate) fn docker_clients() -> Result<Vec<PathBuf>> {
    const INSTALLED: &str = "/usr/bin/docker";
    const CLIENTS: [(&str, &str, &str); 2] =
        [("docker.io", "bookworm", "20.10."), ("docker-cli", "sid", "")];
    let client = |(package, suite, version): (&str, &'static str, &str)| {
        let mut ask = Command::new(INSTALLED);
        let installed = cmd::capture(ask.arg("--version")).unwrap_or_default();
        if !version.is_empty() && installed.contains(&format!("version {version}")) {
            return Ok(PathBuf::from(INSTALLED));
        }
        let root = project::target().join("packages").join(format!("{package}-{suite}"));
        let program = root.join("usr/bin/docker");
        if !program.is_file() {
            let apt = Apt::open(&BTreeSet::from([(Archive::Main, suite)]))?;
            apt.unpack(package, version, &root)?;
        }
        Ok(program)
    };
    CLIENTS.into_iter().map(client).collect()
}

/// A Python with Helm's engine, the schemas of Kubernetes, the SDK of Docker and Glances, below
/// `target`.
pub(crate) fn python() -> Result<PathBuf> {
    const PACKAGES: [&str; 6] = [
        "helm-python-sdk==0.2.2",
        "kubernetes-validate==1.37.0",
        "docker==7.2.0",
        "glances==4.5.8",
        "python-dateutil==4.0.0",
        "requests==2.34.2",
    ];
    let imports =
        "import dateutil, docker, glances, helm_python, kubernetes_validate, requests, yaml";
    environment("python", &PACKAGES, imports)
}

/// A Python with a server of gRPC and the messages of OpenTelemetry, below `target`.
pub(crate) fn otlp_python() -> Result<PathBuf> {
    const PACKAGES: [&str; 2] = ["grpcio==1.85.3", "opentelemetry-proto==1.45.2"];
    let imports = "import grpc, opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc";
    environment("python-otlp", &PACKAGES, imports)
}

/// A virtual environment of Python with packages of `PyPI`.
fn environment(name: &str, packages: &[&str], imports: &str) -> Result<PathBuf> {
    let root = project::target().join("packages").join(name);
    let python = root.join("bin/python3");
    if cmd::succeeds(Command::new(&python).args(["-c", imports])) {
        return Ok(python);
    }
    println!("Installing {}", packages.join(", "));
    let environment = || {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(&root);
        venv
    };
    if !cmd::succeeds(&mut environment()) {
        // Debian has it apart.
        apt_get(&["update"])?;
        apt_get(&["install", "--yes", "--no-install-recommends", "python3-venv"])?;
        cmd::run(&mut environment())?;
    }
    let mut pip = Command::new(&python);
    cmd::run(pip.args(["-m", "pip", "install", "--quiet"]).args(packages))?;
    Ok(python)
}

fn apt_get(args: &[&str]) -> Result<()> {
    let mut apt = cmd::as_root("env", &[]);
    apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "-o", "Dpkg::Use-Pty=0"]);
    cmd::run(apt.args(args))
}
