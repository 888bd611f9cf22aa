//! The Kubernetes Container Runtime Interface (CRI), `runtime.v1` over gRPC: containerd and CRI-O.
//!
//! containerd also runs containers outside CRI, those of `ctr` and nerdctl. They are looked up in
//! containerd's own API on the same socket.

mod convert;
mod grpc;

// Generated: see `tests/protobuf`. The published crates, k8s-cri and containerd-client, run
// `protoc` at build time and need tonic.
#[allow(dead_code, unreachable_pub, clippy::doc_markdown, clippy::enum_variant_names)]
mod messages;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use prost::Message;

use self::{
    grpc::{GrpcClient, GrpcError},
    messages::{
        containerd::services::{
            containers::v1::{GetContainerRequest, GetContainerResponse},
            namespaces::v1::{ListNamespacesRequest, ListNamespacesResponse},
        },
        runtime::v1::{
            ContainerFilter, ContainerStatusRequest, ContainerStatusResponse,
            ListContainerStatsRequest, ListContainerStatsResponse, ListContainersRequest,
            ListContainersResponse, ListPodSandboxRequest, ListPodSandboxResponse,
            PodSandboxMetadata, PodSandboxStatusRequest, PodSandboxStatusResponse, VersionRequest,
            VersionResponse,
        },
    },
};
use super::{
    client::{Inspection, NotConnected, RuntimeClient, RuntimeEvent, describe},
    filter::MetadataFilter,
    metadata::{Metadata, WritableLayer},
};

/// Namespaces of containerd that are searched.
const MAX_NAMESPACES: usize = 32;

/// A client of a CRI server.
pub(super) struct CriClient {
    grpc: GrpcClient,
    socket: PathBuf,
    filter: Arc<MetadataFilter>,
}

impl RuntimeClient for CriClient {
    const NAME: &'static str = "CRI";

    async fn connect(
        socket: &Path,
        filter: &Arc<MetadataFilter>,
    ) -> Result<(Self, Vec<(String, Metadata)>), NotConnected> {
        let grpc = GrpcClient::connect(socket).await.map_err(|error| describe(socket, &error))?;
        let mut client = Self { grpc, socket: socket.to_owned(), filter: Arc::clone(filter) };
        let listed = client.list().await.map_err(|error| describe(socket, &error))?;
        Ok((client, listed))
    }

    async fn inspect(&mut self, id: &str) -> Result<Option<Inspection>, String> {
        let inspection = match self.container(id).await {
            Ok(None) => match self.sandbox(id).await {
                Ok(None) => self.container_outside_cri(id).await,
                sandbox => sandbox,
            },
            container => container,
        };
        inspection.map_err(|error| describe(&self.socket, &error))
    }

    async fn writable_layers(
        socket: &Path,
    ) -> Result<Option<Vec<(String, WritableLayer)>>, String> {
        async {
            let grpc = GrpcClient::connect(socket).await?;
            let filter = Arc::default();
            Self { grpc, socket: socket.to_owned(), filter }.layers().await
        }
        .await
        .map_err(|error| describe(socket, &error))
    }

    async fn next_event(&mut self) -> Result<RuntimeEvent, String> {
        // containerd has had events in CRI only since 1.7, and the kernel reports new containers.
        std::future::pending().await
    }
}

impl CriClient {
    /// Lists all containers and sandboxes, in two calls.
    async fn list(&mut self) -> Result<Vec<(String, Metadata)>, GrpcError> {
        let sandboxes: Option<ListPodSandboxResponse> =
            self.call_cri("ListPodSandbox", &ListPodSandboxRequest {}).await?;
        let containers: Option<ListContainersResponse> =
            self.call_cri("ListContainers", &ListContainersRequest::default()).await?;
        let mut pods = HashMap::new();
        let mut listed = Vec::new();
        for sandbox in sandboxes.unwrap_or_default().items {
            let pod = sandbox.metadata.unwrap_or_default();
            let metadata = convert::sandbox(&pod, sandbox.labels, &self.filter);
            pods.insert(sandbox.id.clone(), pod);
            listed.push((sandbox.id, metadata));
        }
        for container in containers.unwrap_or_default().containers {
            let name = container.metadata.unwrap_or_default().name;
            let image = container.image.map(|image| image.image);
            let mut metadata = convert::container(name, image, container.labels, &self.filter);
            if let Some(pod) = pods.get(&container.pod_sandbox_id) {
                convert::set_pod(&mut metadata, pod);
            }
            listed.push((container.id, metadata));
        }
        Ok(listed)
    }

    /// containerd counts what snapshots take every 10 s, asked or not (`internal/cri/server`,
    /// `snapshotsSyncer`). CRI-O walks through the files of each container when it is asked.
    async fn layers(&mut self) -> Result<Option<Vec<(String, WritableLayer)>>, GrpcError> {
        let version: Option<VersionResponse> = self.call_cri("Version", &VersionRequest {}).await?;
        if version.is_none_or(|version| version.runtime_name != "containerd") {
            return Ok(None);
        }
        let response: Option<ListContainerStatsResponse> =
            self.call_cri("ListContainerStats", &ListContainerStatsRequest {}).await?;
        Ok(response.map(|response| {
            response.stats.into_iter().filter_map(convert::writable_layer).collect()
        }))
    }

    async fn container(&mut self, id: &str) -> Result<Option<Inspection>, GrpcError> {
        // Only the verbose response has the environment.
        let verbose = !self.filter.environment.is_empty();
        let request = ContainerStatusRequest { container_id: id.to_owned(), verbose };
        let response: Option<ContainerStatusResponse> =
            self.call_cri("ContainerStatus", &request).await?;
        let ContainerStatusResponse { status, info } = response.unwrap_or_default();
        let Some(status) = status else { return Ok(None) };
        let mut inspection = convert::status(status, &self.filter);
        let metadata = &mut inspection.metadata;
        if let Some(info) = info.get("info") {
            let environment = convert::environment_of_info(info.as_bytes());
            metadata.set_environment(environment, &self.filter);
        }
        // Only the kubelet labels containers with their pods.
        if metadata.pod.as_ref().is_none_or(|pod| pod.name.is_none())
            && let Some(pod) = self.pod_of(id).await?
        {
            convert::set_pod(metadata, &pod);
        }
        Ok(Some(inspection))
    }

    /// The pod of a container.
    async fn pod_of(&mut self, id: &str) -> Result<Option<PodSandboxMetadata>, GrpcError> {
        let filter = Some(ContainerFilter { id: id.to_owned() });
        let response: Option<ListContainersResponse> =
            self.call_cri("ListContainers", &ListContainersRequest { filter }).await?;
        let container = response.and_then(|response| response.containers.into_iter().next());
        let Some(container) = container else { return Ok(None) };
        let response = self.sandbox_status(&container.pod_sandbox_id).await?;
        Ok(response.and_then(|response| response.status).and_then(|status| status.metadata))
    }

    async fn sandbox(&mut self, id: &str) -> Result<Option<Inspection>, GrpcError> {
        let response = self.sandbox_status(id).await?;
        let Some(status) = response.and_then(|response| response.status) else { return Ok(None) };
        let pod = status.metadata.unwrap_or_default();
        let mut metadata = convert::sandbox(&pod, status.labels, &self.filter);
        metadata.started_at = convert::time(status.created_at);
        Ok(Some(Inspection { metadata, complete: true, exit_status: None }))
    }

    async fn sandbox_status(
        &mut self,
        id: &str,
    ) -> Result<Option<PodSandboxStatusResponse>, GrpcError> {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned() };
        self.call_cri("PodSandboxStatus", &request).await
    }

    /// Searches the namespaces of containerd.
    async fn container_outside_cri(&mut self, id: &str) -> Result<Option<Inspection>, GrpcError> {
        const LIST: &str = "/containerd.services.namespaces.v1.Namespaces/List";
        const GET: &str = "/containerd.services.containers.v1.Containers/Get";
        let response: Option<ListNamespacesResponse> =
            self.call(LIST, None, &ListNamespacesRequest {}).await?;
        for namespace in response.unwrap_or_default().namespaces.iter().take(MAX_NAMESPACES) {
            let header = Some(("containerd-namespace", namespace.name.as_str()));
            let request = GetContainerRequest { id: id.to_owned() };
            let response: Option<GetContainerResponse> = self.call(GET, header, &request).await?;
            if let Some(container) = response.and_then(|response| response.container) {
                return Ok(convert::container_outside_cri(container, &self.filter));
            }
        }
        Ok(None)
    }

    async fn call_cri<Q: Message, A: Message + Default>(
        &mut self,
        method: &str,
        request: &Q,
    ) -> Result<Option<A>, GrpcError> {
        self.call(&format!("/runtime.v1.RuntimeService/{method}"), None, request).await
    }

    /// Calls a method; `None` if the server does not know the object or the method.
    async fn call<Q: Message, A: Message + Default>(
        &mut self,
        path: &str,
        header: Option<(&str, &str)>,
        request: &Q,
    ) -> Result<Option<A>, GrpcError> {
        match self.grpc.call(path, header, request).await {
            Ok(response) => Ok(Some(response)),
            Err(error) if error.is_not_found() => {
                tracing::debug!("{}: {path}: {error}", self.socket.display());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
