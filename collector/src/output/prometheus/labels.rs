//! The labels that identify a container.

use std::collections::HashSet;

use tare_model::{Compose, Container, Pod};

use crate::output::prometheus::LabelSet;

/// Calls `write` with the name and the value of each label.
pub(crate) fn for_each_label(
    container: &Container,
    label_set: LabelSet,
    write: &mut dyn FnMut(&str, &str),
) {
    let pod = |field: fn(&Pod) -> &Option<String>| {
        container.pod.as_ref().and_then(|pod| field(pod).as_deref()).unwrap_or_default()
    };
    let is_kubelet = label_set == LabelSet::Kubelet;
    if is_kubelet {
        write("container", pod(|pod| &pod.container));
    }
    write("id", &container.cgroup);
    write("image", container.image.as_deref().unwrap_or_default());
    write("name", container.name.as_deref().unwrap_or_default());
    if is_kubelet {
        write("namespace", pod(|pod| &pod.namespace));
        write("pod", pod(|pod| &pod.name));
    }
    let compose = container.compose.as_ref().filter(|_| !is_kubelet).into_iter();
    let compose = compose.flat_map(|Compose { project, service }| {
        let service = service.as_ref().map(|service| ("com.docker.compose.service", service));
        [Some(("com.docker.compose.project", project)), service].into_iter().flatten()
    });
    let labels = container.labels.iter().map(|(name, value)| (name.as_str(), value));
    let mut written = HashSet::new();
    for (name, value) in compose.chain(labels) {
        let name = label_name(name);
        // Different names of the runtime may become the same label, which may be there once only.
        if !written.contains(&name) {
            write(&name, value);
            written.insert(name);
        }
    }
}

/// The name that cAdvisor gives to a runtime's label: a character that Prometheus does not allow
/// becomes an underscore.
fn label_name(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    "container_label_".chars().chain(name.chars().map(allowed)).collect()
}
