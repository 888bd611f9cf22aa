//! The phases of a sample that read files.

use std::{
    collections::{HashSet, hash_map::Entry},
    sync::Arc,
};

use crate::{
    cgroup::{ReadError, first_pid},
    families::{Place, ReadContext, Readers},
    host::{HostFiles, HostUsage},
    network::SocketStatesReader,
    registry::{InstanceId, Registry},
    sample::{Sample, Usage, walk::Walked},
};

/// Reads the host's own files; what could not be read is unknown.
pub(super) fn read_host(
    host: &mut HostFiles,
    buffer: &mut Vec<u8>,
    usage: &mut HostUsage,
) -> Vec<ReadError> {
    match host.read_host(buffer) {
        Ok(read) => {
            *usage = read;
            Vec::new()
        }
        Err(error) => vec![error],
    }
}

/// Reads the files of all cgroups, family by family. A cgroup that was removed meanwhile leaves
/// the sample; the next walk reaps it.
pub(super) fn read_cgroups(
    registry: &mut Registry,
    context: &mut ReadContext<'_>,
    usages: &mut Vec<Usage>,
) -> Vec<ReadError> {
    let mut failed = FailedReads::default();
    for (usage, tracked) in usages.iter_mut().zip(registry.tracked()) {
        if let Some(readers) = &tracked.readers {
            readers.begin(&mut usage.readings);
        }
    }
    for step in Readers::STEPS {
        for (usage, tracked) in usages.iter_mut().zip(registry.tracked_mut()) {
            let Some(readers) = &mut tracked.readers else { continue };
            // No other sample holds it since it was begun.
            let Some(readings) = Arc::get_mut(&mut usage.readings) else { continue };
            failed.add(usage.instance.id, step(readers, context, readings));
        }
    }
    for (usage, tracked) in usages.iter().zip(registry.tracked_mut()) {
        if let Some(readers) = &mut tracked.readers {
            readers.keep(&usage.readings, None);
        }
    }
    failed.remove_vanished(usages)
}

/// The same where cgroups are walked, cgroup by cgroup. One whose record is missing is read from
/// files; without a walk all are. One whose record is the same as before keeps its readings.
pub(super) fn read_walked_cgroups(
    registry: &mut Registry,
    mut walked: Option<&mut Walked<'_>>,
    context: &mut ReadContext<'_>,
    usages: &mut Vec<Usage>,
) -> Vec<ReadError> {
    let mut failed = FailedReads::default();
    let (hierarchies, Some(layout), living) = registry.parts_mut() else { return Vec::new() };
    for (usage, tracked) in usages.iter_mut().zip(living) {
        let is_young = tracked.is_young();
        let Some(readers) = &mut tracked.readers else { continue };
        let ids = *readers.ids();
        let place = Place { hierarchies, path: &tracked.instance.path, layout, ids, is_young };
        let walked = walked.as_mut().and_then(|walked| walked.of(&place));
        let mut context = context.of_cgroup(Some(place), walked);
        let id = usage.instance.id;
        readers.read_all(&mut context, &mut usage.readings, |error| failed.add(id, Err(error)));
    }
    failed.remove_vanished(usages)
}

/// What went wrong when cgroups were read.
#[derive(Default)]
struct FailedReads {
    errors: Vec<ReadError>,
    vanished: HashSet<InstanceId>,
}

impl FailedReads {
    fn add(&mut self, id: InstanceId, read: Result<(), ReadError>) {
        match read {
            Ok(()) => {}
            Err(ReadError::Vanished) => drop(self.vanished.insert(id)),
            Err(error) => self.errors.push(error),
        }
    }

    /// Removes the cgroups that have vanished; returns the other errors.
    fn remove_vanished(self, usages: &mut Vec<Usage>) -> Vec<ReadError> {
        if !self.vanished.is_empty() {
            usages.retain(|usage| !self.vanished.contains(&usage.instance.id));
        }
        self.errors
    }
}

/// Reads the sockets of those network namespaces that are due, through a process of any instance in
/// them. Those of the host belong to no container.
pub(super) fn read_socket_states(
    registry: &Registry,
    reader: &mut SocketStatesReader,
    sample: &mut Sample,
) -> Vec<ReadError> {
    let Sample { usages, host_namespace, .. } = &*sample;
    let in_use = usages.iter().filter_map(|usage| usage.namespace);
    let errors = reader.refresh(in_use.filter(|id| Some(*id) != *host_namespace), |id| {
        let mut members = usages.iter().filter(|usage| usage.namespace == Some(id));
        members.find_map(|usage| first_pid(registry.hierarchies(), &usage.instance.path).ok()?)
    });
    sample.socket_states.clone_from(reader.latest());
    errors
}

/// Gives each usage what its runtime has told of its writable layer.
pub(super) fn take_writable_layers(registry: &Registry, usages: &mut [Usage]) {
    let tables = registry.resolver().writable_layers();
    let tables: Vec<_> = tables.iter().filter(|table| !table.is_empty()).collect();
    for usage in usages {
        let id = usage.instance.identity.as_ref().map(|identity| &*identity.id);
        let layer = id.and_then(|id| tables.iter().find_map(|table| table.get(id)).copied());
        match (&mut usage.writable_layer, layer) {
            (Some(place), Some(layer)) => **place = layer,
            (place, layer) => *place = layer.map(Box::new),
        }
    }
}

/// Reads the devices of each network namespace once.
pub(super) fn read_namespaces(
    registry: &mut Registry,
    buffer: &mut Vec<u8>,
    sample: &mut Sample,
) -> Vec<ReadError> {
    let mut errors = Vec::new();
    // First, because the memory of devices that no sample holds is used again.
    sample.namespaces.clear();
    for namespace in sample.usages.iter().filter_map(|usage| usage.namespace) {
        if let Entry::Vacant(entry) = sample.namespaces.entry(namespace) {
            match registry.namespaces_mut().latest(namespace, buffer) {
                Ok(interfaces) => drop(entry.insert(interfaces)),
                Err(error) => errors.push(error),
            }
        }
    }
    errors
}
