//! What a member needs besides being known: open files, its network namespace, its name.

use crate::{
    cgroup::{self, CgroupFiles, Hierarchies, ReadError},
    identity::Names,
    network::{NamespaceId, Namespaces},
    registry::{Registry, Tracked, VISITS_BETWEEN_ATTEMPTS, YOUNG_VISITS, chain, faults::Faults},
};

impl Registry {
    /// Opens files, joins namespaces and asks for names, for those who need it; closes the
    /// namespaces that nobody needs.
    pub fn settle(&mut self) {
        self.settles += 1;
        let now = self.settles;
        // By then everyone has had another attempt.
        self.namespace_fault.take_if(|(at, _)| *at + VISITS_BETWEEN_ATTEMPTS <= now);
        let host = self.namespaces.host();
        for tracked in self.tracked.values_mut() {
            tracked.visits = tracked.visits.saturating_add(1);
            let young = tracked.visits <= YOUNG_VISITS;
            // The second time, for the directories that were not there the first time.
            if tracked.files.is_none() || tracked.visits == 2 {
                open(&self.hierarchies, tracked, &mut self.faults);
            }
            if let Some(files) = &mut tracked.files
                && files.io_charged_to().is_some()
                && let Err(error) = files.reopen_io(&self.hierarchies, &tracked.member.path)
            {
                self.faults.tell(&error);
            }
            let at_home = tracked.namespace.is_some() && tracked.namespace != host;
            // Each at another visit.
            let turn = (now + tracked.member.serial.0).is_multiple_of(VISITS_BETWEEN_ATTEMPTS);
            if young || (turn && !at_home) {
                match join(&self.hierarchies, &mut self.namespaces, &tracked.member.path) {
                    Ok(Some(namespace)) => tracked.namespace = Some(namespace),
                    Ok(None) | Err(ReadError::Vanished) => {}
                    Err(error) => self.namespace_fault = Some((now, chain(&error))),
                }
            }
            name(tracked, &mut self.names);
        }
        self.close_namespaces();
    }

    /// Takes the names that were told since they were asked for.
    pub fn name(&mut self) {
        self.tracked.values_mut().for_each(|tracked| name(tracked, &mut self.names));
    }

    /// Closes the network namespaces that nobody needs: an open one does not go.
    pub fn close_namespaces(&mut self) {
        self.joined.clear();
        self.joined.extend(self.tracked.values().filter_map(|tracked| tracked.namespace));
        self.namespaces.retain(|namespace| self.joined.contains(&namespace));
    }
}

pub(super) fn open(hierarchies: &Hierarchies, tracked: &mut Tracked, faults: &mut Faults) {
    match CgroupFiles::open(hierarchies, &tracked.member.path) {
        Ok(mut files) => {
            if let Some(former) = &tracked.files {
                files.succeed(former);
            }
            tracked.files = Some(files);
        }
        Err(error) => faults.tell(&error),
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
pub(super) fn name(tracked: &mut Tracked, names: &mut Names) {
    if let Some(identity) = &tracked.member.identity
        && let Some(details) = names.ask(identity)
    {
        tracked.details = Some(details);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, process};

    use super::*;
    use crate::{
        cgroup::find_hierarchies,
        identity::{AllowedLabels, Socket, Sockets},
        registry::Follow,
    };

    #[test]
    fn who_was_empty_for_long_is_looked_at_again() {
        let tree = tempfile::tempdir().unwrap();
        let directory = tree.path().join("docker").join("a".repeat(64));
        fs::create_dir_all(&directory).unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "pids\n").unwrap();
        fs::write(directory.join("cgroup.procs"), "").unwrap();
        let proc = Path::new("/proc");
        let hierarchies = find_hierarchies(proc, Some(tree.path())).unwrap();
        let sockets = Sockets { docker: Socket::Off, podman: Socket::Off, cri: Socket::Off };
        let names = Names::new(sockets, AllowedLabels::default());
        let namespaces = Namespaces::new(proc);
        let mut registry = Registry::new(hierarchies, None, Follow::Containers, namespaces, names);
        registry.walk();
        let mut settle = || {
            registry.settle();
            registry.tracked().all(|tracked| tracked.namespace.is_some())
        };
        assert!((0..50).all(|_| !settle()), "nobody is there");
        fs::write(directory.join("cgroup.procs"), process::id().to_string()).unwrap();
        let visits = (1..).find(|_| settle()).unwrap_or(u64::MAX);
        assert!((2..=VISITS_BETWEEN_ATTEMPTS).contains(&visits), "after {visits} visits");
    }
}
