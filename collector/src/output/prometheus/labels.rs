//! The labels that tell containers apart, and which container a network namespace counts for.

use std::{collections::HashSet, ops::Range};

use crate::{
    model::{Compose, Container, NamespaceId, Network, Pod},
    output::prometheus::{Exposition, LabelSet, Options, protobuf::Label},
};

/// The labels of every row and the brace before them, written once: every family uses them.
pub(super) struct Labels {
    exposition: Exposition,
    text: Vec<u8>,
    of: Vec<Range<usize>>,
}

impl Labels {
    /// Those of nobody, to be written so.
    pub(super) fn new(exposition: Exposition) -> Self {
        Self { exposition, text: Vec::new(), of: Vec::new() }
    }

    /// Writes the labels of one more row, whose number this is.
    pub(super) fn add(&mut self, container: &Container, options: &Options) -> u32 {
        let start = self.text.len();
        if self.exposition == Exposition::Protobuf {
            for_each_label(container, options, |name, value| {
                Label::new(name, value).write(&mut self.text);
            });
        } else {
            self.text.push(b'{');
            let mut first = true;
            for_each_label(container, options, |name, value| {
                write_label(&mut self.text, &mut first, name, value);
            });
        }
        self.of.push(start..self.text.len());
        (self.of.len() - 1) as u32
    }

    /// The labels of a row, none of one that was not added.
    pub(super) fn get(&self, row: u32) -> &[u8] {
        self.of.get(row as usize).and_then(|range| self.text.get(range.clone())).unwrap_or_default()
    }
}

/// Writes `name="value"`, after a comma unless it is the first.
pub(super) fn write_label(out: &mut Vec<u8>, first: &mut bool, name: &str, value: &str) {
    if !std::mem::take(first) {
        out.push(b',');
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    if value.bytes().all(|byte| !matches!(byte, b'\\' | b'"' | b'\n')) {
        out.extend_from_slice(value.as_bytes());
    } else {
        value.bytes().for_each(|byte| write_escaped(out, byte));
    }
    out.push(b'"');
}

fn write_escaped(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'"' => out.extend_from_slice(b"\\\""),
        b'\n' => out.extend_from_slice(b"\\n"),
        byte => out.push(byte),
    }
}

/// What decides whether the devices of its network namespace count as a container's own.
#[derive(Clone, Copy)]
pub(super) struct Place {
    namespace: Option<NamespaceId>,
    is_sandbox: bool,
    cgroup_id: Option<u64>,
}

impl Place {
    pub(super) fn of(container: &Container) -> Self {
        let Network { namespace, host_namespace, .. } = container.network;
        let is_sandbox = container.sandbox == Some(true);
        // What passes through the host's own devices is nobody's.
        let namespace = namespace.filter(|_| host_namespace != Some(true));
        Self { namespace, is_sandbox, cgroup_id: container.cgroup_id }
    }

    /// Whether they may count as its own.
    pub(super) fn may_own(self) -> bool {
        self.namespace.is_some()
    }
}

/// For each container, whether the devices of its network namespace count as its own: one in each
/// namespace, the pod's sandbox or else the oldest, and nobody in the host's. `docker run --network
/// container:…` and pods share a namespace, and sums must count its devices once.
///
/// Ids of cgroups grow (`fs/kernfs/dir.c`, `__kernfs_new_node`), and whoever made the namespace was
/// there before those who joined it.
pub(super) fn network_owners(places: &[Place]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|index| {
        let Place { is_sandbox, cgroup_id, .. } = places[*index];
        (!is_sandbox, cgroup_id.is_none(), cgroup_id)
    });
    let mut taken = HashSet::new();
    let mut owners = vec![false; places.len()];
    for index in order {
        owners[index] = places[index].namespace.is_some_and(|namespace| taken.insert(namespace));
    }
    owners
}

fn for_each_label(container: &Container, options: &Options, mut write: impl FnMut(&str, &str)) {
    let pod = |field: fn(&Pod) -> &Option<String>| {
        container.pod.as_ref().and_then(|pod| field(pod).as_deref()).unwrap_or_default()
    };
    let in_kubelet = options.label_set == LabelSet::Kubelet;
    if in_kubelet {
        write("container", pod(|pod| &pod.container));
    }
    write("id", &container.cgroup);
    write("image", container.image.as_deref().unwrap_or_default());
    write("name", container.name.as_deref().unwrap_or_default());
    if in_kubelet {
        write("namespace", pod(|pod| &pod.namespace));
        write("pod", pod(|pod| &pod.name));
    }
    let compose = container.compose.as_ref().filter(|_| !in_kubelet).into_iter();
    let compose = compose.flat_map(|Compose { project, service }| {
        let service = service.as_ref().map(|service| ("com.docker.compose.service", service));
        [Some(("com.docker.compose.project", project)), service].into_iter().flatten()
    });
    let labels = container.labels.iter().map(|(name, value)| (name.as_str(), value));
    let mut written = HashSet::new();
    for (name, value) in compose.chain(labels) {
        let name = sanitised(name);
        // Two names may become the same one; a label may be there once.
        if !written.contains(&name) {
            write(&name, value);
            written.insert(name);
        }
    }
}

/// As cAdvisor names them: what may not be in a label's name becomes an underscore.
fn sanitised(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    "container_label_".chars().chain(name.chars().map(allowed)).collect()
}
