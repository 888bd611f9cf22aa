//! Which instance each cgroup belongs to.

use std::{collections::HashSet, sync::Arc};

use crate::{
    cgroup::Node,
    identity::{Identity, IdentityKind, classify},
    registry::{Counters, Instance, InstanceId, Registry, TrackedCgroup},
    seldom::Seldom,
};

impl Registry {
    /// Forgets removed cgroups without counters: a container may make and remove any number of
    /// them.
    pub fn prune(&mut self, is_counted: impl Fn(Counters, u64) -> bool) {
        for tree in &mut self.trees {
            tree.prune(&is_counted);
        }
        let Self { tracked, trees, .. } = self;
        for tracked in tracked.values_mut().filter(|tracked| tracked.owned.len() > trees.len()) {
            let id = tracked.instance.id;
            tracked.owned.retain(|(tree, cgroup)| trees[*tree].owners.get(cgroup) == Some(&id));
        }
    }

    /// Goes through a tree from the root down and finds the owner of each cgroup.
    pub(super) fn assign_owners(&mut self, index: usize) {
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
                self.own(id, index, node.id);
            }
            owners.push(owner);
        }
        self.trees[index].nodes = nodes;
    }

    /// Finds or makes the instance whose topmost cgroup in this tree is `node`.
    pub(super) fn register(
        &mut self,
        tree: usize,
        node: &Node,
        identity: Option<Identity>,
    ) -> InstanceId {
        let name = name_of(identity.as_ref(), &node.path);
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
        self.insert_new(tree, node, name.to_owned(), identity)
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
            removed: None,
            startup: Seldom::default(),
            oom_kill: None,
            tree,
            inode: node.id,
            owned: Vec::new(),
            visits: 0,
            seen: self.walks,
        };
        self.by_name.insert(name, id);
        self.tracked.insert(id, Box::new(tracked));
        self.restless.push(id);
        id
    }

    /// Retires instances that a complete walk did not find.
    pub(super) fn reap(&mut self) {
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

    pub(super) fn remove_entry(&mut self, id: InstanceId) -> Option<TrackedCgroup> {
        let tracked = self.tracked.remove(&id)?;
        self.has_left = true;
        self.forget_name(&tracked.instance);
        for (tree, cgroup) in &tracked.owned {
            let owners = &mut self.trees[*tree].owners;
            // Its ids may have another owner by now, where what is followed has changed.
            if owners.get(cgroup) == Some(&id) {
                owners.remove(cgroup);
            }
        }
        Some(*tracked)
    }

    /// Lets another instance have the same name.
    pub(super) fn forget_name(&mut self, instance: &Instance) {
        let name = name_of(instance.identity.as_ref(), &instance.path);
        if self.by_name.get(name) == Some(&instance.id) {
            self.by_name.remove(name);
        }
    }

    /// Makes an instance the owner of a cgroup.
    pub(super) fn own(&mut self, id: InstanceId, tree: usize, cgroup: u64) {
        let former = self.trees[tree].owners.insert(cgroup, id);
        if former != Some(id)
            && let Some(tracked) = self.tracked.get_mut(&id)
        {
            tracked.owned.push((tree, cgroup));
        }
    }
}

/// What an instance is found by again: a container's id, else the path.
pub(super) fn name_of<'a>(identity: Option<&'a Identity>, path: &'a str) -> &'a str {
    match identity {
        Some(identity) if identity.kind == IdentityKind::Container => &identity.id,
        _ => path,
    }
}

#[derive(Clone, Copy)]
struct Owner {
    id: InstanceId,
    container: bool,
}
