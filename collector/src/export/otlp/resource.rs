//! Resources: their attributes, by the semantic conventions, and since when they exist.

use jiff::Timestamp;
use tare_model::{Container, Kind};

use crate::export::{
    messages::opentelemetry::proto::common::v1::{AnyValue, KeyValue, any_value::Value},
    subject::{Row, Subject},
};

/// Since when totals count: the start of the container, or, where our programs count and are
/// younger, theirs.
pub(super) fn start(subject: &Subject<'_>, family: &str) -> Option<Timestamp> {
    let container = match subject.row {
        Row::Container(container) => container,
        Row::Ended(ended) => &ended.container,
        Row::Tare(started_at) => return Some(started_at),
        Row::Host | Row::Parent => return None,
    };
    let since = match family {
        "block" => container.block.since,
        "network_sockets" | "network_tcp" => {
            container.network.sockets.as_ref().and_then(|it| it.since)
        }
        _ => None,
    };
    since.or(container.started_at).or(container.startup.exec_at).or(container.startup.made_at)
}

/// The attributes of a resource. Receivers distinguish resources by `service.instance.id`.
pub(super) fn resource(subject: &Subject<'_>) -> Vec<KeyValue> {
    let mut all = Vec::new();
    let mut add = |key: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            all.push(attribute(key, value));
        }
    };
    for (name, value) in subject.sink_labels {
        add(name, Some(value));
    }
    let host = subject.sink_labels.iter().find(|(name, _)| name == "host.name");
    let host = host.map_or("", |(_, value)| value.as_str());
    let container = match subject.row {
        Row::Container(container) => Some(container),
        Row::Ended(ended) => Some(&ended.container),
        Row::Host | Row::Tare(_) | Row::Parent => None,
    };
    let Some(container) = container else {
        add("service.instance.id", Some(host));
        return all;
    };
    add_container(container, host, &mut add);
    all
}

fn add_container(container: &Container, host: &str, add: &mut impl FnMut(&str, Option<&str>)) {
    add("service.instance.id", Some(&format!("{}@{host}", container.id)));
    // The id of a service is the name of its unit.
    add("container.id", Some(container.id.as_str()).filter(|_| container.kind == Kind::Container));
    add("container.name", container.name.as_deref());
    let image = container.image.as_deref();
    add("container.image.name", image.map(without_tag));
    add("container.runtime.name", container.runtime.as_deref());
    add("tare.cgroup", Some(&container.cgroup));
    for (name, value) in &container.labels {
        add(&format!("container.label.{name}"), Some(value));
    }
    if let Some(pod) = &container.pod {
        add("k8s.pod.uid", pod.uid.as_deref());
        add("k8s.pod.name", pod.name.as_deref());
        add("k8s.namespace.name", pod.namespace.as_deref());
        add("k8s.container.name", pod.container.as_deref());
    }
}

/// `registry:5000/name:tag` without the tag.
fn without_tag(image: &str) -> &str {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

/// An attribute.
pub(super) fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_may_have_a_port_and_no_tag() {
        assert_eq!(without_tag("nginx:1.2"), "nginx");
        assert_eq!(without_tag("host:5000/nginx"), "host:5000/nginx");
        assert_eq!(without_tag("nginx"), "nginx");
    }
}
