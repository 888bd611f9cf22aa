//! A plan → a program in the kernel and the memory that it writes to.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

use anyhow::Context as _;

use crate::{
    kernel::{
        error::{TRACING, reason},
        mapping::Mapping,
        object::object,
        patched::{
            instructions::{self, Maps},
            sys::{self, Target},
        },
        per_cpu::PerCpu,
        statistics::{Runs, runs_of},
        walk::{
            Hierarchy, Walker,
            plan::{Plan, Way},
        },
    },
    reason::Reason,
};

/// A loaded program, ready to be run.
pub(super) struct Program {
    program: OwnedFd,
    link: OwnedFd,
}

impl Program {
    /// None at all.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        let null = || File::open("/dev/null").expect("a null device").into();
        Self { program: null(), link: null() }
    }

    /// Its runs while the kernel's statistics of programs were on; `None` if it does not say.
    pub(super) fn runs(&self) -> Option<Runs> {
        runs_of(self.program.as_fd())
    }

    /// Runs it over its target.
    pub(super) fn run(&self) -> io::Result<()> {
        sys::run_iterator(self.link.as_fd())
    }
}

/// Makes room for so many records and loads the program that writes them.
pub(super) fn load(
    walker: &Walker,
    hierarchy: &Hierarchy,
    plan: &Plan,
    capacity: usize,
) -> Result<(Program, Mapping), Reason> {
    let Walker { facts, way, per_cpu, .. } = walker;
    let iterator = match way {
        Way::Css => facts.iter_task,
        Way::Cgroups => facts.iter_cgroup,
    };
    let iterator = iterator.ok_or(Reason::MissingFunction { function: "bpf_iter_task" })?;
    let load = || -> anyhow::Result<_> {
        // The first entry is the header.
        let entries = capacity + 1;
        let bytes = (plan.stride * size_of::<u64>()) as u32;
        let map = sys::create_array(bytes, entries as u32).context("make room for records")?;
        let records = Mapping::of(&map, entries * plan.stride).context("map records")?;
        let mut code = instructions::program(object(), &format!("iter.s/{}", way.program()))?;
        let per_cpu = per_cpu.as_ref().ok().map(PerCpu::map);
        let maps = Maps { records: Some(map.as_fd()), per_cpu, ..Maps::default() };
        instructions::patch(&mut code, &plan.holes, &facts.kfuncs, maps)?;
        let program = sys::load_iterator(&code, iterator)?;
        let link = match way {
            // The main thread: it is there for as long as the process is.
            Way::Css => sys::link_iterator(program.as_fd(), Target::Task(std::process::id())),
            Way::Cgroups => {
                let root = File::open(&hierarchy.root)
                    .with_context(|| hierarchy.root.display().to_string())?;
                sys::link_iterator(program.as_fd(), Target::Cgroup(root.as_fd()))
            }
        };
        let link = link.context("attach the walk")?;
        // The program holds its map.
        Ok((Program { program, link }, records))
    };
    load().map_err(|error| reason(&error, TRACING))
}
