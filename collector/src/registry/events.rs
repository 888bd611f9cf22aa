//! Lifecycle events, applied to the registry one by one.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    cgroup::Node,
    families::lifecycle::{OomKill, Startup},
    identity::{IdentityKind, classify},
    registry::{
        InstanceId, Registry, TrackedCgroup,
        owners::name_of,
        settle::{name, open},
    },
};

/// The directory of a cgroup, as an event names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CgroupKey {
    /// The kernel's number of the hierarchy.
    pub hierarchy: u32,
    /// Inode of the directory.
    pub cgroup_id: u64,
}

impl Registry {
    /// A cgroup was made: a new instance, a further directory of a known one, or a sub-cgroup.
    pub fn cgroup_created(
        &mut self,
        key: CgroupKey,
        parent_id: u64,
        path: Option<String>,
        at: Timestamp,
    ) {
        let Some(index) = self.tree_of(key) else { return };
        let tree = &mut self.trees[index];
        tree.alive.insert(key.cgroup_id);
        let owner = tree.owners.get(&parent_id).copied();
        let Some(path) = path else {
            self.wanted.walk = true;
            return;
        };
        let container = owner
            .and_then(|owner| self.tracked.get(&owner))
            .is_some_and(|owner| owner.instance.is_container());
        let identity = if container { None } else { classify(&path) };
        let id = match identity {
            Some(identity) if self.wanted.wants(identity.kind) => {
                // The first container changes which other cgroups are followed.
                self.wanted.walk |=
                    self.wanted.services && identity.kind == IdentityKind::Container;
                self.wanted.walk |= self.wanted.others;
                let node = Node { id: key.cgroup_id, path, parent: None };
                let id = self.register(index, &node, Some(identity));
                self.arrange(id, at);
                id
            }
            identity => {
                // A plain cgroup is followed while nothing lies below it, unlike a container.
                let is_plain = owner
                    .and_then(|owner| self.tracked.get(&owner))
                    .is_none_or(|owner| owner.instance.identity.is_none());
                self.wanted.walk |= self.wanted.others && identity.is_none() && is_plain;
                let Some(owner) = owner else { return };
                owner
            }
        };
        self.own(id, index, key.cgroup_id);
    }

    /// A cgroup was removed. Returns the instance that ended with it, if any. It stays known until
    /// [`Registry::remove`], so that its last counts can be read.
    pub fn cgroup_removed(&mut self, key: CgroupKey) -> Option<InstanceId> {
        let index = self.tree_of(key)?;
        self.trees[index].alive.remove(&key.cgroup_id);
        let id = self.top(key)?;
        // From here on another instance may have the same name.
        let instance = Arc::clone(&self.tracked.get(&id)?.instance);
        self.forget_name(&instance);
        Some(id)
    }

    /// Removes an instance that ended.
    pub fn remove(&mut self, id: InstanceId) -> Option<TrackedCgroup> {
        self.remove_entry(id)
    }

    /// The instance whose topmost directory this is, in the hierarchy where it was found.
    pub fn top(&self, key: CgroupKey) -> Option<InstanceId> {
        let index = self.tree_of(key)?;
        let id = *self.trees[index].owners.get(&key.cgroup_id)?;
        let tracked = self.tracked.get(&id)?;
        (tracked.tree == index && tracked.inode == key.cgroup_id).then_some(id)
    }

    /// The instance whose topmost directory has this path, the same in each hierarchy.
    pub fn at_path(&self, path: &str) -> Option<InstanceId> {
        let identity = classify(path);
        let id = *self.by_name.get(name_of(identity.as_ref(), path))?;
        self.tracked.get(&id).filter(|tracked| tracked.instance.path == path).map(|_| id)
    }

    /// The instance that a cgroup belongs to.
    pub fn owner_of(&self, key: CgroupKey) -> Option<InstanceId> {
        self.trees[self.tree_of(key)?].owners.get(&key.cgroup_id).copied()
    }

    /// An instance has a process: all its directories are there by now, and the process shows its
    /// network namespace.
    pub fn process_seen(&mut self, id: InstanceId, pid: u32) {
        let Some(tracked) = self.tracked.get_mut(&id) else { return };
        if tracked.visits < 2
            && let Err(fault) = open(&self.hierarchies, self.walk.as_deref(), tracked)
        {
            self.faults.report(&fault);
        }
        // A process that has ended by now is no error. One that may not be read is reported by the
        // regular visits.
        if let Ok(Some(namespace)) = self.namespaces.track(pid) {
            self.has_left |= tracked.enter(namespace);
        }
    }

    /// Records a step of an instance's start; only the first of each kind counts.
    pub fn record_startup(&mut self, id: InstanceId, sign: impl FnOnce(&mut Startup)) {
        if let Some(tracked) = self.tracked.get_mut(&id) {
            sign(tracked.startup.make_mut());
        }
    }

    /// The kernel kills a process of an instance because memory ran out.
    pub fn oom_killed(&mut self, id: InstanceId, kill: OomKill) {
        if let Some(tracked) = self.tracked.get_mut(&id) {
            tracked.oom_kill = Some(Arc::new(kill));
        }
    }

    /// Events were lost: only a walk finds what is there.
    pub fn events_lost(&mut self) {
        self.wanted.walk = true;
    }

    /// Prepares a new instance, which may be short-lived: its files are opened at once.
    fn arrange(&mut self, id: InstanceId, at: Timestamp) {
        if let Some(tracked) = self.tracked.get_mut(&id) {
            tracked.startup.make_mut().made_at.get_or_insert(at);
            if let Err(fault) = open(&self.hierarchies, self.walk.as_deref(), tracked) {
                self.faults.report(&fault);
            }
            name(tracked, &mut self.resolver);
        }
    }

    fn tree_of(&self, key: CgroupKey) -> Option<usize> {
        self.trees.iter().position(|tree| tree.id == Some(key.hierarchy))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt, path::Path};

    use super::*;
    use crate::{
        cgroup::find_hierarchies,
        identity::{MetadataFilter, MetadataResolver, RuntimeSockets, Socket},
        network::Namespaces,
        registry::{Counters, Follow, socket_ids},
    };

    const ID: &str = "3f4e1b2a9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f";

    fn registry(root: &Path) -> Registry {
        following(Follow::Containers, root)
    }

    fn following(follow: Follow, root: &Path) -> Registry {
        fs::write(root.join("cgroup.controllers"), "").unwrap();
        let hierarchies = find_hierarchies(root, Some(root)).unwrap();
        let ids = socket_ids(&hierarchies);
        let off = || Socket::Off;
        let sockets = RuntimeSockets { docker: off(), podman: off(), cri: off() };
        let resolver = MetadataResolver::new(sockets, MetadataFilter::default());
        let namespaces = Namespaces::new(root);
        let mut registry = Registry::new(hierarchies, ids, follow, namespaces, resolver);
        registry.walk();
        registry
    }

    fn place(cgroup_id: u64) -> CgroupKey {
        CgroupKey { hierarchy: 0, cgroup_id }
    }

    #[test]
    fn a_container_is_followed_from_its_creation_to_its_end() {
        let root = tempfile::tempdir().unwrap();
        let mut registry = registry(root.path());
        let now = Timestamp::now();
        registry.cgroup_created(place(100), 1, Some(format!("/docker/{ID}")), now);
        registry.cgroup_created(place(101), 100, Some(format!("/docker/{ID}/child")), now);
        let id = registry.top(place(100)).unwrap();
        assert_eq!(registry.owner_of(place(101)), Some(id));
        assert_eq!(registry.top(place(101)), None);
        assert_eq!(registry.get(id).unwrap().startup.made_at, Some(now));
        assert!(!registry.get(id).unwrap().instance.preexisting);

        // A removed sub-cgroup keeps its owner while something is counted of it.
        assert_eq!(registry.cgroup_removed(place(101)), None);
        registry.prune(|_, cgroup_id| cgroup_id == 101);
        assert_eq!(registry.owner(Counters::Net, 101), Some(id));
        registry.prune(|_, _| false);
        assert_eq!(registry.owner(Counters::Net, 101), None);
        assert_eq!(registry.owner(Counters::Net, 100), Some(id));

        assert_eq!(registry.cgroup_removed(place(100)), Some(id));
        assert!(registry.remove(id).is_some());
        assert_eq!(registry.owner(Counters::Net, 100), None);
    }

    #[test]
    fn the_same_name_in_a_new_directory_is_a_new_life() {
        let root = tempfile::tempdir().unwrap();
        let mut registry = registry(root.path());
        let path = Some(format!("/docker/{ID}"));
        registry.cgroup_created(place(100), 1, path.clone(), Timestamp::now());
        let first = registry.top(place(100)).unwrap();
        // The event of its end was lost.
        registry.cgroup_created(place(200), 1, path, Timestamp::now());
        let second = registry.top(place(200)).unwrap();
        assert_ne!(first, second);
        let departed: Vec<_> =
            registry.take_ended().iter().map(|tracked| tracked.instance.id).collect();
        assert_eq!(departed, [first]);
    }

    #[test]
    fn what_is_made_in_a_plain_cgroup_is_looked_for_and_in_a_container_it_is_not() {
        let root = tempfile::tempdir().unwrap();
        let mut registry = following(Follow::All, root.path());
        let top = place(fs::metadata(root.path()).unwrap().ino());
        assert!(registry.owner_of(top).is_some(), "the root is followed while it is empty");
        registry.walk();
        assert!(!registry.needs_walk());
        registry.cgroup_created(
            place(100),
            top.cgroup_id,
            Some("/plain".to_owned()),
            Timestamp::now(),
        );
        assert!(registry.needs_walk());

        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("docker").join(ID);
        fs::create_dir_all(&directory).unwrap();
        let mut registry = following(Follow::All, root.path());
        let container = fs::metadata(&directory).unwrap().ino();
        assert!(registry.owner_of(place(container)).is_some());
        let path = Some(format!("/docker/{ID}/child"));
        registry.cgroup_created(place(201), container, path, Timestamp::now());
        assert!(!registry.needs_walk());
    }

    #[test]
    fn the_end_of_the_last_container_does_not_change_what_is_followed_unless_that_is_asked_for() {
        let service = "system.slice/ssh.service";
        for (follow, left) in [
            (Follow::Containers, vec![]),
            (Follow::ContainersOrFallback, vec!["/".to_owned() + service]),
        ] {
            let root = tempfile::tempdir().unwrap();
            let container = root.path().join("docker").join(ID);
            for directory in
                [root.path().join(service), root.path().join("plain"), container.clone()]
            {
                fs::create_dir_all(directory).unwrap();
            }
            let mut registry = following(follow, root.path());
            let paths = |registry: &Registry| -> Vec<String> {
                registry.tracked().map(|tracked| tracked.instance.path.clone()).collect()
            };
            assert_eq!(paths(&registry), [format!("/docker/{ID}")], "{follow:?}");
            fs::remove_dir(&container).unwrap();
            registry.walk();
            assert_eq!(paths(&registry), left, "{follow:?}");
        }
    }

    #[test]
    fn a_path_too_long_for_an_event_asks_for_a_walk() {
        let root = tempfile::tempdir().unwrap();
        let mut registry = registry(root.path());
        assert!(!registry.needs_walk());
        registry.cgroup_created(place(100), 1, None, Timestamp::now());
        assert!(registry.needs_walk());
    }
}
