//! Open files of all processes: the program that goes over them part by part.

use std::{fs::File, io::Read as _};

use anyhow::Context as _;
use aya::{Btf, Ebpf, programs::Iter};
use tare_ebpf::{FilePass, Key, OpenFiles};

use crate::{
    kernel::{
        Kernel,
        error::{TRACING, reason},
        load::Loaded,
        table::Cells,
        tasks::{Record, TasksError},
    },
    reason::Reason,
};

/// The program that goes over all open files.
const PASS: &str = "count_file";

/// Parts of a pass that are made at once: 16,384 descriptors, for which a sample waits
/// about 6 ms.
const PARTS: usize = 4;

/// The program that counts open files, and what it counted.
pub struct OpenFileProgram {
    /// What the last pass found, by slot of the table of tasks.
    open: Cells<OpenFiles>,
    pass: Record<FilePass>,
    /// A pass that has not come to its end.
    unfinished: Option<Unfinished>,
}

struct Unfinished {
    file: File,
    /// Number of the pass before.
    before: u64,
}

impl OpenFileProgram {
    /// Loads the program.
    pub(super) fn start(
        plan: &Result<(), Reason>,
        loaded: &mut Loaded,
        btf: &Btf,
    ) -> Result<Self, Reason> {
        plan.clone()?;
        let mut open = || -> anyhow::Result<Self> {
            loaded.load_iterator(PASS, "task_file", btf)?;
            Ok(Self {
                open: Cells::open(loaded, "OPEN_FILES", 1)?,
                pass: Record::open(loaded, "FILE_PASS", 1)?,
                unfinished: None,
            })
        };
        open().map_err(|error| reason(&error, TRACING))
    }

    /// Unmaps what belongs to no slot that is in use.
    pub(super) fn shrink_to(&mut self, slots: u32) {
        self.open.shrink_to(slots);
    }
}

impl Kernel {
    /// Begins a pass over the open files of all processes of the PID namespace of this process, or
    /// goes on with it: not more than some thousand descriptors at once. Tells whether it came to
    /// its end.
    ///
    /// # Errors
    ///
    /// If the kernel refuses; the next call begins a new pass.
    pub fn find_open_files(&mut self) -> Result<bool, TasksError> {
        let (Some(ebpf), Ok(tasks)) = (&mut self.ebpf, &mut self.tasks) else { return Ok(false) };
        let Ok(files) = &mut tasks.open_files else { return Ok(false) };
        let mut pass = match files.unfinished.take() {
            Some(pass) => pass,
            None => Unfinished {
                before: files.pass.get(0).begun,
                file: begin(ebpf).map_err(TasksError::System)?,
            },
        };
        let mut parts = [0; PARTS];
        let read = pass.file.read(&mut parts);
        let read = read.map_err(|error| TasksError::System(error.into()))?;
        let FilePass { begun, ended, .. } = files.pass.get(0);
        match read {
            _ if ended == begun && begun > pass.before => Ok(true),
            0 => Err(TasksError::Unfinished),
            _ => {
                files.unfinished = Some(pass);
                Ok(false)
            }
        }
    }

    /// Calls `each` with every cgroup that had open files in the last pass.
    pub fn for_each_with_open_files(&self, mut each: impl FnMut(Key, &OpenFiles)) {
        let Ok(tasks) = &self.tasks else { return };
        let Ok(files) = &tasks.open_files else { return };
        let last = files.pass.get(0).ended;
        tasks.gone.for_each_slot(|slot, key| {
            let open = files.open.of(slot);
            if open.pass == last {
                each(key, &open);
            }
        });
    }
}

fn begin(ebpf: &mut Ebpf) -> anyhow::Result<File> {
    let program: &mut Iter = ebpf.program_mut(PASS).context(PASS)?.try_into()?;
    let link = program.attach()?;
    Ok(program.take_link(link)?.into_file()?)
}
