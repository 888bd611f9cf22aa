//! CPU time of cgroup v1, which each CPU counts for itself.

use std::{fs, path::Path};

use tare_ebpf::walk_record::per_cpu;

use crate::{
    kernel::{
        per_cpu::{PerCpu, PerCpuFacts},
        walk::{Hierarchy, Walker, records::Tree},
    },
    reason::Reason,
};

/// Finds what each CPU counts, unless there are more CPUs than a walk adds up.
pub(super) fn find(facts: &PerCpuFacts) -> Result<PerCpu, Reason> {
    let found = facts.find()?;
    let can_add = found.cpus().is_some_and(|cpus| cpus <= per_cpu::CPUS_MAX);
    if can_add { Ok(found) } else { Err(Reason::CountedPerCpu) }
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
