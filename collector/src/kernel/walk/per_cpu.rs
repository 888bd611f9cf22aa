//! Where each CPU has its copies of per-CPU values.
//!
//! cgroup v1 counts CPU time for each CPU. A per-CPU pointer is the same for all CPUs; what is
//! added to it for each CPU is the same for all pointers, and stays until the host is shut down. A
//! program that runs once finds it.

use std::{
    collections::BTreeSet,
    fs,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use anyhow::Context as _;
use tare_ebpf::{
    ABSENT, hole_index,
    walk_record::{Holes, per_cpu},
};

use crate::{
    kernel::{
        ended::possible_cpus,
        error::{TRACING, reason},
        mapping::Mapping,
        object::OBJECT,
        walk::{
            Hierarchy, Walker,
            facts::WalkFacts,
            instructions::{self, Maps},
            records::Tree,
            sys::{self, Target},
        },
    },
    reason::Reason,
};

/// What is added to a per-CPU pointer for each CPU, in a map for programs.
pub(super) struct PerCpu {
    map: OwnedFd,
    cpus: u32,
}

impl PerCpu {
    /// Runs the program that finds it. Needs `bpf_map_lookup_percpu_elem` (Linux 5.19).
    pub(super) fn find(facts: &WalkFacts) -> Result<Self, Reason> {
        let iterator = facts.iter_task.ok_or(Reason::CountedPerCpu)?;
        if facts.holes.words()[hole_index!(array_copies)] == ABSENT {
            return Err(Reason::MissingField { field: "bpf_array.pptrs" });
        }
        let possible = possible_cpus().map_err(|_| Reason::CountedPerCpu)?;
        let cpus = count(&possible).ok_or(Reason::CountedPerCpu)?;
        run(facts, iterator, cpus).map_err(|error| reason(&error, TRACING))
    }

    pub(super) fn map(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }

    pub(super) fn cpus(&self) -> u32 {
        self.cpus
    }
}

/// How many CPUs there may be, if they are numbered without a gap and not too many.
fn count(possible: &BTreeSet<u32>) -> Option<u32> {
    let count = u32::try_from(possible.len()).ok()?;
    let is_without_gap = possible.last()?.checked_add(1)? == count;
    (is_without_gap && count <= per_cpu::CPUS_MAX).then_some(count)
}

fn run(facts: &WalkFacts, iterator: u32, cpus: u32) -> anyhow::Result<PerCpu> {
    let words = per_cpu::BASES + cpus as usize;
    let map = sys::create_array((words * size_of::<u64>()) as u32, 1).context("make a map")?;
    let copies = sys::create_per_cpu_value(size_of::<u64>() as u32).context("make a map")?;
    let found = Mapping::of(&map, words).context("map a map")?;
    let mut code = instructions::program(OBJECT, "iter.s/per_cpu")?;
    let holes = Holes { cpus, ..facts.holes };
    let maps = Maps { per_cpu: Some(map.as_fd()), copies: Some(copies.as_fd()), ..Maps::default() };
    instructions::patch(&mut code, &holes, &facts.kfuncs, maps)?;
    let program = sys::load_iterator(&code, iterator)?;
    let link = sys::link_iterator(program.as_fd(), Target::Task(std::process::id()))?;
    sys::run_iterator(link.as_fd())?;
    anyhow::ensure!(
        found.load(per_cpu::STATE) == per_cpu::FOUND,
        "the copies of per-CPU values were not found"
    );
    Ok(PerCpu { map, cpus })
}

/// Whether the CPU time that a walk has of a hierarchy's root is what its file says.
pub(super) fn is_right(tree: &mut Tree, walker: &Walker, hierarchy: &Hierarchy) -> bool {
    let file = hierarchy.root.join("cpuacct.usage");
    let (Some(before), Ok(())) = (usage(&file), tree.run(walker)) else { return false };
    let root = tree.find_directory(&hierarchy.root).and_then(|root| root.cpu());
    let (Some(found), Some(after)) = (root, usage(&file)) else { return false };
    (before..=after).contains(&found.usage_nanoseconds)
}

fn usage(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use tare_parsers::host_facts::parse_cpu_list;

    use super::*;

    #[test]
    fn cpus_are_counted_if_they_are_numbered_without_a_gap() {
        let count = |possible| count(&parse_cpu_list(possible)?);
        assert_eq!([count("0\n"), count("0-1\n"), count("0-255")], [Some(1), Some(2), Some(256)]);
        for other in ["", "0-256", "1-3", "0,2-3", "0-1,4", "0-x"] {
            assert_eq!(count(other), None, "{other}");
        }
    }
}
