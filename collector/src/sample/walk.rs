//! The walk over all cgroups that comes before the files.

use std::sync::Arc;

use crate::{
    cgroup::Hierarchies,
    families::{
        Place, WalkedCgroup,
        memory::StatDecoder,
        walked::{WalkLayout, WalkStatus, walked_hierarchies},
    },
    kernel::{
        Facts, Runs,
        walk::{CGROUPS_MAX, Records, Walk},
    },
    reason::Reason,
    registry::Registry,
};

/// Failures in a row after which the walk is given up.
const FAILURES_MAX: u32 = 3;

/// Walks the cgroups before each sample, where that is possible.
pub struct CgroupWalk {
    walk: Result<Running, Reason>,
    /// What the cgroups are opened for. It stays when the walk is given up: their files are then
    /// opened as if each record were missing.
    layout: Option<Arc<WalkLayout>>,
    failures: u32,
    /// The cgroup whose `memory.stat` is checked next.
    turn: usize,
}

struct Running {
    walk: Walk,
    stat: Option<StatDecoder>,
}

/// What a walk found.
pub(super) struct Walked<'a> {
    pub(super) records: Records<'a>,
    pub(super) stat: Option<&'a mut StatDecoder>,
}

impl Walked<'_> {
    /// What was found of one cgroup; `None` if it was not found whole.
    pub(super) fn of<'b>(&'b mut self, place: &Place<'b>) -> Option<WalkedCgroup<'b>> {
        let records = place.layout.find(self.records, &place.ids)?;
        Some(WalkedCgroup { records, stat: self.stat.as_deref_mut() })
    }
}

impl CgroupWalk {
    /// No walk, for a reason.
    pub fn off(reason: Reason) -> Self {
        Self { walk: Err(reason), layout: None, failures: 0, turn: 0 }
    }

    /// Loads the programs. Where that fails there is no walk, and files are read.
    /// `by_default` uses it only where nothing waits for it.
    pub fn start(facts: &Facts, hierarchies: &Hierarchies, by_default: bool) -> Self {
        let wanted = walked_hierarchies(hierarchies);
        if wanted.is_empty() {
            return Self::off(Reason::NotWalked);
        }
        let (walk, refused) = match Walk::start_each(facts, &wanted, CGROUPS_MAX) {
            Ok(started) => started,
            Err(reason) => return Self::off(reason),
        };
        if by_default && let Some(reason) = walk.not_by_default() {
            return Self::off(reason);
        }
        let layout = WalkLayout::new(hierarchies, walk.records(), &refused);
        let memory = hierarchies.controller("memory").and_then(|found| hierarchies.id(found.root));
        let tree = memory.and_then(|id| walk.records().tree(id));
        let stat = tree.filter(|_| layout.memory.is_walked()).map(StatDecoder::new);
        Self {
            walk: Ok(Running { walk, stat }),
            layout: Some(Arc::new(layout)),
            failures: 0,
            turn: 0,
        }
    }

    /// What is walked; `None` if nothing ever was.
    pub fn layout(&self) -> Option<&Arc<WalkLayout>> {
        self.layout.as_ref()
    }

    /// Bytes of the records in the kernel; 0 without a walk.
    pub fn memory_bytes(&self) -> u64 {
        let trees = self.walk.iter().flat_map(|running| running.walk.records().trees());
        trees.map(|tree| tree.memory_bytes() as u64).sum()
    }

    /// Runs of the programs for all hierarchies so far, by their name in the object.
    pub fn runs(&self) -> Option<(&'static str, Runs)> {
        let running = self.walk.as_ref().ok()?;
        Some((running.walk.way().program(), running.walk.runs()?))
    }

    /// Where numbers come from.
    pub fn status(&self) -> WalkStatus<'_> {
        let way = self.walk.as_ref().map(|running| running.walk.way());
        WalkStatus { way, layout: self.layout.as_deref().filter(|_| way.is_ok()) }
    }

    /// Frees memory that those who ended have left.
    pub(super) fn shrink(&mut self) {
        if let Ok(running) = &mut self.walk {
            running.walk.shrink();
        }
    }

    /// Walks; `None` if there is no walk, or if this one failed: then files are read.
    pub(super) fn run(&mut self, registry: &Registry) -> Option<Walked<'_>> {
        let Self { walk, layout, failures, turn } = self;
        let (running, layout) = (walk.as_mut().ok()?, layout.as_deref()?);
        if let Some(stat) = &mut running.stat {
            check_one(stat, registry, layout, turn);
            stat.begin_lessons();
        }
        match running.walk.run() {
            Ok(_) => *failures = 0,
            Err(error) => {
                *failures += 1;
                tracing::debug!(%error, "the cgroups were not walked");
                if *failures == FAILURES_MAX {
                    let error = error.to_string();
                    tracing::warn!(%error, "cgroups are read from files from now on");
                    *walk = Err(Reason::WalkFailed { error: error.into() });
                }
                return None;
            }
        }
        let Running { walk, stat } = walk.as_mut().ok()?;
        let records = walk.records();
        if let Some(stat) = stat {
            stat.end_lessons(records);
        }
        Some(Walked { records, stat: stat.as_mut() })
    }
}

/// Has the decoder check itself with the next cgroup's file.
fn check_one(stat: &mut StatDecoder, registry: &Registry, layout: &WalkLayout, turn: &mut usize) {
    let count = registry.tracked().count();
    if count == 0 {
        return;
    }
    *turn = (*turn + 1) % count;
    let Some(tracked) = registry.tracked().nth(*turn) else { return };
    let hierarchies = registry.hierarchies();
    if let Some(id) = tracked.readers.as_ref().and_then(|readers| layout.memory_id(readers.ids()))
        && let Some(controller) = hierarchies.controller("memory")
    {
        let directory = crate::cgroup::below(controller.root, &tracked.instance.path);
        stat.learn_from(id, || directory.join("memory.stat"));
    }
}
