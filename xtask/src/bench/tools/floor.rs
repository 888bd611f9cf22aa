//! The floor: the reads of Tare and nothing else.

use std::fs;
use std::path::PathBuf;
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

/// Learns from a running Tare which files of the cgroups it keeps open.
pub(crate) fn files(built: &Built, groups: &Groups) -> Result<Files> {
    let program = Daemon::launch(built, &["--bpf", "off"])?;
    pause(WATCH)?;
    let mut all = Vec::new();
    for entry in fs::read_dir(format!("/proc/{}/fd", program.id()))? {
        // A descriptor may be closed between the two looks.
        let Ok(file) = fs::read_link(entry?.path()) else { continue };
        if groups.parents().iter().any(|parent| file.starts_with(parent)) {
            all.push(file.to_str().context("a name is not UTF-8")?.to_owned());
        }
    }
    ensure!(!all.is_empty(), "Tare has no file of the cgroups open");
    all.sort();
    let ours = |file: &&String| CPU_AND_MEMORY.iter().any(|name| file.ends_with(name));
    let cpu_and_memory: Vec<String> = all.iter().filter(ours).cloned().collect();
    let write = |name: &str, files: &[String]| -> Result<PathBuf> {
        let list = scratch(name)?;
        fs::write(&list, files.join("\n")).with_context(|| format!("cannot write {list:?}"))?;
        Ok(list)
    };
    Ok(Files {
        all: write("files-all", &all)?,
        cpu_and_memory: write("files-cpu-and-memory", &cpu_and_memory)?,
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
