//! The environment of a test: `tare`, and containers made of cgroups like those of Docker.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tare_tests::{
    binaries,
    process::Process,
    report::Row,
    scratch::Scratch,
    tare::{Stream, Tare},
    wait::PATIENCE,
};

use crate::namespace::Namespace;

/// The mount point of cgroup2.
pub(crate) const CGROUPS: &str = "/sys/fs/cgroup";

/// The machine, used by one test at a time.
pub(crate) struct Machine {
    /// `tare`, without container daemons.
    pub tare: Tare,
    /// A directory on the virtual disk.
    pub scratch: Scratch,
    load: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Machine {
    /// Waits until no other test uses it.
    pub(crate) fn take() -> Result<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let tare = Tare::at(binaries::tare()?).option("--docker-socket", "off");
        Ok(Self { tare, scratch: Scratch::new()?, load: binaries::load()?, _turn: turn })
    }

    /// A stream of reports.
    pub(crate) fn stream(&self) -> Result<Stream> {
        self.tare.stream("200ms")
    }

    /// Starts a load in a container; it begins when the gate opens and stays until the end.
    pub(crate) fn start(&self, place: &Container, load: &str, gate: Option<&Gate>) -> Result<Load> {
        self.start_in(place, None, load, gate)
    }

    /// The same in a network namespace of its own.
    pub(crate) fn start_in(
        &self,
        place: &Container,
        namespace: Option<&Namespace>,
        load: &str,
        gate: Option<&Gate>,
    ) -> Result<Load> {
        // The shell moves itself into the cgroup and executes the load.
        let mut script = format!("echo $$ >{}/cgroup.procs && exec ", place.path.display());
        if let Some(namespace) = namespace {
            script += &format!("nsenter -t {} -n ", namespace.id());
        }
        script += &format!("{} {load} --linger", self.load.display());
        if let Some(Gate(file)) = gate {
            script += &format!(" --start-when {}", file.display());
        }
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]);
        Process::spawn(command).map(Load)
    }

    /// A closed gate.
    pub(crate) fn gate(&self) -> Result<Gate> {
        Ok(Gate(self.scratch.subdirectory()?.join("open")))
    }
}

/// Loads begin when it opens.
pub(crate) struct Gate(PathBuf);

impl Gate {
    /// Lets them begin.
    pub(crate) fn open(&self) -> Result<()> {
        fs::write(&self.0, "").with_context(|| format!("make {}", self.0.display()))
    }
}

/// A running load; ended on drop.
pub(crate) struct Load(Process);

impl Load {
    /// Waits until it says that it is ready.
    pub(crate) fn ready(&mut self) -> Result<()> {
        let line = self.0.next_line(PATIENCE)?;
        if line != "ready" {
            bail!("{line} instead of ready");
        }
        Ok(())
    }

    /// Waits until it is done; its report.
    pub(crate) fn outcome(&mut self) -> Result<Value> {
        loop {
            let line = self.0.next_line(PATIENCE)?;
            if line != "ready" {
                return serde_json::from_str(&line).with_context(|| line);
            }
        }
    }
}

/// Docker's forms of cgroup names.
#[derive(Clone, Copy)]
pub(crate) enum Driver {
    /// `/docker/ID`
    Cgroupfs,
    /// `/system.slice/docker-ID.scope`
    Systemd,
}

/// A cgroup that looks like a container's; removed on drop, with its processes.
pub(crate) struct Container {
    id: String,
    path: PathBuf,
}

impl Container {
    /// Makes it.
    pub(crate) fn new(driver: Driver) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // All digits vary, as in the ids of containers.
        let spread = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let id = format!("{spread:016x}").repeat(4);
        let (parent, name) = match driver {
            Driver::Cgroupfs => ("docker", id.clone()),
            Driver::Systemd => ("system.slice", format!("docker-{id}.scope")),
        };
        let parent = Path::new(CGROUPS).join(parent);
        if !parent.exists() {
            fs::create_dir(&parent).with_context(|| format!("make {}", parent.display()))?;
            let control = parent.join("cgroup.subtree_control");
            fs::write(&control, "+cpu +memory +io +pids")
                .with_context(|| control.display().to_string())?;
        }
        let path = parent.join(name);
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self { id, path })
    }

    /// Its full id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// A file of its cgroup.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The contents of a file of its cgroup.
    pub(crate) fn read(&self, name: &str) -> Result<String> {
        let file = self.file(name);
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Ok(text.trim_end().to_owned())
    }

    /// The number in a file of its cgroup.
    pub(crate) fn number(&self, name: &str) -> Result<u64> {
        let text = self.read(name)?;
        text.parse().with_context(|| format!("{name} says {text}"))
    }

    /// The number after a word at the start of a line of a file of its cgroup.
    pub(crate) fn field(&self, name: &str, word: &str) -> Result<u64> {
        let text = self.read(name)?;
        let found = text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        let found = found.with_context(|| format!("{name} has no {word}: {text}"))?;
        found.trim().parse().with_context(|| format!("{word} of {name} is {found}"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Loads end when they are dropped; the cgroup is empty a moment later.
        for _ in 0..50 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        eprintln!("could not remove {}", self.path.display());
    }
}

/// The rows of some containers in a fresh report.
pub(crate) fn rows<const N: usize>(tare: &mut Stream, of: [&Container; N]) -> Result<[Row; N]> {
    let report = tare.fresh_with(&of.map(Container::id))?;
    let found: Result<Vec<Row>> = of.iter().map(|place| report.row(place.id())).collect();
    found?.try_into().map_err(|_| anyhow::anyhow!("not {N} rows"))
}
