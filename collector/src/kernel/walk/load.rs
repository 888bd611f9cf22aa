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
        object::OBJECT,
        walk::{
            Hierarchy,
            facts::WalkFacts,
            instructions,
            plan::{Plan, Way},
            sys::{self, Target},
        },
    },
    reason::Reason,
};

/// A loaded program, ready to be run.
pub(super) struct Program {
    link: OwnedFd,
}

impl Program {
    /// Reading it to its end runs the program over its target.
    pub(super) fn iterator(&self) -> io::Result<OwnedFd> {
        sys::create_iterator(self.link.as_fd())
    }
}

/// Makes room for so many records and loads the program that writes them.
pub(super) fn load(
    facts: &WalkFacts,
    way: Way,
    hierarchy: &Hierarchy,
    plan: &Plan,
    capacity: usize,
) -> Result<(Program, Mapping), Reason> {
    let (section, iterator) = match way {
        Way::Css => ("iter.s/walk_css", facts.iter_task),
        Way::Cgroups => ("iter.s/walk_cgroups", facts.iter_cgroup),
    };
    let iterator = iterator.ok_or(Reason::MissingFunction { function: "bpf_iter_task" })?;
    let load = || -> anyhow::Result<_> {
        // The first entry is the header.
        let entries = capacity + 1;
        let bytes = (plan.stride * size_of::<u64>()) as u32;
        let map = sys::create_array(bytes, entries as u32).context("make room for records")?;
        let records = Mapping::of(&map, entries * plan.stride).context("map records")?;
        let mut code = instructions::program(OBJECT, section)?;
        instructions::patch(&mut code, &plan.holes, &facts.kfuncs, map.as_fd())?;
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
        // The link holds the program, and the program its map.
        Ok((Program { link: link.context("attach the walk")? }, records))
    };
    load().map_err(|error| reason(&error, TRACING))
}
