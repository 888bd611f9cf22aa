//! The floor: the reads of Tare and nothing else.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Built, Daemon, Running, Scene, Tool};
use crate::bench::groups::Groups;
use crate::bench::program::{Program, command, pause, scratch};
use crate::bench::pulse::Pulse;

/// What tells CPU time and memory, in cgroup v1 and v2.
const CPU_AND_MEMORY: [&str; 6] = [
    "cpuacct.usage",
    "cpuacct.stat",
    "cpu.stat",
    "memory.usage_in_bytes",
    "memory.current",
    "memory.stat",
];

/// For how long Tare is watched to learn which files it keeps open.
const WATCH: Duration = Duration::from_secs(4);

/// Lists of files, one on each line.
pub(crate) struct Files {
    /// All that Tare keeps open of the cgroups.
    all: PathBuf,
    /// Those of CPU time and memory.
    cpu_and_memory: PathBuf,
}

/// Learns from a running Tare which files of a cgroup it keeps open: for all cgroups, also if Tare
/// may not have so many files open.
pub(crate) fn files(built: &Built, groups: &Groups) -> Result<Files> {
    let program = Daemon::launch(built, &["--bpf", "off"])?;
    pause(WATCH)?;
    let mut kinds = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{}/fd", program.id()))? {
        // A descriptor may be closed between the two looks.
        let Ok(file) = fs::read_link(entry?.path()) else { continue };
        let place = file.parent().and_then(Path::parent);
        let parent = groups.parents().iter().find(|parent| Some(parent.as_path()) == place);
        if let (Some(parent), Some(name)) = (parent, file.file_name().and_then(OsStr::to_str)) {
            kinds.insert((parent, name.to_owned()));
        }
    }
    ensure!(!kinds.is_empty(), "Tare has no file of the cgroups open");
    let write = |list: &str, wanted: fn(&str) -> bool| -> Result<PathBuf> {
        let list = scratch(list)?;
        let mut text = String::new();
        for cgroup in groups.names() {
            for (parent, name) in kinds.iter().filter(|(_, name)| wanted(name)) {
                writeln!(text, "{}", parent.join(cgroup).join(name).display())?;
            }
        }
        fs::write(&list, text).with_context(|| format!("cannot write {list:?}"))?;
        Ok(list)
    };
    Ok(Files {
        all: write("files-all", |_| true)?,
        cpu_and_memory: write("files-cpu-and-memory", |name| CPU_AND_MEMORY.contains(&name))?,
    })
}

/// Reads the files once a second.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Floor {
    All,
    CpuAndMemory,
}

impl Tool for Floor {
    fn name(&self) -> String {
        match self {
            Self::All => "floor, all files".to_owned(),
            Self::CpuAndMemory => "floor, CPU and memory".to_owned(),
        }
    }

    fn start(&self, scene: &Scene<'_>) -> Result<Running> {
        let list = match self {
            Self::All => &scene.files.all,
            Self::CpuAndMemory => &scene.files.cpu_and_memory,
        };
        let mut floor = command(&scene.built.probe, ["floor", "--files"]);
        let program = Program::start_ready("floor", floor.arg(list))?;
        let text = fs::read_to_string(list)?;
        // In one hierarchy each cgroup has its file of CPU time once.
        let seen = text.lines().filter(|file| file.ends_with("cpu.stat")).count();
        Ok(Running { program, pulse: Pulse::Clock, seen: Box::new(move || Ok(seen)) })
    }
}
