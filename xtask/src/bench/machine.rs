//! The machine of a run, its kernel, and the versions of the tools.

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use nix::sys::{
    resource::{Resource, getrlimit},
    utsname::uname,
};
use serde::{Deserialize, Serialize};

use crate::{cmd, packages, project};

/// The machine and the run.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) memory_bytes: u64,
    /// Limit of open files for a process.
    pub(crate) open_files: u64,
    /// Cgroup hierarchies of containers: version and controllers.
    pub(crate) cgroups: String,
    /// Versions of all tools, as they print them.
    pub(crate) versions: BTreeMap<String, String>,
    /// The commit that was built, with `-dirty` if there were other changes.
    pub(crate) commit: String,
    /// The command that started the run.
    pub(crate) command: String,
    /// Start of the run, in seconds since 1970.
    pub(crate) began: u64,
}

impl Machine {
    pub(crate) fn here(tare: &Path) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let mut describe = Command::new("git");
        describe.args(["describe", "--always", "--dirty"]).current_dir(project::root());
        let arguments: Vec<String> = env::args().skip(1).collect();
        Ok(Self {
            kernel: kernel()?,
            cpu: field(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            cpus: std::thread::available_parallelism()?.get(),
            memory_bytes: kibibytes(&meminfo, "MemTotal").unwrap_or_default(),
            open_files: getrlimit(Resource::RLIMIT_NOFILE)?.0,
            cgroups: hierarchies()?,
            versions: versions(tare),
            commit: cmd::capture(&mut describe).unwrap_or_default().trim().to_owned(),
            command: format!("cargo xtask {}", arguments.join(" ")),
            began: unix_seconds(),
        })
    }
}

/// Programs and the arguments that print their version.
const VERSIONED: [(&str, &[&str]); 7] = [
    ("dockerd", &["--version"]),
    ("containerd", &["--version"]),
    ("podman", &["--version"]),
    ("systemd-cgtop", &["--version"]),
    ("iperf3", &["--version"]),
    ("fio", &["--version"]),
    ("bpftool", &["version"]),
];

fn versions(tare: &Path) -> BTreeMap<String, String> {
    let ask = |program: &Path, args: &[&str]| {
        let text = cmd::capture(Command::new(program).args(args)).ok()?;
        Some(text.lines().next()?.trim().to_owned())
    };
    let others = VERSIONED
        .iter()
        .filter_map(|(name, args)| Some(((*name).to_owned(), ask(&cmd::find(name)?, args)?)));
    let version =
        |name: &str, program: &Path| Some((name.to_owned(), ask(program, &["--version"])?));
    let cadvisor = packages::cadvisor().ok().and_then(|program| version("cAdvisor", &program));
    others.chain(version("tare", tare)).chain(cadvisor).collect()
}

fn kernel() -> Result<String> {
    let name = uname()?;
    let part = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
    Ok(format!("{} {} {}", part(name.sysname()), part(name.release()), part(name.machine())))
}

/// A value in a file of `name: value` lines.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// The current time, in seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// A value in kB in a file of `name: value` lines, in bytes.
pub(crate) fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = field(text, name)?.strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some(value << 10)
}

fn hierarchies() -> Result<String> {
    let mut v1 = Vec::new();
    let mut v2 = false;
    for hierarchy in super::test_cgroups::hierarchies()? {
        match hierarchy.controllers {
            Some(controllers) => v1.push(controllers),
            None => v2 = true,
        }
    }
    Ok(match (v1.is_empty(), v2) {
        (true, _) => "v2".to_owned(),
        (false, true) => format!("hybrid: v1 {}, and v2 without controllers", v1.join(" ")),
        (false, false) => format!("v1 {}", v1.join(" ")),
    })
}
