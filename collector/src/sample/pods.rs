//! The cgroups of pods. They hold more than their containers that are alive, such as containers
//! that ended before and volumes in memory, so their CPU time and memory are read, too.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    cgroup::ReadError,
    families::{Place, ReadContext, Readers},
    identity::pod_cgroup,
    registry::{Instance, InstanceId, Registry},
    sample::{Usage, walk::Walked},
};

/// The pods of the containers that are alive.
#[derive(Debug, Default)]
pub(super) struct Pods {
    /// The state of the registry that they were found in.
    found_in: Option<(u64, usize)>,
    /// In the order of their paths.
    pods: Vec<Pod>,
}

#[derive(Debug)]
struct Pod {
    instance: Arc<Instance>,
    readers: Readers,
    /// Whether some of its directories may have been missing when its files were opened.
    is_young: bool,
}

impl Pods {
    /// Opens the files of pods that have a first container, and closes those of pods that have none
    /// any more.
    pub(super) fn follow(&mut self, registry: &mut Registry) {
        for pod in self.pods.iter_mut().filter(|pod| pod.is_young) {
            pod.is_young = false;
            match open(registry, &pod.instance.path) {
                Ok(mut readers) => {
                    readers.succeed(&mut pod.readers);
                    pod.readers = readers;
                }
                Err(error) => registry.report(&error),
            }
        }
        let generation = registry.generation();
        if self.found_in.replace(generation) == Some(generation) {
            return;
        }
        let living = registry.tracked().map(|tracked| &*tracked.instance);
        let containers = living.filter(|instance| instance.is_container());
        let paths: BTreeSet<String> = containers
            .filter_map(|instance| pod_cgroup(&instance.path))
            .map(str::to_owned)
            .collect();
        let mut former = std::mem::take(&mut self.pods).into_iter().peekable();
        for path in paths {
            // Both are sorted.
            while former.next_if(|pod| pod.instance.path < path).is_some() {}
            match former.next_if(|pod| pod.instance.path == path) {
                Some(pod) => self.pods.push(pod),
                None => match open(registry, &path) {
                    Ok(readers) => {
                        self.pods.push(Pod { instance: instance(path), readers, is_young: true });
                    }
                    Err(error) => registry.report(&error),
                },
            }
        }
    }

    /// Reads all of them into `usages`, which keeps its memory; what could not be read is unknown.
    pub(super) fn read(
        &mut self,
        registry: &Registry,
        mut walked: Option<&mut Walked<'_>>,
        context: &mut ReadContext<'_>,
        usages: &mut Vec<Usage>,
    ) -> Vec<ReadError> {
        let mut errors = Vec::new();
        usages.truncate(self.pods.len());
        for (at, Pod { instance, readers, is_young }) in self.pods.iter_mut().enumerate() {
            if !usages.get(at).is_some_and(|usage| Arc::ptr_eq(&usage.instance, instance)) {
                usages.truncate(at);
                usages.push(Usage::of_nothing(Arc::clone(instance)));
            }
            let shared = &mut usages[at].readings;
            let (hierarchies, layout) = (registry.hierarchies(), registry.walk_layout());
            let place = Place::of(readers, hierarchies, &instance.path, layout, *is_young);
            let walked = walked.as_mut().and_then(|walked| walked.of(&place?));
            let mut context = context.of_cgroup(place, walked);
            let mut fault = None;
            readers.read_all(&mut context, shared, |error| _ = fault.get_or_insert(error));
            if let Some(error) = fault {
                *shared = Arc::default();
                // A pod ends a moment after its last container.
                if !matches!(error, ReadError::Vanished) {
                    errors.push(error);
                }
            }
        }
        errors
    }
}

fn open(registry: &Registry, path: &str) -> Result<Readers, ReadError> {
    Readers::open_cpu_and_memory(registry.hierarchies(), path, registry.walk_layout())
}

/// The instance of a pod's cgroup.
fn instance(path: String) -> Arc<Instance> {
    let id = InstanceId(u64::MAX);
    Instance { id, identity: None, path, cgroup_id: None, preexisting: true }.into()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Instant};

    use super::*;
    use crate::{
        cgroup::find_hierarchies,
        identity::{MetadataFilter, MetadataResolver, RuntimeSockets, Socket},
        network::Namespaces,
        registry::Follow,
    };

    fn registry(root: &Path) -> Registry {
        let hierarchies = find_hierarchies(root, Some(root)).unwrap();
        let off = || Socket::Off;
        let sockets = RuntimeSockets { docker: off(), podman: off(), cri: off() };
        let names = MetadataResolver::new(sockets, MetadataFilter::default());
        Registry::new(hierarchies, None, Follow::Containers, Namespaces::new(root), names)
    }

    #[test]
    fn pods_come_and_go_with_their_containers() {
        let root = tempfile::tempdir().unwrap();
        let pod =
            |number: u32| format!("/kubepods/pod8a1c7f0e-5b3d-4c2a-9e6f-0d1b2c3a4f{number:02}");
        let start = |number: u32, container: u32| {
            let place = root.path().join(&pod(number)[1..]);
            fs::create_dir_all(place.join(format!("{container:064x}"))).unwrap();
            fs::write(place.join("cpu.stat"), format!("usage_usec {number}\n")).unwrap();
        };
        fs::write(root.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        start(2, 1);
        start(2, 2);
        start(3, 3);
        let (mut registry, mut pods) = (registry(root.path()), Pods::default());
        let (mut usages, mut buffer) = (Vec::new(), Vec::new());
        let mut read = |registry: &mut Registry| {
            registry.walk();
            pods.follow(registry);
            let mut context = ReadContext::new(Instant::now(), &mut buffer);
            let errors = pods.read(registry, None, &mut context, &mut usages);
            assert_eq!(errors.len(), 0, "{errors:?}");
            let read =
                |usage: &Usage| (usage.instance.path.clone(), usage.readings.cpu.usage_nanoseconds);
            usages.iter().map(read).collect::<Vec<_>>()
        };
        let expected = |number: u32| (pod(number), Some(u64::from(number) * 1000));
        assert_eq!(read(&mut registry), [expected(2), expected(3)]);
        // Its directories are being made still.
        start(1, 4);
        let file = root.path().join(&pod(1)[1..]).join("cpu.stat");
        fs::remove_file(&file).unwrap();
        assert_eq!(read(&mut registry), [(pod(1), None), expected(2), expected(3)]);
        fs::write(&file, "usage_usec 1\n").unwrap();
        assert_eq!(read(&mut registry), [expected(1), expected(2), expected(3)]);
        fs::remove_dir_all(root.path().join(&pod(2)[1..])).unwrap();
        assert_eq!(read(&mut registry), [expected(1), expected(3)]);
    }
}
