//! The instances that are alive: containers, services and plain cgroups found in the cgroup trees,
//! with their open files.
//!
//! Events from the kernel report cgroups as they are made and removed. A walk of the trees finds
//! the same without events, and repairs what was lost. Every cgroup below a container belongs to
//! it, so the counters that the kernel keeps by cgroup id are summed by owner.

mod events;
mod faults;
mod settle;
mod tree;

use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use tare_ebpf::{BlockCell, LatencyCell, NetCell, TaskTimes, event::CpuTicks};

pub use self::{events::CgroupKey, faults::chain, tree::socket_ids};
use self::{faults::Faults, tree::Tree};
use crate::{
    cgroup::{self, Hierarchies, Node, ReadError},
    families::{
        Readers,
        block::ByDevice,
        lifecycle::{OomKill, Startup},
        walked::WalkLayout,
    },
    identity::{Identity, IdentityKind, Metadata, MetadataResolver, classify},
    kernel::SocketIds,
    network::{NamespaceId, Namespaces},
    reason::Reason,
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
    /// Socket counters of its removed sub-cgroups.
    pub removed_net: NetCell,
    /// Times of the tasks of its removed sub-cgroups.
    pub removed_tasks: TaskTimes,
    /// Block counters of its removed sub-cgroups, by device.
    pub removed_block: ByDevice<BlockCell>,
    /// CPU time of its removed sub-cgroups in cgroup2, as far as their removal was reported.
    pub removed_cpu: CpuTicks,
    /// Block latencies of its removed sub-cgroups, by device.
    pub removed_latency: ByDevice<LatencyCell>,
    /// The steps of its start.
    pub startup: Startup,
    /// The last process that the kernel killed because memory ran out.
    pub oom_kill: Option<OomKill>,
    tree: usize,
    inode: u64,
    visits: u32,
    seen: u64,
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
    /// Instances that ended and were not taken yet.
    ended: Vec<TrackedCgroup>,
    namespaces: Namespaces,
    /// The namespaces that an instance is in.
    joined: HashSet<NamespaceId>,
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
            ended: Vec::new(),
            namespaces,
            joined: HashSet::new(),
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

    /// Forgets removed cgroups without counters: a container may make and remove any number of
    /// them.
    pub fn prune(&mut self, is_counted: impl Fn(Counters, u64) -> bool) {
        for tree in &mut self.trees {
            tree.prune(&is_counted);
        }
    }

    /// Frees memory that those who ended have left.
    pub fn shrink(&mut self) {
        let spare = self.tracked.len() * 2;
        self.by_name.shrink_to(spare);
        self.joined.shrink_to(spare);
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

    /// Goes through a tree from the root down and finds the owner of each cgroup.
    fn assign_owners(&mut self, index: usize) {
        let wanted = self.wanted;
        let nodes = std::mem::take(&mut self.trees[index].nodes);
        let inner: HashSet<usize> = nodes.iter().filter_map(|node| node.parent).collect();
        let mut owners: Vec<Option<Owner>> = Vec::with_capacity(nodes.len());
        for (at, node) in nodes.iter().enumerate() {
            let inherited = node.parent.and_then(|parent| owners.get(parent).copied().flatten());
            let owner = match (inherited, classify(&node.path)) {
                // A cgroup inside a container is the container's, whatever its name.
                (Some(Owner { container: true, .. }), _) => inherited,
                (_, Some(identity)) if wanted.wants(identity.kind) => {
                    let container = identity.kind == IdentityKind::Container;
                    Some(Owner { id: self.register(index, node, Some(identity)), container })
                }
                (None, None) if wanted.others && !inner.contains(&at) => {
                    Some(Owner { id: self.register(index, node, None), container: false })
                }
                _ => inherited,
            };
            if let Some(Owner { id, .. }) = owner {
                self.trees[index].owners.insert(node.id, id);
            }
            owners.push(owner);
        }
        self.trees[index].nodes = nodes;
    }

    /// Finds or makes the instance whose topmost cgroup in this tree is `node`.
    fn register(&mut self, tree: usize, node: &Node, identity: Option<Identity>) -> InstanceId {
        let name = match &identity {
            Some(identity) if identity.kind == IdentityKind::Container => &identity.id,
            _ => &node.path,
        };
        let known = self.by_name.get(name).copied();
        if let Some(tracked) = known.and_then(|id| self.tracked.get_mut(&id)) {
            if tracked.tree != tree || tracked.inode == node.id {
                tracked.seen = self.walks;
                tracked.has_sockets |= self.trees[tree].has(Counters::Net);
                if tracked.instance.cgroup_id.is_none() && self.trees[tree].unified {
                    Arc::make_mut(&mut tracked.instance).cgroup_id = Some(node.id);
                }
                return tracked.instance.id;
            }
            // The same name in a new directory is a new instance.
            let former = tracked.instance.id;
            self.retire(former);
        }
        self.insert_new(tree, node, name.clone(), identity)
    }

    fn insert_new(
        &mut self,
        tree: usize,
        node: &Node,
        name: String,
        identity: Option<Identity>,
    ) -> InstanceId {
        let id = InstanceId(self.next_id);
        self.next_id += 1;
        let instance = Arc::new(Instance {
            id,
            identity,
            path: node.path.clone(),
            cgroup_id: self.trees[tree].unified.then_some(node.id),
            preexisting: self.first_walk,
        });
        let tracked = TrackedCgroup {
            instance,
            metadata: None,
            readers: None,
            namespace: None,
            has_sockets: self.trees[tree].has(Counters::Net),
            removed_net: NetCell::default(),
            removed_tasks: TaskTimes::default(),
            removed_block: ByDevice::new(),
            removed_cpu: CpuTicks::default(),
            removed_latency: ByDevice::new(),
            startup: Startup::default(),
            oom_kill: None,
            tree,
            inode: node.id,
            visits: 0,
            seen: self.walks,
        };
        self.by_name.insert(name, id);
        self.tracked.insert(id, Box::new(tracked));
        id
    }

    /// Retires instances that a complete walk did not find.
    fn reap(&mut self) {
        let unseen: Vec<InstanceId> = self
            .tracked
            .iter()
            .filter(|(_, tracked)| tracked.seen != self.walks && self.trees[tracked.tree].complete)
            .map(|(id, _)| *id)
            .collect();
        for id in unseen {
            let ended = self.tracked.get(&id).is_some_and(|t| self.trees[t.tree].is_gone(t.inode));
            match ended {
                true => self.retire(id),
                // It is there, but not followed any more.
                false => drop(self.remove_entry(id)),
            }
        }
    }

    fn retire(&mut self, id: InstanceId) {
        let tracked = self.remove_entry(id);
        self.ended.extend(tracked);
    }

    fn remove_entry(&mut self, id: InstanceId) -> Option<TrackedCgroup> {
        let tracked = self.tracked.remove(&id)?;
        self.by_name.retain(|_, named| *named != id);
        for tree in &mut self.trees {
            tree.owners.retain(|_, owner| *owner != id);
        }
        Some(*tracked)
    }
}

#[derive(Clone, Copy)]
struct Owner {
    id: InstanceId,
    container: bool,
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
