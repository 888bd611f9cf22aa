//! The labels that tell containers apart, and which container a network namespace counts for.

use std::{collections::HashSet, ops::Range};

use crate::{
    model::{Compose, Container, Pod},
    output::prometheus::{LabelSet, Options},
};

/// The labels of every row, written once: every family uses them.
pub(super) struct Labels {
    text: String,
    of: Vec<Range<usize>>,
}

impl Labels {
    pub(super) fn of<'a>(
        containers: impl Iterator<Item = &'a Container>,
        options: &Options,
    ) -> Self {
        let mut bytes = Vec::new();
        let of = containers
            .map(|container| {
                let start = bytes.len();
                write_labels(&mut bytes, container, options);
                start..bytes.len()
            })
            .collect();
        // Values are text, and escaping puts ASCII between whole characters.
        Self { text: String::from_utf8(bytes).unwrap_or_default(), of }
    }

    pub(super) fn get(&self, index: usize) -> &str {
        self.of.get(index).and_then(|range| self.text.get(range.clone())).unwrap_or_default()
    }
}

/// Writes `name="value"`, after a comma unless it is the first.
pub(super) fn write_label(out: &mut Vec<u8>, first: &mut bool, name: &str, value: &str) {
    if !std::mem::take(first) {
        out.push(b',');
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    for byte in value.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}

/// For each container, whether the devices of its network namespace count as its own: one in each
/// namespace, the pod's sandbox or else the first known, and nobody in the host's. `docker run
/// --network container:…` and pods share a namespace, and sums must count its devices once.
pub(super) fn network_owners(containers: &[Container]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..containers.len()).collect();
    order.sort_by_key(|index| containers[*index].sandbox != Some(true));
    let mut taken = HashSet::new();
    let mut owners = vec![false; containers.len()];
    for index in order {
        let network = &containers[index].network;
        let Some(namespace) = network.namespace else { continue };
        owners[index] = network.host_namespace != Some(true) && taken.insert(namespace);
    }
    owners
}

fn write_labels(out: &mut Vec<u8>, container: &Container, options: &Options) {
    let mut first = true;
    let mut write = |name: &str, value: &str| write_label(out, &mut first, name, value);
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
