//! What a runtime knows about a container, the same for every runtime.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::filter::MetadataFilter;

/// What a runtime knows about a container. `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Metadata {
    /// The container's name; in a pod, its name within the pod; for a sandbox, the pod's name.
    pub name: String,
    /// The image reference that the container was created from.
    pub image: Option<String>,
    /// The labels that the [`MetadataFilter`] lets through.
    pub labels: BTreeMap<String, String>,
    /// The environment variables that the [`MetadataFilter`] lets through, as configured at
    /// creation.
    pub environment: BTreeMap<String, String>,
    /// The Docker Compose project and service.
    pub compose: Option<Compose>,
    /// The pod, from CRI or from labels of the kubelet.
    pub pod: Option<PodMetadata>,
    /// When the container was created.
    #[serde(default, with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub created_at: Option<Timestamp>,
    /// The id of the image (Docker, Podman).
    pub image_id: Option<String>,
    /// The program and its arguments, as configured at creation (Docker, Podman).
    pub command: Vec<String>,
    /// The network mode that the container was created with (Docker, Podman).
    pub network_mode: Option<String>,
    /// When the first process last started.
    #[serde(default, with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub started_at: Option<Timestamp>,
    /// How often a restart policy has started the container again (Docker, Podman), or the attempt
    /// number of the container within its pod (CRI).
    pub restart_count: Option<u64>,
    /// The last result of the health check; `None` also without a health check.
    pub health: Option<Health>,
    /// Whether this is a sandbox (pause) container, which only holds a pod's namespaces.
    pub sandbox: Option<bool>,
}

/// The Docker Compose project and service of a container.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Compose {
    /// The project.
    pub project: String,
    /// The service within the project.
    pub service: Option<String>,
}

/// What Kubernetes calls a container and its pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct PodMetadata {
    /// The pod's uid.
    pub uid: Option<String>,
    /// The pod's name.
    pub name: Option<String>,
    /// The pod's namespace.
    pub namespace: Option<String>,
    /// The container's name within the pod; `None` for a sandbox.
    pub container: Option<String>,
}

/// The result of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// No result yet.
    Starting,
    /// The last check passed.
    Healthy,
    /// The last checks failed, as often as configured.
    Unhealthy,
}

/// What a container has written to its root, apart from volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct WritableLayer {
    /// When the runtime counted it.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::required")]
    pub read_at: Timestamp,
    /// The space that it takes.
    pub used_bytes: u64,
    /// The inodes that it takes; `None` if the runtime does not tell.
    pub inodes_used: Option<u64>,
}

/// How one run of a container ended, according to its runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ExitStatus {
    /// When the first process exited.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::required")]
    pub exited_at: Timestamp,
    /// The exit code of the first process; 128 plus the signal number after a fatal signal.
    pub exit_code: Option<i64>,
    /// Whether the runtime saw an OOM kill in the container.
    pub oom_killed: Option<bool>,
}

impl Health {
    /// The word that Docker and the reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// Parses Docker's word; `None` for `none` and for anything unknown.
    pub(super) fn parse(word: &str) -> Option<Self> {
        [Self::Starting, Self::Healthy, Self::Unhealthy]
            .into_iter()
            .find(|health| health.as_str() == word)
    }
}

impl Metadata {
    /// Sets Compose project, pod and sandbox from well-known labels, and keeps the labels that the
    /// filter lets through.
    pub(super) fn set_labels<K, V>(
        &mut self,
        labels: impl IntoIterator<Item = (K, V)>,
        filter: &MetadataFilter,
    ) where
        K: AsRef<str> + Into<String>,
        V: Into<String>,
    {
        let mut pod = PodMetadata::default();
        let (mut project, mut service) = (None, None);
        for (key, value) in labels {
            let value = value.into();
            let field = match key.as_ref() {
                "com.docker.compose.project" | "io.podman.compose.project" => &mut project,
                "com.docker.compose.service" => &mut service,
                "io.kubernetes.pod.uid" => &mut pod.uid,
                "io.kubernetes.pod.name" => &mut pod.name,
                "io.kubernetes.pod.namespace" => &mut pod.namespace,
                "io.kubernetes.container.name" => &mut pod.container,
                // Set by the kubelet with Docker, by containerd's CRI plugin, and by CRI-O.
                "io.kubernetes.docker.type"
                | "io.cri-containerd.kind"
                | "io.kubernetes.cri-o.ContainerType" => {
                    self.sandbox = Some(matches!(value.as_str(), "podsandbox" | "sandbox"));
                    &mut None
                }
                _ => &mut None,
            };
            if !value.is_empty() {
                *field = Some(value.clone());
            }
            if filter.labels.matches(key.as_ref()) {
                self.labels.insert(key.into(), value);
            }
        }
        self.compose = project.map(|project| Compose { project, service });
        if self.sandbox == Some(true) {
            pod.container = None;
        }
        if pod != PodMetadata::default() {
            self.pod = Some(pod);
        }
    }

    /// Keeps the environment variables (`NAME=VALUE`) that the filter lets through. If a name
    /// occurs twice, the last value wins.
    pub(super) fn set_environment<S: AsRef<str>>(
        &mut self,
        variables: impl IntoIterator<Item = S>,
        filter: &MetadataFilter,
    ) {
        for variable in variables {
            if let Some((name, value)) = variable.as_ref().split_once('=')
                && filter.environment.matches(name)
            {
                self.environment.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::KeyFilter;

    fn with_labels(labels: &[(&str, &str)], allowed: &[&str]) -> Metadata {
        let mut metadata = Metadata::default();
        let filter = MetadataFilter { labels: KeyFilter::new(allowed), ..Default::default() };
        metadata.set_labels(labels.iter().copied(), &filter);
        metadata
    }

    #[test]
    fn only_allowed_labels_are_published() {
        let labels = [("app", "web"), ("app.kubernetes.io/name", "x"), ("secret", "s")];
        let keys = |allowed: &[&str]| -> Vec<String> {
            with_labels(&labels, allowed).labels.into_keys().collect()
        };
        assert_eq!(keys(&[]), [""; 0]);
        assert_eq!(keys(&["app"]), ["app"]);
        assert_eq!(keys(&["app*"]), ["app", "app.kubernetes.io/name"]);
        assert_eq!(keys(&["*"]).len(), 3);
    }

    #[test]
    fn only_allowed_environment_variables_are_published() {
        let variables = ["ZONE=a", "TOKEN=s", "ZONE=b=c", "ZONES=x", "odd"];
        let published = |keys: &[&str]| {
            let filter = MetadataFilter { environment: KeyFilter::new(keys), ..Default::default() };
            let mut metadata = Metadata::default();
            metadata.set_environment(variables, &filter);
            let all = metadata.environment.into_iter();
            all.map(|(name, value)| format!("{name}={value}")).collect()
        };
        let none: Vec<String> = published(&[]);
        assert!(none.is_empty());
        assert_eq!(published(&["ZONE", "odd"]), ["ZONE=b=c"]);
        assert_eq!(published(&["ZONE*"]), ["ZONE=b=c", "ZONES=x"]);
    }

    #[test]
    fn compose_and_pod_labels_are_read_whatever_the_filter() {
        let compose =
            [("com.docker.compose.project", "shop"), ("com.docker.compose.service", "db")];
        let metadata = with_labels(&compose, &[]);
        let expected = Compose { project: "shop".to_owned(), service: Some("db".to_owned()) };
        assert_eq!((metadata.compose, metadata.pod), (Some(expected), None));

        let mut pod =
            vec![("io.kubernetes.pod.name", "web-0"), ("io.kubernetes.pod.namespace", "n")];
        pod.push(("io.kubernetes.container.name", "POD"));
        pod.push(("io.kubernetes.docker.type", "podsandbox"));
        let metadata = with_labels(&pod, &[]);
        let pod = metadata.pod.unwrap();
        assert_eq!((pod.name.as_deref(), pod.namespace.as_deref()), (Some("web-0"), Some("n")));
        assert_eq!((pod.container, pod.uid, metadata.sandbox), (None, None, Some(true)));
        assert!(metadata.labels.is_empty());
    }

    #[test]
    fn only_known_health_words_are_parsed() {
        assert_eq!(Health::parse("healthy"), Some(Health::Healthy));
        assert_eq!(Health::parse("none"), None);
    }
}
