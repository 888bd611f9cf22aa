//! Tasks: the program that goes over all of them when it is asked to, and the one that keeps the
//! times of those that are gone.

use std::io::Read as _;

use anyhow::Context as _;
use aya::{
    Btf, Ebpf,
    maps::{Map, MapData},
    programs::Iter,
};
use tare_ebpf::{
    BLOCKED_MAX, BlockedTask, Cell, Key, LiveTasks, OVERFLOW_SLOT, TaskPass, TaskTimes,
};

use crate::{
    kernel::{
        Kernel,
        error::{TRACING, reason},
        load::Loaded,
        mapping::Mapping,
        open_files::OpenFileProgram,
        plan::TaskPlan,
        table::{self, Cells, Table},
    },
    reason::Reason,
};

/// The program that goes over all tasks.
const PASS: &str = "count_task";

/// Programs that count tasks, and what they counted.
pub struct TaskPrograms {
    /// Times of tasks that are gone, by cgroup id in the hierarchy that counts sockets.
    pub gone: Table<TaskTimes>,
    /// What the last pass found, by slot of `gone`.
    live: Cells<LiveTasks>,
    pass: Record<TaskPass>,
    blocked: Record<BlockedTask>,
    /// The program that counts their open files.
    pub open_files: Result<OpenFileProgram, Reason>,
}

/// Why a pass over all tasks failed. The next one may succeed.
#[derive(Debug, thiserror::Error)]
pub enum TasksError {
    /// A system call failed.
    #[error("cannot go over all tasks: {0:#}")]
    System(anyhow::Error),
    /// It did not come to its end.
    #[error("the pass over all tasks did not reach its end")]
    Unfinished,
    /// The kernel has no memory to map more counters.
    #[error("the times of tasks that are gone cannot be read")]
    Unreadable,
}

/// An array in mapped memory.
pub(super) struct Record<C> {
    words: Mapping,
    _map: MapData,
    _cell: std::marker::PhantomData<C>,
}

impl TaskPrograms {
    /// Unmaps counters that no instance uses any more.
    pub(super) fn shrink(&mut self) {
        let slots = self.gone.shrink();
        self.live.shrink_to(slots);
        if let Ok(files) = &mut self.open_files {
            files.shrink_to(slots);
        }
    }

    /// Opens the tables, loads the program of the pass and attaches the other one.
    pub(super) fn start(
        plan: &Result<TaskPlan, Reason>,
        loaded: &mut Loaded,
        btf: &Btf,
    ) -> Result<Self, Reason> {
        let plan = plan.as_ref().map_err(Reason::clone)?;
        let mut open = || -> anyhow::Result<Self> {
            loaded.load_iterator(PASS, "task", btf)?;
            Ok(Self {
                gone: Table::open(loaded, &table::TASKS)?,
                live: Cells::open(loaded, "TASK_LIVE", 1)?,
                pass: Record::open(loaded, "TASK_PASS", 1)?,
                blocked: Record::open(loaded, "TASK_BLOCKED", BLOCKED_MAX)?,
                open_files: OpenFileProgram::start(&plan.open_files, loaded, btf),
            })
        };
        let programs = open().map_err(|error| reason(&error, TRACING))?;
        loaded.attach(&[plan.freed], btf)?;
        Ok(programs)
    }

    /// Calls `each` with every cgroup that had tasks in the last pass.
    pub fn for_each_alive(&self, mut each: impl FnMut(Key, &LiveTasks)) {
        let last = self.pass.get(0).ended;
        self.gone.for_each_slot(|slot, key| {
            let live = self.live.of(slot);
            if live.pass == last {
                each(key, &live);
            }
        });
    }

    /// Whether the last pass found tasks of cgroups without a slot, or such tasks are gone.
    pub fn overflows(&self) -> bool {
        let live = self.live.of(OVERFLOW_SLOT);
        let is_last = live.pass != 0 && live.pass == self.pass.get(0).ended;
        is_last || self.gone.overflow() != TaskTimes::default()
    }

    /// The last pass.
    pub fn pass(&self) -> TaskPass {
        self.pass.get(0)
    }

    /// The tasks in uninterruptible sleep that the last pass found, at most [`BLOCKED_MAX`].
    pub fn blocked(&self) -> impl Iterator<Item = BlockedTask> {
        let count = self.pass.get(0).blocked.min(u64::from(BLOCKED_MAX));
        (0..count as usize).map(|at| self.blocked.get(at))
    }
}

impl Kernel {
    /// Goes over all tasks of the PID namespace of this process.
    ///
    /// # Errors
    ///
    /// If the kernel refuses; what an earlier pass found is gone then.
    pub fn find_tasks(&mut self) -> Result<(), TasksError> {
        let (Some(ebpf), Ok(tasks)) = (&mut self.ebpf, &self.tasks) else { return Ok(()) };
        let before = tasks.pass().begun;
        run(ebpf).map_err(TasksError::System)?;
        let pass = tasks.pass();
        if pass.begun == before || pass.ended != pass.begun {
            return Err(TasksError::Unfinished);
        }
        Ok(())
    }
}

fn run(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    let program: &mut Iter = ebpf.program_mut(PASS).context(PASS)?.try_into()?;
    let link = program.attach()?;
    let mut file = program.take_link(link)?.into_file()?;
    // The program writes nothing: one call goes over all tasks.
    let mut nothing = [0; 64];
    while file.read(&mut nothing)? != 0 {}
    Ok(())
}

impl<C: Cell> Record<C> {
    pub(super) fn open(loaded: &mut Loaded, name: &str, entries: u32) -> anyhow::Result<Self> {
        let Map::Array(map) = loaded.take_map(name)? else {
            anyhow::bail!("{name} is not an array")
        };
        let words = Mapping::of(map.fd(), entries as usize * C::WORDS)?;
        Ok(Self { words, _map: map, _cell: std::marker::PhantomData })
    }

    pub(super) fn get(&self, at: usize) -> C {
        let mut cell = C::default();
        for (index, word) in cell.words_mut().iter_mut().enumerate() {
            *word = self.words.load(at * C::WORDS + index);
        }
        cell
    }
}
