//! The Kubernetes Container Runtime Interface, `runtime.v1` over gRPC: containerd and CRI-O.
//!
//! containerd also runs containers that its CRI does not know, those of `ctr` and nerdctl: it is
//! asked for them in its own language.

mod messages;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::uri::PathAndQuery;
use jiff::Timestamp;
use prost::Message;
use serde::Deserialize;
use tokio::time;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use self::messages::{
    Container, ContainerFilter, ContainerState, ContainerStatus, ContainerStatusRequest,
    ContainerStatusResponse, Empty, GetContainerRequest, GetContainerResponse,
    ListContainersRequest, ListContainersResponse, ListNamespacesResponse, ListPodSandboxResponse,
    PodSandboxMetadata, PodSandboxStatusRequest, PodSandboxStatusResponse,
};
use super::asker::{CALL_TIMEOUT, Source, innermost};
use super::book::{News, Told};
use super::{ExitStatus, Metadata, MetadataFilter, PodMetadata};

/// What an answer may hold, as the kubelet allows it.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Namespaces of containerd that are looked into.
const MAX_NAMESPACES: usize = 32;

/// A server of CRI. The connection stays open, and is made anew when it breaks.
pub(super) struct Cri {
    grpc: Grpc<Channel>,
    socket: PathBuf,
    allowed: Arc<MetadataFilter>,
}

impl Source for Cri {
    const SOCKET: &'static str = "CRI";

    async fn connect(
        socket: &Path,
        allowed: &Arc<MetadataFilter>,
    ) -> Result<(Self, Vec<(String, Metadata)>), String> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))
            .map_err(|error| innermost(socket, &error))?
            .connect_timeout(CALL_TIMEOUT);
        let channel = endpoint.connect().await.map_err(|error| innermost(socket, &error))?;
        let grpc = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        let mut cri = Self { grpc, socket: socket.to_owned(), allowed: Arc::clone(allowed) };
        let listed = cri.list().await.map_err(|status| cri.reason(&status))?;
        Ok((cri, listed))
    }

    async fn inspect(&mut self, id: &str) -> Result<Option<Told>, String> {
        let told = match self.container(id).await {
            Ok(None) => match self.sandbox(id).await {
                Ok(None) => self.native(id).await,
                told => told,
            },
            told => told,
        };
        told.map_err(|status| self.reason(&status))
    }

    async fn news(&mut self) -> Result<News, String> {
        // containerd has told events through CRI since 1.7 only; births come from the kernel.
        std::future::pending().await
    }
}

impl Cri {
    /// The names of all containers, in two calls.
    async fn list(&mut self) -> Result<Vec<(String, Metadata)>, Status> {
        let sandboxes: Option<ListPodSandboxResponse> =
            self.runtime("ListPodSandbox", Empty {}).await?;
        let containers: Option<ListContainersResponse> =
            self.runtime("ListContainers", ListContainersRequest::default()).await?;
        let mut pods = HashMap::new();
        let mut listed = Vec::new();
        for sandbox in sandboxes.unwrap_or_default().items {
            let metadata = sandbox.metadata.unwrap_or_default();
            let details = sandbox_details(&metadata, sandbox.labels, &self.allowed);
            pods.insert(sandbox.id.clone(), metadata);
            listed.push((sandbox.id, details));
        }
        for container in containers.unwrap_or_default().containers {
            let Container { id, pod_sandbox_id, metadata, image, labels } = container;
            let metadata = metadata.unwrap_or_default();
            let image = image.map(|image| image.image);
            let mut details = container_details(metadata.name, image, labels, &self.allowed);
            if let Some(pod) = pods.get(&pod_sandbox_id) {
                place(&mut details, pod);
            }
            listed.push((id, details));
        }
        Ok(listed)
    }

    async fn container(&mut self, id: &str) -> Result<Option<Told>, Status> {
        // The environment is in what a server tells besides.
        let verbose = !self.allowed.environment.is_empty();
        let request = ContainerStatusRequest { container_id: id.to_owned(), verbose };
        let response: Option<ContainerStatusResponse> =
            self.runtime("ContainerStatus", request).await?;
        let ContainerStatusResponse { status, info } = response.unwrap_or_default();
        let Some(status) = status else { return Ok(None) };
        let mut told = from_status(status, &self.allowed);
        if let Some(info) = info.get("info") {
            told.details.take_environment(environment_of_info(info.as_bytes()), &self.allowed);
        }
        // The kubelet labels its containers with their pods; others do not.
        if told.details.pod.as_ref().is_none_or(|pod| pod.name.is_none())
            && let Some(pod) = self.pod_of(id).await?
        {
            place(&mut told.details, &pod);
        }
        Ok(Some(told))
    }

    /// The pod that a container is in.
    async fn pod_of(&mut self, id: &str) -> Result<Option<PodSandboxMetadata>, Status> {
        let filter = Some(ContainerFilter { id: id.to_owned() });
        let listed: Option<ListContainersResponse> =
            self.runtime("ListContainers", ListContainersRequest { filter }).await?;
        let container = listed.and_then(|listed| listed.containers.into_iter().next());
        let Some(container) = container else { return Ok(None) };
        let sandbox = self.sandbox_status(&container.pod_sandbox_id).await?;
        Ok(sandbox.and_then(|response| response.status).and_then(|status| status.metadata))
    }

    async fn sandbox(&mut self, id: &str) -> Result<Option<Told>, Status> {
        let response = self.sandbox_status(id).await?;
        let Some(status) = response.and_then(|response| response.status) else { return Ok(None) };
        let metadata = status.metadata.unwrap_or_default();
        let mut details = sandbox_details(&metadata, status.labels, &self.allowed);
        details.started_at = time_of(status.created_at);
        Ok(Some(Told { details, complete: true, end: None }))
    }

    async fn sandbox_status(
        &mut self,
        id: &str,
    ) -> Result<Option<PodSandboxStatusResponse>, Status> {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        self.runtime("PodSandboxStatus", request).await
    }

    /// What containerd itself knows, in whichever of its namespaces.
    async fn native(&mut self, id: &str) -> Result<Option<Told>, Status> {
        const NAMESPACES: &str = "/containerd.services.namespaces.v1.Namespaces/List";
        const CONTAINER: &str = "/containerd.services.containers.v1.Containers/Get";
        let namespaces: Option<ListNamespacesResponse> =
            self.call(NAMESPACES, None, Empty {}).await?;
        for namespace in namespaces.unwrap_or_default().namespaces.iter().take(MAX_NAMESPACES) {
            let request = GetContainerRequest { id: id.to_owned() };
            let response: Option<GetContainerResponse> =
                self.call(CONTAINER, Some(&namespace.name), request).await?;
            if let Some(container) = response.and_then(|response| response.container) {
                return Ok(from_native(container, &self.allowed));
            }
        }
        Ok(None)
    }

    async fn runtime<Q, A>(&mut self, method: &str, request: Q) -> Result<Option<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        self.call(&format!("/runtime.v1.RuntimeService/{method}"), None, request).await
    }

    /// The answer; `None` if the server does not know what was asked for, or the question.
    async fn call<Q, A>(
        &mut self,
        path: &str,
        namespace: Option<&str>,
        request: Q,
    ) -> Result<Option<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let path: PathAndQuery = path.parse().map_err(|_| Status::internal("no path"))?;
        let mut request = Request::new(request);
        if let Some(namespace) = namespace.and_then(|name| name.parse().ok()) {
            request.metadata_mut().insert("containerd-namespace", namespace);
        }
        let answer = async {
            self.grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
            self.grpc.unary(request, path, ProstCodec::<Q, A>::default()).await
        };
        let late = |_| Err(Status::deadline_exceeded("no answer in time"));
        match time::timeout(CALL_TIMEOUT, answer).await.unwrap_or_else(late) {
            Ok(response) => Ok(Some(response.into_inner())),
            Err(status) if is_ignorance(&status) => {
                tracing::debug!("{} does not know: {status}", self.socket.display());
                Ok(None)
            }
            Err(status) => Err(status),
        }
    }

    fn reason(&self, status: &Status) -> String {
        if std::error::Error::source(status).is_some() {
            return innermost(&self.socket, status);
        }
        let words: Vec<_> = status.message().split_whitespace().collect();
        format!("{}: {}", self.socket.display(), words.join(" "))
    }
}

/// Whether the server is well and only has no answer. containerd's CRI calls what it does not find
/// `NotFound`, or `Unknown` with these words; a containerd without CRI has no such method.
fn is_ignorance(status: &Status) -> bool {
    match status.code() {
        Code::NotFound | Code::Unimplemented => true,
        Code::Unknown => status.message().contains("not found"),
        _ => false,
    }
}

fn from_status(status: ContainerStatus, allowed: &MetadataFilter) -> Told {
    let state = status.state();
    let metadata = status.metadata.unwrap_or_default();
    let image = status.image.map(|image| image.image);
    let mut details = container_details(metadata.name, image, status.labels, allowed);
    details.started_at = time_of(status.started_at);
    details.restart_count = Some(metadata.attempt.into());
    let end = (state == ContainerState::Exited).then(|| time_of(status.finished_at)).flatten();
    let end = end.map(|at| ExitStatus {
        at,
        exit_code: Some(status.exit_code.into()),
        oom_killed: Some(status.reason == "OOMKilled"),
    });
    // Before its start there is more to come.
    Told { complete: details.started_at.is_some(), details, end }
}

/// `None` for what CRI is just making: it will tell more of it in a moment.
fn from_native(container: messages::NativeContainer, allowed: &MetadataFilter) -> Option<Told> {
    if container.labels.contains_key("io.cri-containerd.kind") {
        return None;
    }
    let name = container.labels.get("nerdctl/name").filter(|name| !name.is_empty());
    let mut details = Metadata {
        name: name.unwrap_or(&container.id).clone(),
        image: Some(container.image).filter(|image| !image.is_empty()),
        sandbox: Some(false),
        ..Metadata::default()
    };
    details.take_labels(container.labels, allowed);
    if let Some(spec) = container.spec.filter(|_| !allowed.environment.is_empty()) {
        details.take_environment(environment_of_spec(&spec.value), allowed);
    }
    Some(Told { details, complete: true, end: None })
}

/// A container's OCI specification, as far as it is wanted.
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

/// The variables in an OCI specification; none in anything else.
fn environment_of_spec(json: &[u8]) -> Vec<String> {
    serde_json::from_slice::<Spec>(json).unwrap_or_default().process.env
}

/// The variables in what containerd and CRI-O tell besides; its form is theirs to change.
fn environment_of_info(json: &[u8]) -> Vec<String> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Info {
        runtime_spec: Spec,
    }
    serde_json::from_slice::<Info>(json).unwrap_or_default().runtime_spec.process.env
}

fn container_details(
    name: String,
    image: Option<String>,
    labels: HashMap<String, String>,
    allowed: &MetadataFilter,
) -> Metadata {
    let mut details = Metadata {
        name,
        image: image.filter(|image| !image.is_empty()),
        sandbox: Some(false),
        ..Metadata::default()
    };
    details.take_labels(labels, allowed);
    let pod = details.pod.get_or_insert_default();
    pod.container.get_or_insert_with(|| details.name.clone());
    details
}

fn sandbox_details(
    metadata: &PodSandboxMetadata,
    labels: HashMap<String, String>,
    allowed: &MetadataFilter,
) -> Metadata {
    let mut details = Metadata { name: metadata.name.clone(), ..Metadata::default() };
    details.take_labels(labels, allowed);
    details.sandbox = Some(true);
    place(&mut details, metadata);
    details
}

/// Puts a container into its pod.
fn place(details: &mut Metadata, metadata: &PodSandboxMetadata) {
    let PodSandboxMetadata { name, uid, namespace } = metadata;
    let container = details.pod.take().and_then(|pod| pod.container);
    let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    details.pod = Some(PodMetadata {
        uid: known(uid),
        name: known(name),
        namespace: known(namespace),
        container,
    });
}

/// Nanoseconds since 1970; 0 is never.
fn time_of(nanoseconds: i64) -> Option<Timestamp> {
    let time = Timestamp::from_nanosecond(nanoseconds.into()).ok()?;
    (nanoseconds > 0).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_becomes_details_and_an_end() {
        let status = ContainerStatus {
            metadata: Some(messages::ContainerMetadata { name: "app".to_owned(), attempt: 2 }),
            state: ContainerState::Exited.into(),
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
        let told = from_status(status, &MetadataFilter::default());
        let pod = told.details.pod.unwrap();
        assert_eq!((pod.name.as_deref(), pod.container.as_deref()), (Some("web-0"), Some("app")));
        assert_eq!((told.details.restart_count, told.details.sandbox), (Some(2), Some(false)));
        assert!(told.details.labels.is_empty());
        let end = told.end.unwrap();
        assert_eq!((end.exit_code, end.oom_killed), (Some(137), Some(true)));
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
    fn never_is_no_time() {
        assert_eq!((time_of(0), time_of(-1)), (None, None));
        assert!(time_of(i64::MAX).is_some());
    }
}
