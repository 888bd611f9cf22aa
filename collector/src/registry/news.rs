//! What the kernel tells of births and deaths, taken over one by one.

use jiff::Timestamp;

use crate::{
    cgroup::Node,
    identity::{Kind, classify},
    registry::{
        OomKill, Registry, Serial, Startup, Tracked,
        settle::{name, open},
    },
};

/// The directory of a cgroup, as an event names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The kernel's number of the hierarchy.
    pub hierarchy: u32,
    /// Inode of the directory.
    pub cgroup_id: u64,
}

impl Registry {
    /// A cgroup was made. Who it is, if that is new; it is also told when a further directory of
    /// a known member was made.
    pub fn made(&mut self, place: Place, parent_id: u64, path: Option<String>, at: Timestamp) {
        let Some(index) = self.tree_of(place) else { return };
        let tree = &mut self.trees[index];
        tree.alive.insert(place.cgroup_id);
        let owner = tree.owners.get(&parent_id).copied();
        let Some(path) = path else {
            self.wanted.walk = true;
            return;
        };
        let container = owner
            .and_then(|owner| self.tracked.get(&owner))
            .is_some_and(|owner| owner.member.is_container());
        let identity = if container { None } else { classify(&path) };
        let serial = match identity {
            Some(identity) if self.wanted.wants(identity.kind) => {
                // The first container changes whom else to follow.
                self.wanted.walk |= self.wanted.services && identity.kind == Kind::Container;
                self.wanted.walk |= self.wanted.others;
                let node = Node { id: place.cgroup_id, path, parent: None };
                let serial = self.greet(index, &node, Some(identity));
                self.arrange(serial, at);
                serial
            }
            identity => {
                self.wanted.walk |= self.wanted.others && identity.is_none() && owner.is_none();
                let Some(owner) = owner else { return };
                owner
            }
        };
        self.trees[index].owners.insert(place.cgroup_id, serial);
    }

    /// A cgroup was removed. The member that ended with it, which is still known, so that its
    /// last counts can be read; [`Registry::part`] lets it go.
    pub fn removed(&mut self, place: Place) -> Option<Serial> {
        let index = self.tree_of(place)?;
        self.trees[index].alive.remove(&place.cgroup_id);
        let serial = self.top(place)?;
        // From here on the name is free for another life.
        self.by_name.retain(|_, named| *named != serial);
        Some(serial)
    }

    /// Lets a member go.
    pub fn part(&mut self, serial: Serial) -> Option<Tracked> {
        self.forget(serial)
    }

    /// The member whose topmost directory this is, in the hierarchy where it was found.
    pub fn top(&self, place: Place) -> Option<Serial> {
        let index = self.tree_of(place)?;
        let serial = *self.trees[index].owners.get(&place.cgroup_id)?;
        let tracked = self.tracked.get(&serial)?;
        (tracked.tree == index && tracked.inode == place.cgroup_id).then_some(serial)
    }

    /// The member that a cgroup belongs to.
    pub fn owner_of(&self, place: Place) -> Option<Serial> {
        self.trees[self.tree_of(place)?].owners.get(&place.cgroup_id).copied()
    }

    /// A process is in a member: all its directories are there by now, and the process tells its
    /// network namespace.
    pub fn inhabited(&mut self, serial: Serial, pid: u32) {
        let Some(tracked) = self.tracked.get_mut(&serial) else { return };
        if tracked.visits < 2 {
            open(&self.hierarchies, tracked, &mut self.faults);
        }
        // A process that ended by now is no fault, and neither is one that cannot be looked at:
        // the regular visits tell that.
        if let Ok(Some(namespace)) = self.namespaces.join(pid) {
            tracked.namespace = Some(namespace);
        }
    }

    /// A first sign of life; later ones do not count.
    pub fn sign_of_life(&mut self, serial: Serial, sign: impl FnOnce(&mut Startup)) {
        if let Some(tracked) = self.tracked.get_mut(&serial) {
            sign(&mut tracked.startup);
        }
    }

    /// The kernel kills a process of a member for want of memory.
    pub fn oom_killed(&mut self, serial: Serial, kill: OomKill) {
        if let Some(tracked) = self.tracked.get_mut(&serial) {
            tracked.oom_kill = Some(kill);
        }
    }

    /// Events were lost: only a walk tells what is there.
    pub fn lost_events(&mut self) {
        self.wanted.walk = true;
    }

    /// Prepares a member that was made just now for a short life.
    fn arrange(&mut self, serial: Serial, at: Timestamp) {
        if let Some(tracked) = self.tracked.get_mut(&serial) {
            tracked.startup.made_at.get_or_insert(at);
            open(&self.hierarchies, tracked, &mut self.faults);
            name(tracked, &self.names);
        }
    }

    fn tree_of(&self, place: Place) -> Option<usize> {
        self.trees.iter().position(|tree| tree.id == Some(place.hierarchy))
    }
}
