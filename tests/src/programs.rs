//! BPF programs that a process holds, and whether they outlive it.

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{
    process::run,
    wait::{self, PATIENCE},
};

/// Ids of the BPF programs of one process.
#[derive(Clone, Debug)]
pub struct Programs(BTreeSet<u32>);

impl Programs {
    /// Those that a process holds, directly or through links. An error if there are none.
    pub fn held_by(pid: u32) -> Result<Self> {
        let dir = format!("/proc/{pid}/fdinfo");
        let mut ids = BTreeSet::new();
        for entry in fs::read_dir(&dir).with_context(|| dir.clone())? {
            // A descriptor may be closed before its file is read.
            let Ok(info) = fs::read_to_string(entry?.path()) else { continue };
            let id = info.lines().find_map(|line| line.strip_prefix("prog_id:"));
            ids.extend(id.and_then(|id| id.trim().parse::<u32>().ok()));
        }
        ensure!(!ids.is_empty(), "process {pid} holds no BPF programs");
        for id in &ids {
            ensure!(exists(*id)?, "bpftool does not see program {id} of process {pid}");
        }
        Ok(Self(ids))
    }

    /// Waits until the kernel has none of them; it frees them a little after their last reference.
    pub fn gone(&self) -> Result<()> {
        wait::until(&format!("programs {:?} to be gone", self.0), PATIENCE, || {
            for id in &self.0 {
                if exists(*id)? {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }
}

/// Whether the kernel still has a BPF program.
fn exists(program: u32) -> Result<bool> {
    let mut list = Command::new("bpftool");
    list.args(["prog", "show", "id", &program.to_string()]);
    let done = run(list, PATIENCE).context("the live tests need bpftool")?;
    Ok(done.status.success())
}
