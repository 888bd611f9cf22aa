//! What runtimes leave on disk, read while their daemons are away. The files are nobody's
//! interface, so whatever is not as expected is unknown.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::book::Told;
use super::engine::{bare, time_of};
use super::names::{RuntimeApi, RuntimeGroup};
use super::{ExitStatus, Health, Metadata, MetadataFilter, PodMetadata};

const DOCKER_CONFIG: &str = "/etc/docker/daemon.json";
const DOCKER_ROOT: &str = "/var/lib/docker";
const PODMAN_CONTAINERS: &str = "/var/lib/containers/storage/overlay-containers/containers.json";

/// The kubelet's directory of links to logs, named after pods and containers.
const POD_LOGS: &str = "/var/log/containers";

/// What a file may hold.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// MetadataResolver in [`POD_LOGS`] that are looked at.
const MAX_LOGS: usize = 16_384;

/// The files of one runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Disk {
    /// None that we know of.
    #[default]
    Nothing,
    /// `containers/ID/config.v2.json`.
    Docker,
    /// `containers.json`.
    Podman,
    /// Links to logs.
    Kubernetes,
}

impl Disk {
    pub(super) fn of(group: RuntimeGroup) -> Self {
        match (group.api, group.user) {
            (_, Some(_)) => Self::Nothing,
            (RuntimeApi::Docker, None) => Self::Docker,
            (RuntimeApi::Podman, None) => Self::Podman,
            (RuntimeApi::Containerd | RuntimeApi::CriO, None) => Self::Kubernetes,
        }
    }

    /// What the files tell about a container. Blocks.
    pub(super) fn read(self, id: &str, allowed: &MetadataFilter) -> Option<Told> {
        match self {
            Self::Nothing => None,
            Self::Docker => {
                let root = read(Path::new(DOCKER_CONFIG)).and_then(|text| docker_root(&text));
                let root = root.unwrap_or_else(|| DOCKER_ROOT.into());
                parse_docker(
                    &read(&root.join("containers").join(id).join("config.v2.json"))?,
                    allowed,
                )
            }
            Self::Podman => parse_podman(&read(Path::new(PODMAN_CONTAINERS))?, id),
            Self::Kubernetes => {
                let links = fs::read_dir(POD_LOGS).ok()?.take(MAX_LOGS);
                links.flatten().find_map(|link| parse_log_name(link.file_name().to_str()?, id))
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerContainer {
    name: String,
    restart_count: Option<u64>,
    config: DockerConfig,
    state: DockerState,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerConfig {
    image: Option<String>,
    labels: Option<HashMap<String, String>>,
    env: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerState {
    running: Option<bool>,
    started_at: Option<String>,
    finished_at: Option<String>,
    exit_code: Option<i64>,
    #[serde(rename = "OOMKilled")]
    oom_killed: Option<bool>,
    health: Option<DockerHealth>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerHealth {
    status: Option<String>,
}

/// Docker's own file of a container. The daemon writes it at every change of state.
fn parse_docker(text: &[u8], allowed: &MetadataFilter) -> Option<Told> {
    let container: DockerContainer = serde_json::from_slice(text).ok()?;
    let DockerContainer { name, restart_count, config, state } = container;
    let mut details = Metadata {
        name: bare(&name).to_owned(),
        image: config.image.filter(|image| !image.is_empty()),
        started_at: state.started_at.as_deref().and_then(time_of),
        restart_count,
        health: state.health.and_then(|health| Health::parse(&health.status?)),
        sandbox: Some(false),
        ..Metadata::default()
    };
    details.take_labels(config.labels.unwrap_or_default(), allowed);
    details.take_environment(config.env.unwrap_or_default(), allowed);
    let over = (state.running == Some(false)).then_some(state.finished_at).flatten();
    let end = over.as_deref().and_then(time_of).map(|at| ExitStatus {
        at,
        exit_code: state.exit_code,
        oom_killed: state.oom_killed,
    });
    Some(Told { details, complete: false, end })
}

#[derive(Deserialize)]
struct StoredContainer {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    metadata: Option<String>,
}

/// The list of containers in the store that Podman and CRI-O share.
fn parse_podman(text: &[u8], id: &str) -> Option<Told> {
    #[derive(Deserialize)]
    struct ImageMetadata {
        #[serde(rename = "image-name")]
        image: Option<String>,
    }
    let all: Vec<StoredContainer> = serde_json::from_slice(text).ok()?;
    let StoredContainer { names, metadata, .. } = all.into_iter().find(|stored| stored.id == id)?;
    let metadata: Option<ImageMetadata> =
        metadata.and_then(|text| serde_json::from_str(&text).ok());
    let details = Metadata {
        name: names.into_iter().next()?,
        image: metadata.and_then(|metadata| metadata.image).filter(|image| !image.is_empty()),
        ..Metadata::default()
    };
    Some(Told { details, complete: false, end: None })
}

/// `POD_NAMESPACE_CONTAINER-ID.log`.
fn parse_log_name(file: &str, id: &str) -> Option<Told> {
    let rest = file.strip_suffix(".log")?.strip_suffix(id)?.strip_suffix('-')?;
    let mut parts = rest.splitn(3, '_');
    let mut part = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
    let (name, namespace, container) = (part()?, part()?, part()?);
    let details = Metadata {
        name: container.clone(),
        pod: Some(PodMetadata {
            uid: None,
            name: Some(name),
            namespace: Some(namespace),
            container: Some(container),
        }),
        // A sandbox has no log.
        sandbox: Some(false),
        ..Metadata::default()
    };
    Some(Told { details, complete: false, end: None })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "3f4e1b2a9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f";

    #[test]
    fn dockers_file_has_what_an_inspection_has() {
        let text = br#"{"Name":"/web","RestartCount":1,"Config":{"Image":"nginx",
            "Labels":{"com.docker.compose.project":"shop"}},
            "State":{"Running":false,"StartedAt":"2026-01-16T13:55:22Z",
            "FinishedAt":"2026-01-16T13:55:23Z","ExitCode":137,"OOMKilled":true,
            "Health":{"Status":"unhealthy"}}}"#;
        let told = parse_docker(text, &MetadataFilter::default()).unwrap();
        let details = told.details;
        assert_eq!((details.name.as_str(), details.image.as_deref()), ("web", Some("nginx")));
        assert_eq!((details.restart_count, details.health), (Some(1), Some(Health::Unhealthy)));
        assert_eq!(details.compose.unwrap().project, "shop");
        assert_eq!(told.end.unwrap().exit_code, Some(137));
        assert!(!told.complete);
        let root = docker_root(br#"{"data-root":"/srv/docker","debug":true}"#);
        assert_eq!(root.as_deref(), Some(Path::new("/srv/docker")));
        assert_eq!(docker_root(b"{}"), None);
    }

    #[test]
    fn podmans_store_has_names_and_images() {
        let text = br#"[{"id":"x","names":["other"]},{"id":"aaa","names":["web"],
            "metadata":"{\"image-name\":\"localhost/nginx:1\",\"name\":\"web\"}"}]"#;
        let details = parse_podman(text, "aaa").unwrap().details;
        assert_eq!(
            (details.name.as_str(), details.image.as_deref()),
            ("web", Some("localhost/nginx:1"))
        );
        assert_eq!(parse_podman(text, "zzz"), None);
    }

    #[test]
    fn names_of_pod_logs() {
        let told = parse_log_name(&format!("web-0_shop_app-{ID}.log"), ID).unwrap();
        let pod = told.details.pod.unwrap();
        assert_eq!((pod.name.as_deref(), pod.namespace.as_deref()), (Some("web-0"), Some("shop")));
        assert_eq!(told.details.name, "app");
        for file in ["web-0_shop_app.log", "-.log", "web_app-x.log", ".log"] {
            assert_eq!(parse_log_name(file, ID), None, "{file}");
        }
    }

    proptest! {
        #[test]
        fn total(bytes in proptest::collection::vec(any::<u8>(), 0..200), name in "\\PC*") {
            let _ = parse_docker(&bytes, &MetadataFilter::default());
            let _ = parse_podman(&bytes, ID);
            let _ = docker_root(&bytes);
            let _ = parse_log_name(&name, ID);
        }
    }
}
