//! Who is alive: containers and services found in the cgroup trees, with what it takes to read
//! each of them.
//!
//! A walk finds what was born and what died; between walks nothing is looked for. Every cgroup
//! below a container belongs to it, so the counters that the kernel keeps by cgroup id are summed
//! by owner.

mod faults;
mod tree;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use tare_ebpf::{BlockCell, LatencyCell, NetCell};

pub use self::faults::chain;
use self::{faults::Faults, tree::Tree};
use crate::{
    cgroup::{self, CgroupFiles, Hierarchies, Node, ReadError},
    identity::{
        Identity, Kind, Runtime, classify,
        docker::{Details, DockerNames},
    },
    network::{NamespaceId, Namespaces},
};

/// One life of a container, service or plain cgroup. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(pub u64);

/// Which cgroups are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Containers; on a host without any, services; without those, every cgroup.
    Containers,
    /// Services.
    Services,
    /// Containers, services and every other cgroup without children.
    All,
}

/// Whose ids a counter of the kernel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counters {
    /// Sockets: cgroup2 ids.
    Net,
    /// Block requests: ids of the hierarchy that has the block controller.
    Block,
}

/// Who a cgroup is, fixed for its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// This life.
    pub serial: Serial,
    /// What its path says; `None` for a plain cgroup.
    pub identity: Option<Identity>,
    /// Path below the roots of the hierarchies.
    pub path: String,
    /// Id in the cgroup2 hierarchy, if it is there.
    pub cgroup_id: Option<u64>,
    /// Whether it was there before we looked for the first time.
    pub older_than_us: bool,
}

/// A living member and what it takes to read it.
pub struct Tracked {
    /// Who it is.
    pub member: Arc<Member>,
    /// What its runtime told.
    pub details: Option<Arc<Details>>,
    /// Its open files; `None` until they could be opened.
    pub files: Option<CgroupFiles>,
    /// The network namespace of its first process.
    pub namespace: Option<NamespaceId>,
    /// What its removed sub-cgroups had counted.
    pub former_net: NetCell,
    /// The same, by device.
    pub former_block: BTreeMap<u32, BlockCell>,
    /// The same, as latencies.
    pub former_latency: BTreeMap<u32, LatencyCell>,
    tree: usize,
    inode: u64,
    walks: u32,
    seen: u64,
}

/// Walks for which a member is young: its runtime may still be making its directories and moving
/// its first process into its namespaces.
const YOUNG_WALKS: u32 = 5;

/// Everything that is followed.
pub struct Registry {
    hierarchies: Hierarchies,
    follow: Follow,
    trees: Vec<Tree>,
    tracked: BTreeMap<Serial, Tracked>,
    by_name: HashMap<String, Serial>,
    namespaces: Namespaces,
    namespace_fault: Option<String>,
    names: DockerNames,
    next_serial: u64,
    walks: u64,
    faults: Faults,
}

impl Registry {
    /// Knows nobody until the first [`Registry::walk`].
    pub fn new(
        hierarchies: Hierarchies,
        follow: Follow,
        namespaces: Namespaces,
        names: DockerNames,
    ) -> Self {
        Self {
            trees: Tree::all(&hierarchies),
            hierarchies,
            follow,
            tracked: BTreeMap::new(),
            by_name: HashMap::new(),
            namespaces,
            namespace_fault: None,
            names,
            next_serial: 0,
            walks: 0,
            faults: Faults::default(),
        }
    }

    /// Looks for births and deaths.
    pub fn walk(&mut self) {
        self.walks += 1;
        for tree in &mut self.trees {
            tree.walk(&mut self.faults);
        }
        let wanted = self.wanted();
        for index in 0..self.trees.len() {
            self.meet(index, wanted);
        }
        self.bury();
        self.settle();
    }

    /// The living, oldest acquaintance first.
    pub fn tracked(&self) -> impl Iterator<Item = &Tracked> {
        self.tracked.values()
    }

    /// A living member.
    pub fn get_mut(&mut self, serial: Serial) -> Option<&mut Tracked> {
        self.tracked.get_mut(&serial)
    }

    /// The owner of a cgroup by its id, if it belongs to a member.
    pub fn owner(&self, counters: Counters, cgroup_id: u64) -> Option<Serial> {
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

    /// The open network namespaces.
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// Why network namespaces cannot be told, if they cannot.
    pub fn namespace_fault(&self) -> Option<&str> {
        self.namespace_fault.as_deref()
    }

    /// The runtime's names.
    pub fn names(&self) -> &DockerNames {
        &self.names
    }

    /// Tells a fault, once.
    pub fn tell(&mut self, fault: &ReadError) {
        self.faults.tell(fault);
    }

    fn tree(&self, counters: Counters) -> Option<&Tree> {
        self.trees.iter().find(|tree| tree.has(counters))
    }

    /// Decides whom to follow from who is there.
    fn wanted(&self) -> Wanted {
        match self.follow {
            Follow::All => Wanted { containers: true, services: true, others: true },
            Follow::Services => Wanted { containers: false, services: true, others: false },
            Follow::Containers => {
                let nodes = || self.trees.iter().flat_map(|tree| &tree.nodes);
                let there = |kind| {
                    nodes().filter_map(|node| classify(&node.path)).any(|id| id.kind == kind)
                };
                let containers = there(Kind::Container);
                let services = !containers && there(Kind::Service);
                Wanted { containers: true, services, others: !containers && !services }
            }
        }
    }

    /// Goes through a tree from the root down: who is new, who is still there, whose is what.
    fn meet(&mut self, index: usize, wanted: Wanted) {
        let nodes = std::mem::take(&mut self.trees[index].nodes);
        let inner: HashSet<usize> = nodes.iter().filter_map(|node| node.parent).collect();
        let mut owners: Vec<Option<Owner>> = Vec::with_capacity(nodes.len());
        for (at, node) in nodes.iter().enumerate() {
            let inherited = node.parent.and_then(|parent| owners.get(parent).copied().flatten());
            let owner = match (inherited, classify(&node.path)) {
                // What runs inside a container is the container's, whatever it calls itself.
                (Some(Owner { container: true, .. }), _) => inherited,
                (_, Some(identity)) if wanted.wants(identity.kind) => {
                    let container = identity.kind == Kind::Container;
                    Some(Owner { serial: self.greet(index, node, Some(identity)), container })
                }
                (None, None) if wanted.others && !inner.contains(&at) => {
                    Some(Owner { serial: self.greet(index, node, None), container: false })
                }
                _ => inherited,
            };
            if let Some(Owner { serial, .. }) = owner {
                self.trees[index].owners.insert(node.id, serial);
            }
            owners.push(owner);
        }
        self.trees[index].nodes = nodes;
    }

    /// Finds or makes the member whose topmost cgroup in this tree is `node`.
    fn greet(&mut self, tree: usize, node: &Node, identity: Option<Identity>) -> Serial {
        let name = match &identity {
            Some(identity) if identity.kind == Kind::Container => &identity.id,
            _ => &node.path,
        };
        let known = self.by_name.get(name).copied();
        if let Some(tracked) = known.and_then(|serial| self.tracked.get_mut(&serial)) {
            if tracked.tree != tree || tracked.inode == node.id {
                tracked.seen = self.walks;
                if tracked.member.cgroup_id.is_none() && self.trees[tree].has(Counters::Net) {
                    Arc::make_mut(&mut tracked.member).cgroup_id = Some(node.id);
                }
                return tracked.member.serial;
            }
            // The same name in a new directory is a new life.
            let former = tracked.member.serial;
            self.forget(former);
        }
        self.bear(tree, node, name.clone(), identity)
    }

    fn bear(
        &mut self,
        tree: usize,
        node: &Node,
        name: String,
        identity: Option<Identity>,
    ) -> Serial {
        let serial = Serial(self.next_serial);
        self.next_serial += 1;
        let member = Arc::new(Member {
            serial,
            identity,
            path: node.path.clone(),
            cgroup_id: self.trees[tree].has(Counters::Net).then_some(node.id),
            older_than_us: self.walks == 1,
        });
        let tracked = Tracked {
            member,
            details: None,
            files: None,
            namespace: None,
            former_net: NetCell::default(),
            former_block: BTreeMap::new(),
            former_latency: BTreeMap::new(),
            tree,
            inode: node.id,
            walks: 0,
            seen: self.walks,
        };
        self.by_name.insert(name, serial);
        self.tracked.insert(serial, tracked);
        serial
    }

    /// Forgets who was not seen by a walk that saw everything.
    fn bury(&mut self) {
        let gone: Vec<Serial> = self
            .tracked
            .iter()
            .filter(|(_, tracked)| tracked.seen != self.walks && self.trees[tracked.tree].complete)
            .map(|(serial, _)| *serial)
            .collect();
        for serial in gone {
            self.forget(serial);
        }
    }

    fn forget(&mut self, serial: Serial) {
        self.tracked.remove(&serial);
        self.by_name.retain(|_, named| *named != serial);
        for tree in &mut self.trees {
            tree.owners.retain(|_, owner| *owner != serial);
        }
    }

    /// Opens files, joins namespaces and asks for names, for those who need it.
    fn settle(&mut self) {
        self.namespace_fault = None;
        let host = self.namespaces.host();
        for tracked in self.tracked.values_mut() {
            tracked.walks = tracked.walks.saturating_add(1);
            let young = tracked.walks <= YOUNG_WALKS;
            // The second time, for the directories that were not there the first time.
            if tracked.files.is_none() || tracked.walks == 2 {
                match CgroupFiles::open(&self.hierarchies, &tracked.member.path) {
                    Ok(files) => tracked.files = Some(files),
                    Err(error) => self.faults.tell(&error),
                }
            }
            if let Some(files) = &mut tracked.files
                && files.io_charged_to().is_some()
                && let Err(error) = files.reopen_io(&self.hierarchies, &tracked.member.path)
            {
                self.faults.tell(&error);
            }
            if young || tracked.namespace.is_none() || tracked.namespace == host {
                match join(&self.hierarchies, &mut self.namespaces, &tracked.member.path) {
                    Ok(Some(namespace)) => tracked.namespace = Some(namespace),
                    Ok(None) | Err(ReadError::Vanished) => {}
                    Err(error) => self.namespace_fault = Some(chain(&error)),
                }
            }
            name(tracked, &self.names);
        }
        let used: HashSet<_> = self.tracked.values().filter_map(|t| t.namespace).collect();
        self.namespaces.retain(|namespace| used.contains(&namespace));
    }
}

fn join(
    hierarchies: &Hierarchies,
    namespaces: &mut Namespaces,
    path: &str,
) -> Result<Option<NamespaceId>, ReadError> {
    match cgroup::first_pid(hierarchies, path)? {
        Some(pid) => namespaces.join(pid),
        None => Ok(None),
    }
}

/// Takes over what the runtime told by now, and asks for what is missing.
fn name(tracked: &mut Tracked, names: &DockerNames) {
    if let Some(identity) = &tracked.member.identity
        && identity.runtime == Runtime::Docker
    {
        if let Some(details) = names.lookup(&identity.id) {
            tracked.details = Some(details);
        }
        // A list of containers tells the names, an inspection when each was started.
        if tracked.details.as_ref().is_none_or(|details| details.started_at.is_none()) {
            names.want(&identity.id);
        }
    }
}

#[derive(Clone, Copy)]
struct Owner {
    serial: Serial,
    container: bool,
}

#[derive(Clone, Copy)]
struct Wanted {
    containers: bool,
    services: bool,
    others: bool,
}

impl Wanted {
    fn wants(self, kind: Kind) -> bool {
        match kind {
            Kind::Container => self.containers,
            Kind::Service => self.services,
        }
    }
}
