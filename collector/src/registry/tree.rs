//! One cgroup hierarchy, as far as it is walked.

use std::path::{Path, PathBuf};

use crate::{
    cgroup::{self, Hierarchies, Node, Version},
    hashing::{HashMap, HashSet},
    identity::{IdentityKind, classify},
    kernel::SocketIds,
    registry::{Counters, InstanceId, faults::Faults},
};

/// The hierarchy whose cgroup ids separate containers.
///
/// cgroup2 where it is mounted, unless the containers that are there now are in v1 hierarchies
/// only, as runtimes before runc 1.0.0-rc93 left them on hybrid hosts.
pub fn socket_ids(hierarchies: &Hierarchies) -> Option<SocketIds> {
    let holds_containers = |root: &Path| {
        let mut nodes = Vec::new();
        // A tree that cannot be walked holds none that we could follow.
        let walked = cgroup::walk(root, &mut nodes).is_ok();
        let is_container = |node: &Node| classify(&node.path).map(|id| id.kind);
        walked && nodes.iter().any(|node| is_container(node) == Some(IdentityKind::Container))
    };
    match (hierarchies.unified.as_deref(), legacy_memory(hierarchies)) {
        (None, None) => None,
        (None, Some(_)) => Some(SocketIds::Memory),
        (Some(_), None) => Some(SocketIds::Unified),
        (Some(unified), Some(memory)) => {
            let only_legacy = holds_containers(memory) && !holds_containers(unified);
            Some(if only_legacy { SocketIds::Memory } else { SocketIds::Unified })
        }
    }
}

fn legacy_memory(hierarchies: &Hierarchies) -> Option<&Path> {
    let memory = hierarchies.controller("memory")?;
    (memory.version == Version::V1).then_some(memory.root)
}

/// The cgroups of a hierarchy, and their owners.
pub(super) struct Tree {
    /// Where it is mounted.
    pub(super) root: PathBuf,
    /// What the last walk saw, parents before children.
    pub(super) nodes: Vec<Node>,
    /// Owner of each cgroup that belongs to an instance. Those of removed cgroups stay as long as
    /// their owner, because counts may still arrive.
    pub(super) owners: HashMap<u64, InstanceId>,
    /// Whether the last walk saw everything.
    pub(super) complete: bool,
    /// Whether it is cgroup2.
    pub(super) unified: bool,
    /// The kernel's number for the hierarchy.
    pub(super) id: Option<u32>,
    /// The cgroups that are there.
    pub(super) alive: HashSet<u64>,
    net: bool,
    block: bool,
}

impl Tree {
    /// The hierarchies that have to be walked: those whose ids are the keys of the kernel's
    /// counters, or else any one.
    pub(super) fn all(hierarchies: &Hierarchies, socket_ids: Option<SocketIds>) -> Vec<Self> {
        let unified = hierarchies.unified.as_deref();
        let net = match socket_ids {
            Some(SocketIds::Memory) => legacy_memory(hierarchies),
            Some(SocketIds::Unified) | None => unified,
        };
        let block = hierarchies.controller("blkio").map(|controller| controller.root);
        let mut roots: Vec<_> = net.into_iter().chain(block).collect();
        roots.dedup();
        if roots.is_empty() {
            roots.extend(hierarchies.roots().next());
        }
        let tree = |root: &Path| Self {
            root: root.to_owned(),
            nodes: Vec::new(),
            owners: HashMap::default(),
            complete: false,
            id: hierarchies.id(root),
            alive: HashSet::default(),
            unified: unified == Some(root),
            net: net == Some(root),
            block: block == Some(root),
        };
        roots.into_iter().map(tree).collect()
    }

    /// Whether these counters carry this hierarchy's ids.
    pub(super) fn has(&self, counters: Counters) -> bool {
        match counters {
            Counters::Net => self.net,
            Counters::Block => self.block,
        }
    }

    /// Whether the last walk proves that a cgroup, known before it, is gone.
    pub(super) fn is_gone(&self, cgroup_id: u64) -> bool {
        // Id 0 is work without a cgroup.
        self.complete && cgroup_id != 0 && !self.alive.contains(&cgroup_id)
    }

    /// Forgets the owners of cgroups that are gone and of which nothing is counted.
    pub(super) fn prune(&mut self, is_counted: impl Fn(Counters, u64) -> bool) {
        let counters = [Counters::Net, Counters::Block].map(|c| self.has(c).then_some(c));
        let Self { owners, alive, .. } = self;
        owners.retain(|id, _| {
            alive.contains(id) || counters.iter().flatten().any(|c| is_counted(*c, *id))
        });
    }

    /// Frees memory that removed cgroups have left.
    pub(super) fn shrink(&mut self) {
        let spare = self.alive.len() * 2;
        self.nodes.shrink_to(spare);
        self.owners.shrink_to(spare);
        self.alive.shrink_to(spare);
    }

    /// Lists the cgroups that are there now.
    pub(super) fn walk(&mut self, faults: &mut Faults) {
        self.complete = false;
        match cgroup::walk(&self.root, &mut self.nodes) {
            Err(error) => {
                self.nodes.clear();
                faults.report(&error);
            }
            Ok(walk) => {
                for failure in &walk.failures {
                    faults.report(failure);
                }
                let cut = walk.too_many || walk.too_deep;
                if cut {
                    faults.report_text(format!(
                        "{}: not every cgroup is followed, only {} and {} levels of them",
                        self.root.display(),
                        cgroup::walk::MAX_CGROUPS,
                        cgroup::walk::MAX_DEPTH,
                    ));
                }
                self.complete = !cut && walk.failures.is_empty();
            }
        }
        self.alive.clear();
        self.alive.extend(self.nodes.iter().map(|node| node.id));
    }
}
