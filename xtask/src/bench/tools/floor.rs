//! The floor: a program that makes the same reads as Tare and does nothing else.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{Binaries, Running, Setup, TareRun, Tool};
use crate::{
    bench::{
        program::{Program, command, scratch},
        sample_signal::SampleSignal,
        test_cgroups::TestCgroups,
    },
    wait::pause,
};

/// Files of CPU time and memory, in cgroup v1 and v2.
const CPU_AND_MEMORY: [&str; 6] = [
    "cpuacct.usage",
    "cpuacct.stat",
    "cpu.stat",
    "memory.usage_in_bytes",
    "memory.current",
    "memory.stat",
];

/// How long Tare runs before its open files are listed.
const WATCH: Duration = Duration::from_secs(4);

/// Lists of files, one per line.
pub(crate) struct Files {
    /// All cgroup files that Tare keeps open.
    all: PathBuf,
    /// The files of CPU time and memory.
    cpu_and_memory: PathBuf,
}

/// Lists the kinds of files that a running Tare keeps open, for all cgroups: also for those whose
/// files Tare cannot keep open.
pub(crate) fn files(binaries: &Binaries, groups: &TestCgroups) -> Result<Files> {
    let program = TareRun::launch(binaries, &["--bpf", "off"])?;
    pause(WATCH)?;
    let mut kinds = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{}/fd", program.id()))? {
        // A descriptor may be closed before its link is read.
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

/// Reads files once a second.
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

    fn start(&self, setup: &Setup<'_>) -> Result<Running> {
        let list = match self {
            Self::All => &setup.files.all,
            Self::CpuAndMemory => &setup.files.cpu_and_memory,
        };
        let mut floor = command(&setup.binaries.bench, ["floor", "--files"]);
        let program = Program::start_ready("floor", floor.arg(list))?;
        let text = fs::read_to_string(list)?;
        // Each cgroup has one `cpu.stat`, in one hierarchy.
        let seen = text.lines().filter(|file| file.ends_with("cpu.stat")).count();
        Ok(Running { program, signal: SampleSignal::Clock, seen: Box::new(move || Ok(seen)) })
    }
}
