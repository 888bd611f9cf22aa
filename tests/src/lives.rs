//! Short lives in cgroups like those of containers, with what the kernel itself counted of each.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{binaries, process::output, report::Row, scratch::unique_name, wait::PATIENCE};

/// The cgroup hierarchies, each with a directory for all lives.
#[derive(Debug)]
pub struct Lives {
    parents: Vec<PathBuf>,
    load: PathBuf,
}

/// What one life used, by the kernel's own files.
#[derive(Clone, Debug)]
pub struct Life {
    /// The id of the container that it looks like.
    pub id: String,
    /// CPU time that its parent counted, after the life had ended.
    pub cpu_nanoseconds: u64,
    /// The most memory; `None` if this kernel has no file for it.
    pub memory_peak_bytes: Option<u64>,
    /// The most tasks; the same.
    pub tasks_peak: Option<u64>,
}

/// Where the load of a life runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the container's cgroup itself.
    Container,
    /// In one below it.
    SubCgroup,
}

impl Lives {
    /// Makes the directories; they are removed on drop.
    pub fn new() -> Result<Self> {
        let load = binaries::load()?;
        let name = format!("{}.slice", unique_name());
        let mut lives = Self { parents: Vec::new(), load };
        // A v1 cpuset takes nobody in before it has CPUs, and counts nothing.
        let roots = hierarchies()?.into_iter().filter(|root| !root.join("cpuset.cpus").exists());
        for root in roots {
            let parent = root.join(&name);
            fs::create_dir(&parent).with_context(|| format!("make {}", parent.display()))?;
            delegate(&root);
            delegate(&parent);
            lives.parents.push(parent);
        }
        Ok(lives)
    }

    /// Lives one life: makes its cgroups, runs `tare-load LOAD` there, and removes the cgroups as
    /// soon as the load has ended.
    pub fn run(&self, number: u64, place: Place, load: &str) -> Result<Life> {
        // All digits vary, as in the ids of containers.
        let id = format!("{:016x}", (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(4);
        // A directory of its own above it, which counts nothing but this life.
        let above: Vec<_> = self.parents.iter().map(|all| all.join(format!("{number}"))).collect();
        let tops: Vec<_> =
            above.iter().map(|above| above.join(format!("docker-{id}.scope"))).collect();
        for (above, top) in above.iter().zip(&tops) {
            fs::create_dir(above).with_context(|| format!("make {}", above.display()))?;
            delegate(above);
            fs::create_dir(top).with_context(|| format!("make {}", top.display()))?;
        }
        let places: Vec<_> = match place {
            Place::Container => tops.clone(),
            Place::SubCgroup => tops.iter().map(|top| top.join("below")).collect(),
        };
        if place == Place::SubCgroup {
            for place in &places {
                fs::create_dir(place).with_context(|| format!("make {}", place.display()))?;
            }
        }
        // The shell moves itself into the cgroups and executes the load.
        let mut script = String::new();
        for place in &places {
            script += &format!("echo $$ >{}/cgroup.procs && ", place.display());
        }
        script += &format!("exec {} {load}", self.load.display());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]);
        output(command, PATIENCE)?;
        let memory_peak_bytes = number_of(&tops, &["memory.max_usage_in_bytes", "memory.peak"]);
        let tasks_peak = number_of(&tops, &["pids.peak"]);
        if place == Place::SubCgroup {
            places.iter().try_for_each(|place| remove(place))?;
        }
        tops.iter().try_for_each(|top| remove(top))?;
        // Reading it earlier would add up what each CPU has counted.
        let cpu_nanoseconds = cpu_nanoseconds(&above)?;
        above.iter().try_for_each(|above| remove(above))?;
        Ok(Life { id, cpu_nanoseconds, memory_peak_bytes, tasks_peak })
    }
}

/// An error unless the receipt has the same numbers, all of them final.
pub fn ensure_exact(life: &Life, receipt: &Row) -> Result<()> {
    /// A task still runs for a moment after it has left its cgroup: some microseconds, and a tick
    /// at most.
    const TICK_SECONDS: f64 = 0.01;
    for family in ["cpu", "memory", "pids"] {
        let state = receipt.str(&format!("/finality/{family}/state"))?;
        ensure!(state == "final", "{family} is {state}: {life:?}, {receipt:?}");
    }
    let used = receipt.f64("/cpu/usage_seconds")?;
    let counted = Duration::from_nanos(life.cpu_nanoseconds).as_secs_f64();
    // Files of cgroup2 have whole microseconds.
    ensure!(
        used < counted + 2e-6 && used > counted - TICK_SECONDS,
        "{used} s of {counted}: {life:?}, {receipt:?}"
    );
    let parts = receipt.f64("/cpu/user_seconds")? + receipt.f64("/cpu/system_seconds")?;
    ensure!((parts - used).abs() < 1e-6, "the parts of {used} s are {parts}: {receipt:?}");
    if let Some(peak) = life.memory_peak_bytes {
        ensure!(receipt.u64("/memory/peak_bytes")? == peak, "not {peak} bytes: {receipt:?}");
    }
    if let Some(peak) = life.tasks_peak {
        ensure!(receipt.u64("/pids/peak")? == peak, "not {peak} tasks: {receipt:?}");
    }
    Ok(())
}

impl Drop for Lives {
    fn drop(&mut self) {
        for parent in &self.parents {
            let below = fs::read_dir(parent).into_iter().flatten().flatten();
            for above in below.filter(|entry| entry.path().is_dir()) {
                let _ = fs::remove_dir(above.path());
            }
            if let Err(error) = fs::remove_dir(parent) {
                eprintln!("cannot remove {}: {error}", parent.display());
            }
        }
    }
}

/// Enables all controllers below a directory of cgroup2; v1 has no such file.
fn delegate(directory: &Path) {
    let control = directory.join("cgroup.subtree_control");
    for controller in ["+cpu", "+memory", "+pids"] {
        // One that is in a v1 hierarchy is refused.
        let _ = fs::write(&control, controller);
    }
}

/// Removes a cgroup. A process that has ended leaves it a moment later.
fn remove(directory: &Path) -> Result<()> {
    const ATTEMPTS: u32 = 5000;
    for _ in 0..ATTEMPTS {
        if fs::remove_dir(directory).is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    fs::remove_dir(directory).with_context(|| format!("remove {}", directory.display()))
}

fn number_of(directories: &[PathBuf], files: &[&str]) -> Option<u64> {
    let paths =
        directories.iter().flat_map(|directory| files.iter().map(|file| directory.join(file)));
    let mut texts = paths.filter_map(|path| fs::read_to_string(path).ok());
    texts.find_map(|text| text.trim().parse().ok())
}

fn cpu_nanoseconds(directories: &[PathBuf]) -> Result<u64> {
    if let Some(usage) = number_of(directories, &["cpuacct.usage"]) {
        return Ok(usage);
    }
    for directory in directories {
        let text = fs::read_to_string(directory.join("cpu.stat")).unwrap_or_default();
        if let Some(usage) = text.lines().find_map(|line| line.strip_prefix("usage_usec ")) {
            return Ok(usage.trim().parse::<u64>()? * 1000);
        }
    }
    bail!("no cgroup file has CPU time")
}

/// The mount points of all cgroup hierarchies.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    let mounted = mounts.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup").then(|| place.split(' ').nth(4).map(PathBuf::from))?
    });
    Ok(mounted.collect())
}
