//! The APIs of container runtimes and the sockets they listen on.

use std::path::PathBuf;

use super::path::Runtime;

/// The socket to use for an API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Socket {
    /// The usual paths.
    #[default]
    Auto,
    /// This path only.
    Path(PathBuf),
    /// None: send no request, and read no state files in its place.
    Off,
}

/// The sockets of the container runtimes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeSockets {
    /// Docker's. `Auto` takes `DOCKER_HOST` if it is a `unix://` URL, then the usual paths.
    pub docker: Socket,
    /// Podman's.
    pub podman: Socket,
    /// That of containerd, CRI-O or any other CRI server.
    pub cri: Socket,
}

/// An API of one user. A group may have several sockets, each of a daemon of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuntimeGroup {
    /// The API.
    pub api: RuntimeApi,
    /// The uid of the user whose rootless runtime it is; `None` for the host's.
    pub user: Option<u32>,
}

/// The APIs of container runtimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuntimeApi {
    /// Docker Engine.
    Docker,
    /// Podman's service.
    Podman,
    /// containerd.
    Containerd,
    /// CRI-O.
    CriO,
}

impl RuntimeSockets {
    /// The sockets of a group: one entry for each daemon, with the paths where it may listen, of
    /// which the first that exists is used. Empty if the API is off.
    pub(super) fn candidates(
        &self,
        group: RuntimeGroup,
        docker_host: Option<&str>,
    ) -> Vec<Vec<PathBuf>> {
        match self.of(group.api) {
            Socket::Off => Vec::new(),
            Socket::Path(path) => vec![vec![path.clone()]],
            Socket::Auto => group.default_sockets(docker_host),
        }
    }

    /// Whether the user named the socket of an API.
    pub(super) fn is_configured(&self, api: RuntimeApi) -> bool {
        matches!(self.of(api), Socket::Path(_))
    }

    fn of(&self, api: RuntimeApi) -> &Socket {
        match api {
            RuntimeApi::Docker => &self.docker,
            RuntimeApi::Podman => &self.podman,
            RuntimeApi::Containerd | RuntimeApi::CriO => &self.cri,
        }
    }
}

impl RuntimeApi {
    /// The API that knows the containers of a runtime, if there is one.
    pub(super) fn of(runtime: Runtime) -> Option<Self> {
        match runtime {
            Runtime::Docker => Some(Self::Docker),
            Runtime::Podman => Some(Self::Podman),
            Runtime::Containerd => Some(Self::Containerd),
            Runtime::CriO => Some(Self::CriO),
            Runtime::Lxc | Runtime::Nspawn | Runtime::Systemd => None,
        }
    }

    /// The API's name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "Docker Engine API",
            Self::Podman => "Podman API",
            Self::Containerd => "CRI of containerd",
            Self::CriO => "CRI of CRI-O",
        }
    }
}

impl RuntimeGroup {
    /// The paths where the daemons of a group usually listen: for each daemon its possible sockets,
    /// of which the first that exists is used.
    pub fn default_sockets(self, docker_host: Option<&str>) -> Vec<Vec<PathBuf>> {
        let one_each = |paths: &[&str]| paths.iter().map(|path| vec![path.into()]).collect();
        match (self.api, self.user) {
            (RuntimeApi::Docker, None) => {
                // A remote daemon does not know the containers of this host.
                let configured = docker_host.and_then(|host| host.strip_prefix("unix://"));
                let configured = configured.filter(|path| !path.is_empty());
                let usual = ["/var/run/docker.sock", "/run/docker.sock"];
                vec![configured.into_iter().chain(usual).map(PathBuf::from).collect()]
            }
            (RuntimeApi::Docker, Some(user)) => {
                one_each(&[&format!("/run/user/{user}/docker.sock")])
            }
            (RuntimeApi::Podman, None) => one_each(&["/run/podman/podman.sock"]),
            (RuntimeApi::Podman, Some(user)) => {
                one_each(&[&format!("/run/user/{user}/podman/podman.sock")])
            }
            (RuntimeApi::Containerd, _) => one_each(&[
                "/run/containerd/containerd.sock",
                "/run/k3s/containerd/containerd.sock",
                "/var/snap/microk8s/common/run/containerd.sock",
            ]),
            (RuntimeApi::CriO, _) => one_each(&["/run/crio/crio.sock"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_has_its_default_sockets() {
        let paths = |api, user, host| {
            RuntimeSockets::default().candidates(RuntimeGroup { api, user }, host)
        };
        let path = |text: &str| PathBuf::from(text);
        let usual = vec![vec![path("/var/run/docker.sock"), path("/run/docker.sock")]];
        let docker = |host| paths(RuntimeApi::Docker, None, host);
        let with_host = [&[path("/tmp/d.sock")], &usual[0][..]].concat();
        assert_eq!(docker(Some("unix:///tmp/d.sock")), [with_host]);
        assert_eq!(docker(Some("tcp://10.0.0.1:2375")), usual);
        assert_eq!(docker(None), usual);
        let own = paths(RuntimeApi::Podman, Some(1000), None);
        assert_eq!(own, [[path("/run/user/1000/podman/podman.sock")]]);
        assert_eq!(paths(RuntimeApi::Containerd, None, None).len(), 3);
    }
}
