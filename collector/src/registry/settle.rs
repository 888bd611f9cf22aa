//! What a new instance needs: open files, its network namespace, its name.

use std::{
    iter::Peekable,
    mem,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    cgroup::{self, Hierarchies, ReadError},
    families::{ReadContext, Readers, walked::WalkLayout},
    identity::MetadataResolver,
    network::{NamespaceId, Namespaces},
    reason::Reason,
    registry::{
        InstanceId, Registry, TrackedCgroup, VISITS_BETWEEN_ATTEMPTS, VISITS_BETWEEN_CHECKS,
        YOUNG_VISITS, chain,
    },
};

/// The most threads that open files. They contend for the kernel's locks of one file system.
const OPENERS_MAX: usize = 4;

/// Names that are missing are requested again after this time, unless runtimes tell something new.
const NAMING_INTERVAL: Duration = Duration::from_secs(5);

/// Instances that are worth a thread: starting one takes about as long as opening the files of
/// one instance.
const MEMBERS_PER_OPENER: usize = 16;

impl TrackedCgroup {
    /// Whether it was found a moment ago, and not at the start: it may end at any moment.
    pub fn is_young(&self) -> bool {
        self.visits <= YOUNG_VISITS && !self.instance.preexisting
    }

    /// Its processes are in this network namespace; whether they were in another one, or none was
    /// known.
    pub(super) fn enter(&mut self, namespace: NamespaceId) -> bool {
        self.namespace.replace(namespace) != Some(namespace)
    }
}

impl Registry {
    /// Opens only those files from now on that a walk does not spare.
    pub fn spare_walked_files(&mut self, layout: Option<Arc<WalkLayout>>) {
        self.walk = layout;
    }

    /// What a walk has of the cgroups, if there is one.
    pub fn walk_layout(&self) -> Option<&WalkLayout> {
        self.walk.as_deref()
    }

    /// The hierarchies, what is walked of them, and the instances that are alive, to be read.
    pub fn parts_mut(
        &mut self,
    ) -> (&Hierarchies, Option<&WalkLayout>, impl Iterator<Item = &mut TrackedCgroup>) {
        let tracked = self.tracked.values_mut().map(|tracked| &mut **tracked);
        (&self.hierarchies, self.walk.as_deref(), tracked)
    }

    /// The same with one instance.
    pub fn part_mut(
        &mut self,
        id: InstanceId,
    ) -> (&Hierarchies, Option<&WalkLayout>, Option<&mut TrackedCgroup>) {
        let tracked = self.tracked.get_mut(&id).map(|tracked| &mut **tracked);
        (&self.hierarchies, self.walk.as_deref(), tracked)
    }

    /// Requests names, opens files and finds namespaces where they are missing; closes namespaces
    /// that are not used any more.
    pub fn settle(&mut self) {
        self.settles += 1;
        let now = self.settles;
        // By then every instance has had another attempt.
        self.namespace_fault.take_if(|(at, _)| *at + VISITS_BETWEEN_ATTEMPTS <= now);
        // First, because answers take time.
        self.name();
        self.expire_updated();
        self.open_files();
        self.look_at_some(now);
        if mem::take(&mut self.has_left) {
            self.close_namespaces();
        }
    }

    /// Looks at those instances that may have changed, and at some of the others, by turns. An
    /// instance that nothing is wanted of is not touched: its memory has cooled down by now.
    fn look_at_some(&mut self, now: u64) {
        let restless = mem::take(&mut self.restless);
        let mut restless = restless.iter().peekable();
        let host = self.namespaces.host();
        for (id, tracked) in &mut self.tracked {
            let is_restless = is_next(&mut restless, id);
            // Spread over the visits.
            let turn = |visits| (now + id.0).is_multiple_of(visits);
            if !is_restless && !turn(VISITS_BETWEEN_ATTEMPTS) {
                continue;
            }
            let young = tracked.visits <= YOUNG_VISITS;
            if let Some(files) = &mut tracked.readers
                && files.block_charged_to().is_some()
                && let Err(error) = files.reopen_block(&self.hierarchies, &tracked.instance.path)
            {
                self.faults.report(&error);
            }
            let between = match tracked.namespace {
                None => Some(VISITS_BETWEEN_ATTEMPTS),
                namespace if namespace == host => Some(VISITS_BETWEEN_CHECKS),
                Some(_) => None,
            };
            if young || between.is_some_and(turn) {
                match join(&self.hierarchies, &mut self.namespaces, &tracked.instance.path) {
                    Ok(Some(namespace)) => self.has_left |= tracked.enter(namespace),
                    Ok(None) | Err(ReadError::Vanished) => {}
                    Err(error) => {
                        let error = chain(&error).into();
                        self.namespace_fault = Some((now, Reason::NamespaceUnreadable { error }));
                    }
                }
            }
            let may_have_more = |files: &Option<Readers>| {
                files.as_ref().is_none_or(|f| f.block_charged_to().is_some())
            };
            if young || may_have_more(&tracked.readers) {
                self.restless.push(*id);
            }
        }
    }

    /// Expires what was read of instances that their runtime says it has changed.
    fn expire_updated(&mut self) {
        for id in self.resolver.take_changed_settings() {
            let tracked = self.by_name.get(&id).and_then(|id| self.tracked.get_mut(id));
            if let Some(files) = tracked.and_then(|tracked| tracked.readers.as_mut()) {
                files.expire();
            }
        }
    }

    /// Opens the files of new instances and reads their settings: most files of a new instance are
    /// opened for that.
    fn open_files(&mut self) {
        let Some(first) = self.restless.first() else { return };
        let mut unopened = Vec::new();
        let mut restless = self.restless.iter().peekable();
        for (id, tracked) in self.tracked.range_mut(first..) {
            if !is_next(&mut restless, id) {
                continue;
            }
            let tracked = &mut **tracked;
            tracked.visits = tracked.visits.saturating_add(1);
            // Again at the second visit, for directories that were not there at the first.
            if tracked.readers.is_none() || tracked.visits == 2 {
                unopened.push(tracked);
            }
        }
        if unopened.is_empty() {
            return;
        }
        let openers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let openers = openers.min(OPENERS_MAX).min(unopened.len() / MEMBERS_PER_OPENER);
        let queue = Mutex::new(unopened.into_iter());
        let walk = self.walk.as_deref();
        let open = || open_and_read(&self.hierarchies, walk, &queue);
        let mut faults = Vec::new();
        thread::scope(|scope| {
            // If no thread can be started, this one does it all.
            let start = |_| thread::Builder::new().spawn_scoped(scope, open).ok();
            let others: Vec<_> = (1..openers).filter_map(start).collect();
            faults = open();
            faults.extend(others.into_iter().flat_map(|opener| opener.join().unwrap_or_default()));
        });
        faults.iter().for_each(|fault| self.faults.report(fault));
    }

    /// Takes the names that have arrived since they were requested, and requests those that are
    /// missing.
    pub fn name(&mut self) {
        let changes = self.resolver.changes();
        let (now, last) = (Instant::now(), self.named);
        let is_due = |(at, seen)| seen != changes || now.duration_since(at) >= NAMING_INTERVAL;
        if last.is_none_or(is_due) {
            for tracked in self.tracked.values_mut() {
                name(tracked, &mut self.resolver);
            }
            self.named = Some((now, changes));
            return;
        }
        for id in &self.restless {
            if let Some(tracked) = self.tracked.get_mut(id)
                && tracked.visits == 0
            {
                name(tracked, &mut self.resolver);
            }
        }
    }

    /// Closes network namespaces that no instance is in: an open one stays alive.
    pub fn close_namespaces(&mut self) {
        self.joined.clear();
        self.joined.extend(self.tracked.values().filter_map(|tracked| tracked.namespace));
        self.namespaces.retain(|namespace| self.joined.contains(&namespace));
    }
}

/// Whether the next of these ids is this one. Both they and what is asked for are in order.
fn is_next<'a>(
    ids: &mut Peekable<impl Iterator<Item = &'a InstanceId>>,
    wanted: &'a InstanceId,
) -> bool {
    while ids.next_if(|id| *id < wanted).is_some() {}
    ids.next_if_eq(&wanted).is_some()
}

/// Opens the files of an instance; its counters do not fall below those of its former files.
pub(super) fn open<'a>(
    hierarchies: &Hierarchies,
    walk: Option<&WalkLayout>,
    tracked: &'a mut TrackedCgroup,
) -> Result<&'a mut Readers, ReadError> {
    let path = &tracked.instance.path;
    let mut files = match walk {
        Some(layout) if tracked.instance.preexisting => {
            Readers::open_beside_walk(hierarchies, path, layout)?
        }
        Some(layout) => Readers::open_young(hierarchies, path, layout)?,
        None => Readers::open(hierarchies, path)?,
    };
    if let Some(former) = &mut tracked.readers {
        files.succeed(former);
    }
    Ok(tracked.readers.insert(files))
}

/// Opens the files of instances and reads their settings until the queue is empty. Returns what
/// could not be opened or read.
fn open_and_read<'a>(
    hierarchies: &Hierarchies,
    walk: Option<&WalkLayout>,
    queue: &Mutex<impl Iterator<Item = &'a mut TrackedCgroup>>,
) -> Vec<ReadError> {
    let mut buffer = Vec::new();
    let mut faults = Vec::new();
    // Taking one out cannot stop half-way, so a poisoned lock is safe to use.
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    while let Some(tracked) = next() {
        let mut context = ReadContext::new(Instant::now(), &mut buffer);
        let read = open(hierarchies, walk, tracked)
            .and_then(|readers| readers.read_first_settings(&mut context));
        match read {
            // An instance that ended just now is found by the events or the next walk.
            Ok(()) | Err(ReadError::Vanished) => {}
            Err(fault) => faults.push(fault),
        }
    }
    faults
}

fn join(
    hierarchies: &Hierarchies,
    namespaces: &mut Namespaces,
    path: &str,
) -> Result<Option<NamespaceId>, ReadError> {
    match cgroup::first_pid(hierarchies, path)? {
        Some(pid) => namespaces.track(pid),
        None => Ok(None),
    }
}

/// Takes the metadata that has arrived by now, and requests it where it is missing.
pub(super) fn name(tracked: &mut TrackedCgroup, resolver: &mut MetadataResolver) {
    if let Some(identity) = &tracked.instance.identity
        && let Some(metadata) = resolver.get(identity)
    {
        tracked.metadata = Some(metadata);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, process};

    use super::*;
    use crate::{
        cgroup::{find_hierarchies, mounts::LegacyHierarchy},
        identity::{MetadataFilter, RuntimeSockets, Socket},
        kernel::SocketIds,
        registry::Follow,
    };

    fn registry(hierarchies: Hierarchies, socket_ids: Option<SocketIds>) -> Registry {
        let sockets = RuntimeSockets { docker: Socket::Off, podman: Socket::Off, cri: Socket::Off };
        let resolver = MetadataResolver::new(sockets, MetadataFilter::default());
        let namespaces = Namespaces::new(Path::new("/proc"));
        Registry::new(hierarchies, socket_ids, Follow::Containers, namespaces, resolver)
    }

    #[test]
    fn only_who_runs_something_is_missed_in_a_hierarchy() {
        let tree = tempfile::tempdir().unwrap();
        let blkio = tree.path().join("blkio");
        let hierarchies = Hierarchies {
            unified: Some(tree.path().join("unified")),
            legacy: vec![LegacyHierarchy {
                controllers: vec!["blkio".into()],
                path: blkio.clone(),
                id: None,
            }],
            ..Hierarchies::default()
        };
        let container = format!("docker/{}", "a".repeat(64));
        fs::create_dir_all(tree.path().join("unified")).unwrap();
        fs::create_dir_all(blkio.join(&container)).unwrap();
        let processes = blkio.join(&container).join("cgroup.procs");
        fs::write(&processes, "").unwrap();
        let mut registry = registry(hierarchies, Some(SocketIds::Unified));
        registry.walk();
        assert_eq!((registry.tracked().count(), registry.inseparable()), (1, 0), "it is empty");
        fs::write(&processes, "4711\n").unwrap();
        assert_eq!(registry.inseparable(), 1);
        fs::create_dir_all(tree.path().join("unified").join(&container)).unwrap();
        registry.walk();
        assert_eq!((registry.tracked().count(), registry.inseparable()), (1, 0), "it is in both");
    }

    #[test]
    fn an_instance_that_was_empty_for_long_is_looked_at_again() {
        let tree = tempfile::tempdir().unwrap();
        let directory = tree.path().join("docker").join("a".repeat(64));
        fs::create_dir_all(&directory).unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "pids\n").unwrap();
        fs::write(directory.join("cgroup.procs"), "").unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let mut registry = registry(hierarchies, None);
        registry.walk();
        let mut settle = || {
            registry.settle();
            registry.tracked().all(|tracked| tracked.namespace.is_some())
        };
        assert!((0..50).all(|_| !settle()), "no instance is there");
        fs::write(directory.join("cgroup.procs"), process::id().to_string()).unwrap();
        let visits = (1..).find(|_| settle()).unwrap_or(u64::MAX);
        assert!((2..=VISITS_BETWEEN_ATTEMPTS).contains(&visits), "after {visits} visits");
    }
}
