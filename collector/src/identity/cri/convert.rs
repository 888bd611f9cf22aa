//! Messages of CRI and containerd to metadata. Pure.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::messages::{
    containerd::services::containers::v1::Container,
    runtime::v1::{ContainerState, ContainerStats, ContainerStatus, PodSandboxMetadata},
};
use crate::identity::{
    client::Inspection,
    filter::MetadataFilter,
    metadata::{ExitStatus, Metadata, PodMetadata, WritableLayer},
};

/// A container of CRI.
pub(super) fn container(
    name: String,
    image: Option<String>,
    labels: HashMap<String, String>,
    filter: &MetadataFilter,
) -> Metadata {
    let mut metadata = Metadata {
        name,
        image: image.filter(|image| !image.is_empty()),
        sandbox: Some(false),
        ..Metadata::default()
    };
    metadata.set_labels(labels, filter);
    let pod = metadata.pod.get_or_insert_default();
    pod.container.get_or_insert_with(|| metadata.name.clone());
    metadata
}

/// A sandbox of CRI.
pub(super) fn sandbox(
    pod: &PodSandboxMetadata,
    labels: HashMap<String, String>,
    filter: &MetadataFilter,
) -> Metadata {
    let mut metadata = Metadata { name: pod.name.clone(), ..Metadata::default() };
    metadata.set_labels(labels, filter);
    metadata.sandbox = Some(true);
    set_pod(&mut metadata, pod);
    metadata
}

/// Sets the pod of a container, and keeps its name within the pod.
pub(super) fn set_pod(metadata: &mut Metadata, pod: &PodSandboxMetadata) {
    let container = metadata.pod.take().and_then(|pod| pod.container);
    let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    metadata.pod = Some(PodMetadata {
        uid: known(&pod.uid),
        name: known(&pod.name),
        namespace: known(&pod.namespace),
        container,
    });
}

/// The status of a container of CRI.
pub(super) fn status(status: ContainerStatus, filter: &MetadataFilter) -> Inspection {
    let state = status.state();
    let id = status.metadata.unwrap_or_default();
    let image = status.image.map(|image| image.image);
    let mut metadata = container(id.name, image, status.labels, filter);
    metadata.started_at = time(status.started_at);
    metadata.restart_count = Some(id.attempt.into());
    let exited_at =
        if state == ContainerState::ContainerExited { time(status.finished_at) } else { None };
    let exit_status = exited_at.map(|exited_at| ExitStatus {
        exited_at,
        exit_code: Some(status.exit_code.into()),
        oom_killed: Some(status.reason == "OOMKilled"),
    });
    Inspection { complete: metadata.started_at.is_some(), metadata, exit_status }
}

/// A container of containerd's own API; `None` for one of CRI, which will know more in a moment.
pub(super) fn container_outside_cri(
    container: Container,
    filter: &MetadataFilter,
) -> Option<Inspection> {
    if container.labels.contains_key("io.cri-containerd.kind") {
        return None;
    }
    let name = container.labels.get("nerdctl/name").filter(|name| !name.is_empty());
    let mut metadata = Metadata {
        name: name.unwrap_or(&container.id).clone(),
        image: Some(container.image).filter(|image| !image.is_empty()),
        sandbox: Some(false),
        ..Metadata::default()
    };
    metadata.set_labels(container.labels, filter);
    if let Some(spec) = container.spec.filter(|_| !filter.environment.is_empty()) {
        metadata.set_environment(environment_of_spec(&spec.value), filter);
    }
    Some(Inspection { metadata, complete: true, exit_status: None })
}

/// What a container has written, with its id; `None` before containerd has counted it.
pub(super) fn writable_layer(stats: ContainerStats) -> Option<(String, WritableLayer)> {
    let layer = stats.writable_layer?;
    let layer = WritableLayer {
        read_at: time(layer.timestamp)?,
        used_bytes: layer.used_bytes?.value,
        inodes_used: layer.inodes_used.map(|inodes| inodes.value),
    };
    Some((stats.attributes?.id, layer))
}

/// The environment in the verbose part of a status, whose form is up to containerd and CRI-O.
pub(super) fn environment_of_info(json: &[u8]) -> Vec<String> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Info {
        runtime_spec: Spec,
    }
    serde_json::from_slice::<Info>(json).unwrap_or_default().runtime_spec.process.env
}

/// Nanoseconds since 1970; 0 if it has not happened.
pub(super) fn time(nanoseconds: i64) -> Option<Timestamp> {
    let time = Timestamp::from_nanosecond(nanoseconds.into()).ok()?;
    (nanoseconds > 0).then_some(time)
}

/// An OCI runtime specification.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    process: Process,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Process {
    env: Vec<String>,
}

/// The environment in an OCI runtime specification; empty if it is anything else.
fn environment_of_spec(json: &[u8]) -> Vec<String> {
    serde_json::from_slice::<Spec>(json).unwrap_or_default().process.env
}

#[cfg(test)]
mod tests {
    use super::{
        super::messages::runtime::v1::{
            ContainerAttributes, ContainerMetadata, FilesystemUsage, UInt64Value,
        },
        *,
    };

    #[test]
    fn a_writable_layer_is_unknown_before_it_was_counted() {
        let stats = |usage: FilesystemUsage| ContainerStats {
            attributes: Some(ContainerAttributes { id: "abc".to_owned() }),
            writable_layer: Some(usage),
        };
        let usage = FilesystemUsage {
            timestamp: 1_700_000_000_000_000_000,
            used_bytes: Some(UInt64Value { value: 4096 }),
            inodes_used: Some(UInt64Value { value: 7 }),
        };
        let (id, layer) = writable_layer(stats(usage)).unwrap();
        assert_eq!((id.as_str(), layer.used_bytes, layer.inodes_used), ("abc", 4096, Some(7)));
        assert_eq!(writable_layer(stats(FilesystemUsage { timestamp: 0, ..usage })), None);
        assert_eq!(writable_layer(stats(FilesystemUsage { used_bytes: None, ..usage })), None);
        assert_eq!(writable_layer(ContainerStats::default()), None);
    }

    #[test]
    fn a_status_becomes_metadata_and_an_exit_status() {
        let message = ContainerStatus {
            metadata: Some(ContainerMetadata { name: "app".to_owned(), attempt: 2 }),
            state: ContainerState::ContainerExited.into(),
            started_at: 1_700_000_000_000_000_000,
            finished_at: 1_700_000_001_000_000_000,
            exit_code: 137,
            reason: "OOMKilled".to_owned(),
            labels: HashMap::from([
                ("io.kubernetes.pod.name".to_owned(), "web-0".to_owned()),
                ("team".to_owned(), "a".to_owned()),
            ]),
            ..ContainerStatus::default()
        };
        let Inspection { metadata, exit_status, .. } = status(message, &MetadataFilter::default());
        let pod = metadata.pod.unwrap();
        assert_eq!((pod.name.as_deref(), pod.container.as_deref()), (Some("web-0"), Some("app")));
        assert_eq!((metadata.restart_count, metadata.sandbox), (Some(2), Some(false)));
        assert!(metadata.labels.is_empty());
        let exit_status = exit_status.unwrap();
        assert_eq!((exit_status.exit_code, exit_status.oom_killed), (Some(137), Some(true)));
    }

    #[test]
    fn the_environment_is_in_the_specification() {
        let spec = r#"{"ociVersion": "1.1.0", "process": {"args": [], "env": ["A=1", "B=2"]}}"#;
        let info = format!(r#"{{"pid": 7, "runtimeSpec": {spec}}}"#);
        assert_eq!(environment_of_spec(spec.as_bytes()), ["A=1", "B=2"]);
        assert_eq!(environment_of_info(info.as_bytes()), ["A=1", "B=2"]);
        for other in ["", "{}", "null", r#"{"process": 1}"#, r#"{"runtimeSpec": null}"#] {
            assert!(environment_of_info(other.as_bytes()).is_empty(), "{other}");
            assert!(environment_of_spec(other.as_bytes()).is_empty(), "{other}");
        }
    }

    #[test]
    fn zero_and_negative_times_are_unknown() {
        assert_eq!((time(0), time(-1)), (None, None));
        assert!(time(i64::MAX).is_some());
    }
}
