//! The instances that are alive: containers, services and plain cgroups found in the cgroup trees,
//! with their open files.
//!
//! Events from the kernel report cgroups as they are made and removed. A walk of the trees finds
//! the same without events, and repairs what was lost. Every cgroup below a container belongs to
//! it, so the counters that the kernel keeps by cgroup id are summed by owner.

mod events;
mod faults;
mod owners;
mod settle;
mod tree;

use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use tare_ebpf::{BlockCell, LatencyCell, NetCell, TaskTimes, event::CpuTicks};

pub use self::{events::CgroupKey, faults::chain, tree::socket_ids};
use self::{faults::Faults, tree::Tree};
use crate::{
    cgroup::{self, Hierarchies, ReadError},
    families::{
        Readers,
        block::ByDevice,
        lifecycle::{OomKill, Startup},
        walked::WalkLayout,
    },
    hashing::HashSet,
    identity::{Identity, IdentityKind, Metadata, MetadataResolver, classify},
    kernel::SocketIds,
    network::{NamespaceId, Namespaces},
    reason::Reason,
    seldom::Seldom,
};

/// The number of one life of a container, service or plain cgroup. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub struct InstanceId(pub u64);

/// Which cgroups are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Containers only.
    Containers,
    /// Containers; on a host without any, services; without those, every cgroup. What is followed
    /// changes with the first container that starts and the last one that ends.
    ContainersOrFallback,
    /// Services.
    Services,
    /// Containers, services and every other cgroup without children.
    All,
}

/// A kind of counters, keyed by the cgroup ids of one hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counters {
    /// Sockets: ids of the hierarchy that [`socket_ids`] finds.
    Net,
    /// Block requests: ids of the hierarchy that has the block controller.
    Block,
}

/// One life of a container, service or plain cgroup. Fixed from its start.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Instance {
    /// Its number.
    pub id: InstanceId,
    /// Runtime and id, from its path; `None` for a plain cgroup.
    pub identity: Option<Identity>,
    /// Path below the roots of the hierarchies.
    pub path: String,
    /// Id in the cgroup2 hierarchy, if it is there.
    pub cgroup_id: Option<u64>,
    /// Whether it was there before the first walk.
    pub preexisting: bool,
}

impl Instance {
    /// Whether it is a container, and not a service or a plain cgroup.
    pub fn is_container(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.kind == IdentityKind::Container)
    }
}

/// An instance that is alive, with its open files.
pub struct TrackedCgroup {
    /// The instance.
    pub instance: Arc<Instance>,
    /// Name, image and labels from its runtime.
    pub metadata: Option<Arc<Metadata>>,
    /// Its open files; `None` until they could be opened.
    pub readers: Option<Readers>,
    /// The network namespace of its first process.
    pub namespace: Option<NamespaceId>,
    /// Whether its sockets are counted apart from others: it is in the hierarchy whose ids they
    /// are counted by.
    pub has_sockets: bool,
    /// What its removed sub-cgroups had counted, if there were any.
    pub removed: Option<Box<Removed>>,
    /// The steps of its start.
    pub startup: Seldom<Startup>,
    /// The last process that the kernel killed because memory ran out.
    pub oom_kill: Option<Arc<OomKill>>,
    tree: usize,
    inode: u64,
    /// Its cgroups: the tree and the id there.
    owned: Vec<(usize, u64)>,
    visits: u32,
    seen: u64,
}

/// What the removed sub-cgroups of an instance had counted.
#[derive(Default)]
pub struct Removed {
    /// Sockets.
    pub net: NetCell,
    /// Times of tasks.
    pub tasks: TaskTimes,
    /// Block requests, by device.
    pub block: ByDevice<BlockCell>,
    /// CPU time in cgroup2, as far as their removal was reported.
    pub cpu: CpuTicks,
    /// Block latencies, by device.
    pub latency: ByDevice<LatencyCell>,
}

impl TrackedCgroup {
    /// What its removed sub-cgroups had counted, to be added to.
    pub fn removed_mut(&mut self) -> &mut Removed {
        self.removed.get_or_insert_default()
    }

    /// CPU time of its removed sub-cgroups.
    pub fn removed_cpu(&self) -> CpuTicks {
        self.removed.as_ref().map_or_else(CpuTicks::default, |removed| removed.cpu)
    }
}

/// Visits for which an instance is young: its runtime may still be making its directories and
/// moving its first process into its namespaces.
const YOUNG_VISITS: u32 = 5;

/// Visits between two attempts to find the network namespace of an instance that is not young any
/// more: it may never have one of its own, and each attempt opens a file in every hierarchy.
const VISITS_BETWEEN_ATTEMPTS: u64 = 16;

/// The same for an instance that is in the host's network namespace, as an ordinary service is: it
/// would have to move. With a thousand of them the attempts were an eighth of all that Tare costs.
const VISITS_BETWEEN_CHECKS: u64 = 8 * VISITS_BETWEEN_ATTEMPTS;

/// Everything that is followed.
pub struct Registry {
    hierarchies: Hierarchies,
    socket_ids: Option<SocketIds>,
    follow: Follow,
    trees: Vec<Tree>,
    /// Boxed, because nodes of the map are half empty.
    tracked: BTreeMap<InstanceId, Box<TrackedCgroup>>,
    by_name: HashMap<String, InstanceId>,
    wanted: Wanted,
    /// Instances that every settle looks at: those that are young, and those whose files could not
    /// be opened or may become more.
    restless: Vec<InstanceId>,
    /// Instances that ended and were not taken yet.
    ended: Vec<TrackedCgroup>,
    namespaces: Namespaces,
    /// The namespaces that an instance is in.
    joined: HashSet<NamespaceId>,
    /// Whether an instance may have left its namespace since.
    has_left: bool,
    /// When all were named, and how often runtimes had told something new by then.
    named: Option<(Instant, u64)>,
    /// Why a network namespace could not be found, and at which settle.
    namespace_fault: Option<(u64, Reason)>,
    settles: u64,
    resolver: MetadataResolver,
    next_id: u64,
    walks: u64,
    first_walk: bool,
    faults: Faults,
    /// What a walk has of the cgroups, so that its files need not be open.
    walk: Option<Arc<WalkLayout>>,
}

impl Registry {
    /// Empty until the first [`Registry::walk`].
    pub fn new(
        hierarchies: Hierarchies,
        socket_ids: Option<SocketIds>,
        follow: Follow,
        namespaces: Namespaces,
        resolver: MetadataResolver,
    ) -> Self {
        Self {
            trees: Tree::all(&hierarchies, socket_ids),
            hierarchies,
            socket_ids,
            follow,
            tracked: BTreeMap::new(),
            by_name: HashMap::new(),
            wanted: Wanted::default(),
            restless: Vec::new(),
            ended: Vec::new(),
            namespaces,
            joined: HashSet::default(),
            has_left: false,
            named: None,
            namespace_fault: None,
            settles: 0,
            resolver,
            next_id: 0,
            walks: 0,
            first_walk: false,
            faults: Faults::default(),
            walk: None,
        }
    }

    /// Walks the trees for instances that started or ended.
    pub fn walk(&mut self) {
        self.walks += 1;
        self.first_walk = self.walks == 1;
        for tree in &mut self.trees {
            tree.walk(&mut self.faults);
        }
        self.wanted = self.decide();
        for index in 0..self.trees.len() {
            self.assign_owners(index);
        }
        self.reap();
        self.first_walk = false;
    }

    /// Frees memory that those who ended have left.
    pub fn shrink(&mut self) {
        let spare = self.tracked.len() * 2;
        self.by_name.shrink_to(spare);
        self.joined.shrink_to(spare);
        self.restless.shrink_to(spare);
        for tree in &mut self.trees {
            tree.shrink();
        }
    }

    /// Whether the next walk is due at once: an event could not be applied without it.
    pub fn needs_walk(&self) -> bool {
        self.walks == 0 || self.wanted.walk
    }

    /// The kernel's number of the hierarchy whose ids are the keys of these counters.
    pub fn hierarchy(&self, counters: Counters) -> Option<u32> {
        self.tree(counters)?.id
    }

    /// Takes the instances that ended since the last call. Their cgroups have no owner any more.
    pub fn take_ended(&mut self) -> Vec<TrackedCgroup> {
        std::mem::take(&mut self.ended)
    }

    /// Changes with every instance that starts, which makes the first number grow, or ends.
    pub fn generation(&self) -> (u64, usize) {
        (self.next_id, self.tracked.len())
    }

    /// The instances that are alive, in the order in which they were found.
    pub fn tracked(&self) -> impl Iterator<Item = &TrackedCgroup> {
        self.tracked.values().map(|tracked| &**tracked)
    }

    /// Instances with processes whose sockets are not counted apart from others. An empty cgroup,
    /// such as engines leave behind in some hierarchies only, does not count.
    pub fn inseparable(&self) -> usize {
        let inhabited = |tracked: &&TrackedCgroup| {
            // One that cannot be read may have processes.
            cgroup::has_processes(&self.hierarchies, &tracked.instance.path).unwrap_or(true)
        };
        self.tracked().filter(|tracked| !tracked.has_sockets).filter(inhabited).count()
    }

    /// The instances that started since [`Registry::generation`] began with this number.
    pub fn created_since(&self, id: u64) -> impl Iterator<Item = &TrackedCgroup> {
        self.tracked.range(InstanceId(id)..).map(|(_, tracked)| &**tracked)
    }

    /// The same, to be read.
    pub fn tracked_mut(&mut self) -> impl Iterator<Item = &mut TrackedCgroup> {
        self.tracked.values_mut().map(|tracked| &mut **tracked)
    }

    /// An instance that is alive.
    pub fn get(&self, id: InstanceId) -> Option<&TrackedCgroup> {
        self.tracked.get(&id).map(|tracked| &**tracked)
    }

    /// An instance that is alive.
    pub fn get_mut(&mut self, id: InstanceId) -> Option<&mut TrackedCgroup> {
        self.tracked.get_mut(&id).map(|tracked| &mut **tracked)
    }

    /// The instance that a cgroup belongs to, by the cgroup's id.
    pub fn owner(&self, counters: Counters, cgroup_id: u64) -> Option<InstanceId> {
        self.tree(counters)?.owners.get(&cgroup_id).copied()
    }

    /// Whether a cgroup that was there before the last walk is gone.
    pub fn is_gone(&self, counters: Counters, cgroup_id: u64) -> bool {
        self.tree(counters).is_some_and(|tree| tree.is_gone(cgroup_id))
    }

    /// The hierarchies that are read.
    pub fn hierarchies(&self) -> &Hierarchies {
        &self.hierarchies
    }

    /// The hierarchy whose ids count sockets.
    pub fn socket_ids(&self) -> Option<SocketIds> {
        self.socket_ids
    }

    /// The open network namespaces.
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// The same, to be read.
    pub fn namespaces_mut(&mut self) -> &mut Namespaces {
        &mut self.namespaces
    }

    /// Why network namespaces cannot be found, if so.
    pub fn namespace_fault(&self) -> Option<&Reason> {
        self.namespace_fault.as_ref().map(|(_, reason)| reason)
    }

    /// The runtimes' metadata.
    pub fn resolver(&self) -> &MetadataResolver {
        &self.resolver
    }

    /// The runtimes' metadata, to request more of it.
    pub fn resolver_mut(&mut self) -> &mut MetadataResolver {
        &mut self.resolver
    }

    /// Logs an error, each kind once.
    pub fn report(&mut self, fault: &ReadError) {
        self.faults.report(fault);
    }

    fn tree(&self, counters: Counters) -> Option<&Tree> {
        self.trees.iter().find(|tree| tree.has(counters))
    }

    /// Decides which cgroups to follow, from those that are there.
    fn decide(&self) -> Wanted {
        let nothing = Wanted::default();
        match self.follow {
            Follow::All => Wanted { containers: true, services: true, others: true, ..nothing },
            Follow::Services => Wanted { services: true, ..nothing },
            Follow::Containers => Wanted { containers: true, ..nothing },
            Follow::ContainersOrFallback => {
                let nodes = || self.trees.iter().flat_map(|tree| &tree.nodes);
                let there = |kind| {
                    nodes().filter_map(|node| classify(&node.path)).any(|id| id.kind == kind)
                };
                let containers = there(IdentityKind::Container);
                let services = !containers && there(IdentityKind::Service);
                let others = !containers && !services;
                Wanted { containers: true, services, others, ..nothing }
            }
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Wanted {
    containers: bool,
    services: bool,
    others: bool,
    /// Whether the decision is out of date.
    walk: bool,
}

impl Wanted {
    fn wants(self, kind: IdentityKind) -> bool {
        match kind {
            IdentityKind::Container => self.containers,
            IdentityKind::Service => self.services,
        }
    }
}
