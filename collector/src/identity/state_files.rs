//! Files that runtimes keep on disk, read while their APIs do not answer. The formats are private
//! to the runtimes, so anything unexpected counts as unknown.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    client::Inspection,
    docker::{DockerClient, InspectResponse},
    filter::MetadataFilter,
    metadata::{Metadata, PodMetadata},
    sockets::{RuntimeApi, RuntimeGroup},
};

const DOCKER_CONFIG: &str = "/etc/docker/daemon.json";
const DOCKER_ROOT: &str = "/var/lib/docker";
const PODMAN_CONTAINERS: &str = "/var/lib/containers/storage/overlay-containers/containers.json";

/// The kubelet's directory of links to logs, named after pods and containers.
const POD_LOGS: &str = "/var/log/containers";

/// Larger files are not read.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Most entries of [`POD_LOGS`] that are looked at.
const MAX_LOGS: usize = 16_384;

/// The state files of one runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StateFiles {
    /// None are known.
    None,
    /// Docker's `containers/ID/config.v2.json`.
    Docker,
    /// Podman's `containers.json`.
    Podman,
    /// The kubelet's links to logs.
    Kubernetes,
}

impl StateFiles {
    pub(super) fn of(group: RuntimeGroup) -> Self {
        match (group.api, group.user) {
            (_, Some(_)) => Self::None,
            (RuntimeApi::Docker, None) => Self::Docker,
            (RuntimeApi::Podman, None) => Self::Podman,
            (RuntimeApi::Containerd | RuntimeApi::CriO, None) => Self::Kubernetes,
        }
    }

    /// What the files say about each of these containers. Blocks on the disk.
    pub(super) fn read(self, ids: &[String], filter: &MetadataFilter) -> Vec<Option<Inspection>> {
        let each =
            |find: &dyn Fn(&str) -> Option<Inspection>| ids.iter().map(|id| find(id)).collect();
        match self {
            Self::None => Vec::new(),
            Self::Docker => {
                let root = read(Path::new(DOCKER_CONFIG)).and_then(|text| docker_root(&text));
                let containers = root.unwrap_or_else(|| DOCKER_ROOT.into()).join("containers");
                if !containers.is_dir() {
                    return Vec::new();
                }
                let config = |id: &str| read(&containers.join(id).join("config.v2.json"));
                each(&|id| parse_docker(&config(id)?, filter))
            }
            Self::Podman => {
                let text = read(Path::new(PODMAN_CONTAINERS)).unwrap_or_default();
                each(&|id| parse_podman(&text, id))
            }
            Self::Kubernetes => {
                let links = fs::read_dir(POD_LOGS).into_iter().flatten().take(MAX_LOGS);
                let names = links.flatten().filter_map(|link| link.file_name().into_string().ok());
                let names: Vec<_> = names.collect();
                each(&|id| names.iter().find_map(|name| parse_log_name(name, id)))
            }
        }
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let length = fs::metadata(path).ok()?.len();
    (length <= MAX_FILE_BYTES).then(|| fs::read(path).ok()).flatten()
}

/// `data-root` of Docker's configuration.
fn docker_root(text: &[u8]) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "data-root")]
        data_root: Option<PathBuf>,
    }
    serde_json::from_slice::<Config>(text).ok()?.data_root
}

/// Docker's file of a container, which its daemon writes at every change of state.
fn parse_docker(text: &[u8], filter: &MetadataFilter) -> Option<Inspection> {
    let container: InspectResponse = serde_json::from_slice(text).ok()?;
    let inspection = DockerClient::from_inspect(container, filter)?;
    Some(Inspection { complete: false, ..inspection })
}

#[derive(Deserialize)]
struct StoredContainer {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    /// JSON of its own.
    metadata: Option<String>,
}

#[derive(Deserialize)]
struct StoredMetadata {
    #[serde(rename = "image-name")]
    image: Option<String>,
}

/// The list of containers in the store that Podman and CRI-O share.
fn parse_podman(text: &[u8], id: &str) -> Option<Inspection> {
    let all: Vec<StoredContainer> = serde_json::from_slice(text).ok()?;
    let StoredContainer { names, metadata, .. } = all.into_iter().find(|stored| stored.id == id)?;
    let stored: Option<StoredMetadata> = metadata.and_then(|text| serde_json::from_str(&text).ok());
    let metadata = Metadata {
        name: names.into_iter().next()?,
        image: stored.and_then(|stored| stored.image).filter(|image| !image.is_empty()),
        ..Metadata::default()
    };
    Some(Inspection { metadata, ..Inspection::default() })
}

/// `POD_NAMESPACE_CONTAINER-ID.log`.
fn parse_log_name(file: &str, id: &str) -> Option<Inspection> {
    let rest = file.strip_suffix(".log")?.strip_suffix(id)?.strip_suffix('-')?;
    let mut parts = rest.splitn(3, '_');
    let mut part = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
    let (name, namespace, container) = (part()?, part()?, part()?);
    let metadata = Metadata {
        name: container.clone(),
        pod: Some(PodMetadata {
            uid: None,
            name: Some(name),
            namespace: Some(namespace),
            container: Some(container),
        }),
        // Sandboxes have no logs.
        sandbox: Some(false),
        ..Metadata::default()
    };
    Some(Inspection { metadata, ..Inspection::default() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::metadata::Health;

    const ID: &str = "3f4e1b2a9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f";

    #[test]
    fn dockers_file_has_what_an_inspection_has() {
        let text = br#"{"Name":"/web","RestartCount":1,"Config":{"Image":"nginx",
            "Labels":{"com.docker.compose.project":"shop"}},
            "State":{"Running":false,"StartedAt":"2026-01-16T13:55:22Z",
            "FinishedAt":"2026-01-16T13:55:23Z","ExitCode":137,"OOMKilled":true,
            "Health":{"Status":"unhealthy"}}}"#;
        let inspection = parse_docker(text, &MetadataFilter::default()).unwrap();
        let metadata = inspection.metadata;
        assert_eq!((metadata.name.as_str(), metadata.image.as_deref()), ("web", Some("nginx")));
        assert_eq!((metadata.restart_count, metadata.health), (Some(1), Some(Health::Unhealthy)));
        assert_eq!(metadata.compose.unwrap().project, "shop");
        assert_eq!(inspection.exit_status.unwrap().exit_code, Some(137));
        assert!(!inspection.complete);
        let root = docker_root(br#"{"data-root":"/srv/docker","debug":true}"#);
        assert_eq!(root.as_deref(), Some(Path::new("/srv/docker")));
        assert_eq!(docker_root(b"{}"), None);
    }

    #[test]
    fn podmans_store_has_names_and_images() {
        let text = br#"[{"id":"x","names":["other"]},{"id":"aaa","names":["web"],
            "metadata":"{\"image-name\":\"localhost/nginx:1\",\"name\":\"web\"}"}]"#;
        let metadata = parse_podman(text, "aaa").unwrap().metadata;
        assert_eq!(
            (metadata.name.as_str(), metadata.image.as_deref()),
            ("web", Some("localhost/nginx:1"))
        );
        assert_eq!(parse_podman(text, "zzz"), None);
    }

    #[test]
    fn names_of_log_links_have_pod_namespace_and_container() {
        let inspection = parse_log_name(&format!("web-0_shop_app-{ID}.log"), ID).unwrap();
        let pod = inspection.metadata.pod.unwrap();
        assert_eq!((pod.name.as_deref(), pod.namespace.as_deref()), (Some("web-0"), Some("shop")));
        assert_eq!(inspection.metadata.name, "app");
        for file in ["web-0_shop_app.log", "-.log", "web_app-x.log", ".log"] {
            assert_eq!(parse_log_name(file, ID), None, "{file}");
        }
    }

    proptest! {
        #[test]
        fn parsers_take_any_input(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            name in "\\PC*",
        ) {
            let _ = parse_docker(&bytes, &MetadataFilter::default());
            let _ = parse_podman(&bytes, ID);
            let _ = docker_root(&bytes);
            let _ = parse_log_name(&name, ID);
        }
    }
}
