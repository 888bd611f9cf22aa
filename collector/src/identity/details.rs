//! What a runtime tells about a container, whichever runtime it is.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// What a runtime tells about a container. `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The name people gave it; in a pod its name there, for a sandbox the pod's.
    pub name: String,
    /// The image reference it was started from.
    pub image: Option<String>,
    /// The labels that [`MetadataFilter`] lets through.
    pub labels: BTreeMap<String, String>,
    /// The environment variables that it lets through, as its first process was given them.
    pub environment: BTreeMap<String, String>,
    /// Where Docker Compose put it.
    pub compose: Option<Compose>,
    /// Its place in Kubernetes, or in CRI at least.
    pub pod: Option<PodMetadata>,
    /// When its first process last started.
    pub started_at: Option<Timestamp>,
    /// How often its runtime started it again by itself (Docker, Podman), or which attempt of the
    /// pod's container it is (CRI).
    pub restart_count: Option<u64>,
    /// What its health check found last: `starting`, `healthy`, `unhealthy`.
    pub health: Option<Health>,
    /// Whether it only holds the namespaces of a pod.
    pub sandbox: Option<bool>,
}

/// Where Docker Compose put a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compose {
    /// The project.
    pub project: String,
    /// The service in it.
    pub service: Option<String>,
}

/// What Kubernetes calls a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodMetadata {
    /// The pod's uid.
    pub uid: Option<String>,
    /// The pod's name.
    pub name: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// The container's name in the pod; a sandbox has none.
    pub container: Option<String>,
}

/// What a health check found last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not yet.
    Starting,
    /// It works.
    Healthy,
    /// It does not.
    Unhealthy,
}

/// How one life of a container ended, as its runtime tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus {
    /// When.
    pub at: Timestamp,
    /// The first process's exit code; 128 and the signal's number if a signal ended it.
    pub exit_code: Option<i64>,
    /// Whether the runtime saw a process of it killed for want of memory.
    pub oom_killed: Option<bool>,
}

/// What is published of what people wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataFilter {
    /// Labels.
    pub labels: KeyFilter,
    /// Environment variables.
    pub environment: KeyFilter,
}

/// Which keys are published: whole ones, or their beginnings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFilter {
    keys: Vec<String>,
    prefixes: Vec<String>,
}

impl Health {
    /// Docker's word, as reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// From Docker's word; `none` and anything else is no finding.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Starting, Self::Healthy, Self::Unhealthy]
            .into_iter()
            .find(|health| health.as_str() == word)
    }
}

impl KeyFilter {
    /// From keys, of which those that end with `*` are beginnings.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Self {
        let mut allowed = Self::default();
        for pattern in patterns {
            match pattern.as_ref().strip_suffix('*') {
                Some(prefix) => allowed.prefixes.push(prefix.to_owned()),
                None => allowed.keys.push(pattern.as_ref().to_owned()),
            }
        }
        allowed
    }

    /// Allows one more.
    pub fn allow(&mut self, key: &str) {
        self.keys.push(key.to_owned());
    }

    /// Whether no key is.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.prefixes.is_empty()
    }

    fn allows(&self, key: &str) -> bool {
        self.keys.iter().any(|allowed| allowed == key)
            || self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }
}

impl Metadata {
    /// Takes over labels: those that identify to where they belong, and those that are allowed.
    pub fn take_labels<K, V>(
        &mut self,
        labels: impl IntoIterator<Item = (K, V)>,
        allowed: &MetadataFilter,
    ) where
        K: AsRef<str> + Into<String>,
        V: Into<String>,
    {
        let mut pod = PodMetadata::default();
        let (mut project, mut service) = (None, None);
        for (key, value) in labels {
            let value = value.into();
            let slot = match key.as_ref() {
                "com.docker.compose.project" | "io.podman.compose.project" => &mut project,
                "com.docker.compose.service" => &mut service,
                "io.kubernetes.pod.uid" => &mut pod.uid,
                "io.kubernetes.pod.name" => &mut pod.name,
                "io.kubernetes.pod.namespace" => &mut pod.namespace,
                "io.kubernetes.container.name" => &mut pod.container,
                // Of the kubelet with Docker, of containerd's CRI, of CRI-O.
                "io.kubernetes.docker.type"
                | "io.cri-containerd.kind"
                | "io.kubernetes.cri-o.ContainerType" => {
                    self.sandbox = Some(matches!(value.as_str(), "podsandbox" | "sandbox"));
                    &mut None
                }
                _ => &mut None,
            };
            if !value.is_empty() {
                *slot = Some(value.clone());
            }
            if allowed.labels.allows(key.as_ref()) {
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

    /// Takes over environment variables, each `NAME=VALUE`: those that are allowed. Of several with
    /// one name the last counts.
    pub fn take_environment<S: AsRef<str>>(
        &mut self,
        variables: impl IntoIterator<Item = S>,
        allowed: &MetadataFilter,
    ) {
        for variable in variables {
            if let Some((name, value)) = variable.as_ref().split_once('=')
                && allowed.environment.allows(name)
            {
                self.environment.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_labels(labels: &[(&str, &str)], allowed: &[&str]) -> Metadata {
        let mut details = Metadata::default();
        let labels_of =
            |keys| MetadataFilter { labels: KeyFilter::new(keys), ..MetadataFilter::default() };
        details.take_labels(labels.iter().copied(), &labels_of(allowed));
        details
    }

    #[test]
    fn labels_are_published_only_if_allowed() {
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
    fn variables_are_published_only_if_allowed() {
        let variables = ["ZONE=a", "TOKEN=s", "ZONE=b=c", "ZONES=x", "odd"];
        let taken = |keys: &[&str]| {
            let allowed =
                MetadataFilter { environment: KeyFilter::new(keys), ..MetadataFilter::default() };
            let mut details = Metadata::default();
            details.take_environment(variables, &allowed);
            details.environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
        };
        let none: Vec<String> = taken(&[]);
        assert!(none.is_empty());
        assert_eq!(taken(&["ZONE", "odd"]), ["ZONE=b=c"]);
        assert_eq!(taken(&["ZONE*"]), ["ZONE=b=c", "ZONES=x"]);
    }

    #[test]
    fn labels_that_identify_need_no_leave() {
        let compose =
            [("com.docker.compose.project", "shop"), ("com.docker.compose.service", "db")];
        let details = with_labels(&compose, &[]);
        let expected = Compose { project: "shop".to_owned(), service: Some("db".to_owned()) };
        assert_eq!((details.compose, details.pod), (Some(expected), None));

        let mut pod =
            vec![("io.kubernetes.pod.name", "web-0"), ("io.kubernetes.pod.namespace", "n")];
        pod.push(("io.kubernetes.container.name", "POD"));
        pod.push(("io.kubernetes.docker.type", "podsandbox"));
        let details = with_labels(&pod, &[]);
        let pod = details.pod.unwrap();
        assert_eq!((pod.name.as_deref(), pod.namespace.as_deref()), (Some("web-0"), Some("n")));
        assert_eq!((pod.container, pod.uid, details.sandbox), (None, None, Some(true)));
        assert!(details.labels.is_empty());
    }

    #[test]
    fn health_has_three_words() {
        assert_eq!(Health::parse("healthy"), Some(Health::Healthy));
        assert_eq!(Health::parse("none"), None);
    }
}
