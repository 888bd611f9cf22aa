//! A walk: the numbers of all cgroups of a hierarchy at one instant, for one system call.
//!
//! A program in the kernel goes over the cgroups and copies their counters, at offsets from the
//! kernel's type information, into memory that this process has mapped. It takes no lock that
//! others wait for ([`Way::Css`]), and no descriptor per cgroup.
//!
//! Facts are read, a pure plan is made from them, and a program is loaded for each hierarchy. What
//! a record cannot have is read from files: see [`Tree::family`].

mod decode;
mod digest;
mod facts;
#[cfg(test)]
pub(crate) mod fixture;
mod legacy_cpu;
mod load;
mod plan;
mod pressure;
mod records;
mod stat;
mod times;

use std::{io, path::PathBuf};

pub use tare_parsers::memory::MemoryEvents;

pub use self::{
    decode::{
        CpuLimits, CpuTime, Freezing, Memory, MemoryLimits, Pressure, Pressures, Record, Stall,
        Tasks, Throttling,
    },
    digest::{Digest, Fingerprint},
    facts::WalkFacts,
    plan::{Family, Way},
    records::{Found, Tree},
    stat::{Ambiguous, StatWords},
    times::split,
};
use crate::{
    kernel::{Facts, Runs, per_cpu::PerCpu},
    reason::Reason,
};

/// The most cgroups of a hierarchy that are walked. The memory for them is taken when they are
/// there.
pub const CGROUPS_MAX: usize = 65_536;

/// The same for a walk that keeps cgroups from being made and removed: about 2 ms.
pub const CGROUPS_UNDER_MUTEX_MAX: usize = 2048;

/// A hierarchy to walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// The kernel's number for it (`/proc/cgroups`); 0 is cgroup2.
    pub id: u32,
    /// Where its root is mounted.
    pub root: PathBuf,
    /// Its controllers by their v1 names; of cgroup2 those that no v1 hierarchy has.
    pub controllers: Vec<String>,
    /// Whether swap is counted, where files show it (`memory.swap.current`, v1
    /// `memory.memsw.usage_in_bytes`).
    pub counts_swap: Option<bool>,
}

/// Why a walk failed. The next one may succeed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A system call failed.
    #[error("cannot walk the cgroups: {0}")]
    System(#[source] io::Error),
    /// This process is in no cgroup of the hierarchy.
    #[error("cannot walk the cgroups: their root was not found")]
    NoRoot,
    /// The program was not run, or not to its end.
    #[error("the walk of the cgroups did not reach its end")]
    Unfinished,
    /// There are more cgroups than there was room for, and no more room could be made.
    #[error("cannot make room for all cgroups: {0}")]
    Room(Reason),
    /// Records that could not be read whole, as when the kernel is locked down.
    #[error("the counters of {records} cgroups could not be read")]
    Unreadable {
        /// How many.
        records: usize,
    },
}

/// The programs for all hierarchies, and their records.
pub struct Walk {
    walker: Walker,
    trees: Vec<Tree>,
}

/// What the programs of all hierarchies have in common.
struct Walker {
    facts: WalkFacts,
    way: Way,
    /// The most records of a hierarchy.
    limit: usize,
    /// Where v1 counts CPU time, if it does.
    per_cpu: Result<PerCpu, Reason>,
}

impl Walk {
    /// Loads a program for each of these hierarchies, for at most so many cgroups each.
    ///
    /// # Errors
    ///
    /// Why there is no walk at all, or why one of the hierarchies has none.
    pub fn start(facts: &Facts, hierarchies: &[Hierarchy], limit: usize) -> Result<Self, Reason> {
        let walker = Walker::new(facts, hierarchies, limit)?;
        let start = |hierarchy| Tree::start(&walker, hierarchy);
        let trees = hierarchies.iter().map(start).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { walker, trees })
    }

    /// The same, for those of the hierarchies that can be walked; the others are named by their
    /// numbers, with the reason.
    ///
    /// # Errors
    ///
    /// Why there is no walk at all.
    pub fn start_each(
        facts: &Facts,
        hierarchies: &[Hierarchy],
        limit: usize,
    ) -> Result<(Self, Vec<(u32, Reason)>), Reason> {
        let walker = Walker::new(facts, hierarchies, limit)?;
        let (mut trees, mut refused) = (Vec::new(), Vec::new());
        for hierarchy in hierarchies {
            match Tree::start(&walker, hierarchy) {
                Ok(tree) => trees.push(tree),
                Err(reason) => refused.push((hierarchy.id, reason)),
            }
        }
        match refused.first() {
            Some((_, reason)) if trees.is_empty() => Err(reason.clone()),
            _ => Ok((Self { walker, trees }, refused)),
        }
    }

    /// Why the walk is used only if it is asked for, if so: one that keeps cgroups from being made
    /// and removed meanwhile is worse than files.
    pub fn not_by_default(&self) -> Option<Reason> {
        match self.walker.way {
            Way::Cgroups => Some(Reason::WalkHoldsLock),
            Way::Css => None,
        }
    }

    /// How the cgroups are found.
    pub fn way(&self) -> Way {
        self.walker.way
    }

    /// Walks all hierarchies. What the last walk found is gone after this.
    ///
    /// # Errors
    ///
    /// If one of them could not be walked; its records are worth nothing then.
    pub fn run(&mut self) -> Result<Records<'_>, RunError> {
        for tree in &mut self.trees {
            tree.run(&self.walker)?;
        }
        Ok(self.records())
    }

    /// Frees the memory of records that cgroups left which are gone. What the last walk found is
    /// gone then.
    pub fn shrink(&mut self) {
        for tree in &mut self.trees {
            tree.shrink(&self.walker);
        }
    }

    /// Runs of the programs so far, of all hierarchies together.
    pub fn runs(&self) -> Option<Runs> {
        let mut sum = Runs::default();
        for runs in self.trees.iter().map(Tree::runs) {
            let Runs { count, time } = runs?;
            sum = Runs { count: sum.count + count, time: sum.time + time };
        }
        Some(sum)
    }

    /// What the last walk found; nothing before the first.
    pub fn records(&self) -> Records<'_> {
        Records { trees: &self.trees }
    }
}

impl Walker {
    fn new(facts: &Facts, hierarchies: &[Hierarchy], limit: usize) -> Result<Self, Reason> {
        if !facts.object {
            return Err(Reason::NoObject);
        }
        let btf = facts.btf.as_ref().map_err(Reason::clone)?;
        let facts = btf.walk.clone();
        let way = plan::way(&facts)?;
        let limit = match way {
            Way::Css => limit.clamp(1, CGROUPS_MAX),
            Way::Cgroups => limit.clamp(1, CGROUPS_UNDER_MUTEX_MAX),
        };
        let counts_per_cpu = |one: &Hierarchy| one.controllers.iter().any(|name| name == "cpuacct");
        let per_cpu = match hierarchies.iter().any(counts_per_cpu) {
            true => legacy_cpu::find(&btf.per_cpu),
            false => Err(Reason::CountedPerCpu),
        };
        Ok(Self { facts, way, limit, per_cpu })
    }
}

/// The records of all hierarchies.
#[derive(Clone, Copy)]
pub struct Records<'a> {
    trees: &'a [Tree],
}

impl<'a> Records<'a> {
    /// The records of the hierarchy with this number.
    pub fn tree(&self, hierarchy: u32) -> Option<&'a Tree> {
        self.trees.iter().find(|tree| tree.hierarchy().id == hierarchy)
    }

    /// The record of a cgroup; `None` if the walk did not find it.
    pub fn find(&self, hierarchy: u32, id: u64) -> Option<Record<'a>> {
        self.tree(hierarchy)?.find(id)
    }

    /// All hierarchies.
    pub fn trees(&self) -> impl Iterator<Item = &'a Tree> + use<'a> {
        self.trees.iter()
    }
}
