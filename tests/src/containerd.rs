//! containerd with private state, used through CRI, as the kubelet does, and through `ctr`.

// Generated: see `tests/protobuf`.
#[allow(missing_docs, dead_code, unreachable_pub, clippy::doc_markdown, clippy::enum_variant_names)]
mod messages;

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use http::uri::PathAndQuery;
use prost::Message;
use tokio::runtime::Runtime;
use tonic::{
    Request,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use self::messages::runtime::v1::{
    ContainerConfig, ContainerState, ContainerStatusRequest, ContainerStatusResponse,
    CreateContainerRequest, CreateContainerResponse, ImageSpec, KeyValue, LinuxContainerConfig,
    LinuxContainerResources, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode,
    NamespaceOption, PodSandboxConfig, RemovePodSandboxRequest, RemovePodSandboxResponse,
    RunPodSandboxRequest, RunPodSandboxResponse, StartContainerRequest, StartContainerResponse,
    StopContainerRequest, StopContainerResponse, StopPodSandboxRequest, StopPodSandboxResponse,
};
pub use self::messages::runtime::v1::{ContainerMetadata, PodSandboxMetadata};
use crate::{
    daemon::{Daemon, RunDir, unmount_below},
    docker::Image,
    process::output,
    scratch::Scratch,
    wait::{self, PATIENCE},
};

/// Which containerd is started, and what it starts containers with.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// The directory of `containerd` and its shim; `None` finds them in `PATH`.
    pub directory: Option<PathBuf>,
    /// The OCI runtime; `None` is runc.
    pub runtime: Option<PathBuf>,
    /// The plugins that make the networks of pods; without them all pods are on the host's.
    pub cni: Option<PathBuf>,
}

/// The network of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodNetwork {
    /// One of its own, on a bridge that all pods of the daemon share.
    Own,
    /// The host's.
    Host,
}

/// A daemon; pods and containers are removed on drop.
#[derive(Debug)]
pub struct Containerd {
    programs: Programs,
    bridge: String,
    daemon: Option<Daemon>,
    run: RunDir,
    root: PathBuf,
    runtime: Runtime,
    image: String,
    pods: Vec<(String, PodSandboxConfig)>,
    tasks: Vec<String>,
}

impl Containerd {
    /// Starts it and imports Docker's image, which is also the pods' pause image.
    pub fn start(scratch: &Scratch, image: &Image) -> Result<Self> {
        Self::start_with(scratch, image, Programs::default())
    }

    /// The same with other programs than those in `PATH`.
    pub fn start_with(scratch: &Scratch, image: &Image, programs: Programs) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (run, root) = (RunDir::new()?, scratch.subdirectory()?);
        let archive = image.save(scratch)?;
        let image = format!("docker.io/library/{}:latest", image.name());
        let bridge = bridge_name();
        if programs.cni.is_some() {
            let network = run.join("cni");
            fs::create_dir(&network).with_context(|| format!("make {}", network.display()))?;
            fs::write(network.join("pods.conflist"), pod_network(&bridge, &run))?;
        }
        let path = run.join("config.toml");
        let config = configuration(&programs, &run, &root, &image);
        fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
        let (daemon, pods, tasks) = (None, Vec::new(), Vec::new());
        let mut containerd =
            Self { programs, bridge, daemon, run, root, runtime, image, pods, tasks };
        containerd.start_daemon()?;
        for namespace in ["k8s.io", "default"] {
            let import = ["--namespace", namespace, "images", "import", "--snapshotter=native"];
            // Otherwise the daemon of containerd 2 imports, for the snapshotter that it likes best.
            let own = containerd.programs.directory.as_ref().map(|_| OsStr::new("--local"));
            let import = import.map(OsStr::new).into_iter().chain(own);
            containerd.client(import.chain([archive.as_os_str()]))?;
        }
        Ok(containerd)
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.join("sock")
    }

    /// Starts the daemon, again.
    pub fn start_daemon(&mut self) -> Result<()> {
        let mut command = self.program("containerd");
        command.arg("--config").arg(self.run.join("config.toml"));
        self.daemon = Some(Daemon::start(command, &self.socket(), &self.run.join("log"))?);
        Ok(())
    }

    /// Stops the daemon; containers go on.
    pub fn stop_daemon(&mut self) {
        self.daemon = None;
    }

    /// Runs `ctr ARGS…`, which must succeed; its standard output.
    pub fn client<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        let mut command = self.program("ctr");
        command.arg("--address").arg(self.socket()).args(args);
        output(command, PATIENCE)
    }

    /// Starts a container outside CRI, with `TARE_ZONE=c` in its environment.
    pub fn run_plain(&mut self, id: &str, label: &str, load: &[&str]) -> Result<()> {
        self.run_plain_with(id, label, &[], load)
    }

    /// The same with further options of `ctr run`.
    pub fn run_plain_with(
        &mut self,
        id: &str,
        label: &str,
        options: &[&str],
        load: &[&str],
    ) -> Result<()> {
        let args = [
            "run",
            "--detach",
            "--snapshotter=native",
            "--net-host",
            "--env=TARE_ZONE=c",
            "--label",
            label,
        ];
        self.tasks.push(id.to_owned());
        let image = [self.image.as_str(), id, "/tare-load"];
        self.client(args.iter().chain(options).chain(&image).chain(load))?;
        Ok(())
    }

    /// Removes a container outside CRI, running or not.
    pub fn remove_plain(&mut self, id: &str) -> Result<()> {
        self.tasks.retain(|task| task != id);
        self.client(["tasks", "delete", "--force", id])?;
        self.client(["containers", "delete", id])?;
        Ok(())
    }

    /// Makes a pod on the host's network; its id. Its containers' cgroups are below `parent`.
    pub fn run_pod(&mut self, metadata: PodSandboxMetadata, parent: &str) -> Result<String> {
        self.run_pod_on(PodNetwork::Host, metadata, parent)
    }

    /// The same on a network of its own or on the host's.
    pub fn run_pod_on(
        &mut self,
        network: PodNetwork,
        metadata: PodSandboxMetadata,
        parent: &str,
    ) -> Result<String> {
        let network = match network {
            PodNetwork::Own => NamespaceMode::Pod.into(),
            PodNetwork::Host => NamespaceMode::Node.into(),
        };
        let namespace_options = Some(NamespaceOption { network });
        let config = PodSandboxConfig {
            metadata: Some(metadata),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: parent.to_owned(),
                security_context: Some(LinuxSandboxSecurityContext { namespace_options }),
            }),
        };
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        let answer: RunPodSandboxResponse = self.call("RunPodSandbox", request)?;
        self.pods.push((answer.pod_sandbox_id.clone(), config));
        Ok(answer.pod_sandbox_id)
    }

    /// Makes a container in a pod, with a limit of memory and `TARE_ZONE=a=b` in its environment;
    /// its id.
    pub fn create(
        &self,
        pod: &str,
        metadata: ContainerMetadata,
        labels: &[(&str, &str)],
        memory_bytes: i64,
        load: &[&str],
    ) -> Result<String> {
        let config = self.pods.iter().find(|(id, _)| id == pod).map(|(_, config)| config.clone());
        let resources = Some(LinuxContainerResources { memory_limit_in_bytes: memory_bytes });
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.to_owned(),
            config: Some(ContainerConfig {
                metadata: Some(metadata),
                image: Some(ImageSpec { image: self.image.clone() }),
                command: vec!["/tare-load".to_owned()],
                args: load.iter().map(|&word| word.to_owned()).collect(),
                envs: vec![KeyValue { key: "TARE_ZONE".to_owned(), value: "a=b".to_owned() }],
                labels: labels.collect(),
                linux: Some(LinuxContainerConfig { resources }),
            }),
            sandbox_config: config,
        };
        let answer: CreateContainerResponse = self.call("CreateContainer", request)?;
        Ok(answer.container_id)
    }

    /// Starts a container that was created.
    pub fn start_container(&self, id: &str) -> Result<()> {
        let request = StartContainerRequest { container_id: id.to_owned() };
        self.call("StartContainer", request).map(|StartContainerResponse {}| ())
    }

    /// Ends a container as the kubelet does.
    pub fn stop_container(&self, id: &str) -> Result<()> {
        let request = StopContainerRequest { container_id: id.to_owned(), timeout: 10 };
        self.call("StopContainer", request).map(|StopContainerResponse {}| ())
    }

    /// Waits until a container has ended by itself.
    pub fn wait_for_end(&self, id: &str) -> Result<()> {
        wait::until(&format!("the end of {id}"), PATIENCE, || {
            let request = ContainerStatusRequest { container_id: id.to_owned() };
            let answer: ContainerStatusResponse = self.call("ContainerStatus", request)?;
            let status = answer.status.context("no status")?;
            Ok((status.state() == ContainerState::ContainerExited).then_some(()))
        })
    }

    /// The image that all its containers run.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.image
    }

    /// A program of this containerd, which finds the others.
    fn program(&self, name: &str) -> Command {
        let Some(directory) = &self.programs.directory else { return Command::new(name) };
        let mut command = Command::new(directory.join(name));
        let usual = env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{usual}", directory.display()));
        command
    }

    fn call<Q, A>(&self, method: &str, request: Q) -> Result<A>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let path: PathAndQuery = format!("/runtime.v1.RuntimeService/{method}").parse()?;
        let socket = format!("unix://{}", self.socket().display());
        let answer = self.runtime.block_on(async {
            let channel: Channel = Endpoint::from_shared(socket)?.connect().await?;
            let mut grpc = Grpc::new(channel);
            grpc.ready().await?;
            let codec = ProstCodec::<Q, A>::default();
            let answer = grpc.unary(Request::new(request), path, codec).await?;
            anyhow::Ok(answer.into_inner())
        });
        answer.with_context(|| format!("CRI: {method}"))
    }

    fn clean(&mut self) -> Result<()> {
        if self.daemon.is_none() {
            self.start_daemon()?;
        }
        for (id, _) in std::mem::take(&mut self.pods) {
            let stop = StopPodSandboxRequest { pod_sandbox_id: id.clone() };
            self.call("StopPodSandbox", stop).map(|StopPodSandboxResponse {}| ())?;
            let remove = RemovePodSandboxRequest { pod_sandbox_id: id };
            self.call("RemovePodSandbox", remove).map(|RemovePodSandboxResponse {}| ())?;
        }
        for id in self.tasks.clone() {
            self.remove_plain(&id)?;
        }
        Ok(())
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if let Err(error) = self.clean() {
            eprintln!("containerd: {error:#}");
        }
        self.daemon = None;
        unmount_below(&self.root);
        if Path::new("/sys/class/net").join(&self.bridge).exists() {
            let mut remove = Command::new("ip");
            remove.args(["link", "delete", &self.bridge]);
            if let Err(error) = output(remove, PATIENCE) {
                eprintln!("containerd's bridge: {error:#}");
            }
        }
    }
}

/// Names of devices have at most 15 bytes.
fn bridge_name() -> String {
    format!("tare{}", std::process::id() % 10_000_000)
}

/// A file of containerd 1 and 2.
fn configuration(programs: &Programs, run: &RunDir, root: &Path, image: &str) -> String {
    const CRI: &str = "plugins.\"io.containerd.grpc.v1.cri\"";
    let (state, socket) = (run.join("state"), run.join("sock"));
    let mut text = format!(
        "version = 2\nroot = {root:?}\nstate = {state:?}\n[grpc]\naddress = {socket:?}\n\
         [{CRI}]\nsandbox_image = {image:?}\nrestrict_oom_score_adj = true\n\
         [{CRI}.containerd]\nsnapshotter = \"native\"\n\
         [{CRI}.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n",
    );
    if let Some(runtime) = &programs.runtime {
        text += &format!("[{CRI}.containerd.runtimes.runc.options]\nBinaryName = {runtime:?}\n");
    }
    if let Some(plugins) = &programs.cni {
        let network = run.join("cni");
        text += &format!("[{CRI}.cni]\nbin_dir = {plugins:?}\nconf_dir = {network:?}\n");
    }
    text
}

/// A bridge without a gateway: pods reach each other and nothing else, and no setting of the host
/// changes.
fn pod_network(bridge: &str, run: &RunDir) -> String {
    let addresses = run.join("addresses");
    serde_json::json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge",
            "bridge": bridge,
            "ipam": {
                "type": "host-local",
                "dataDir": addresses,
                "ranges": [[{ "subnet": "10.211.47.0/24" }]],
            },
        }],
    })
    .to_string()
}
