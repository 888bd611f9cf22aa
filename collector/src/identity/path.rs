//! Cgroup path → container or service. Pure and total.

use serde::{Deserialize, Serialize};

/// What a cgroup is, as its path shows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Identity {
    /// Container or service.
    pub kind: IdentityKind,
    /// What created the cgroup.
    pub runtime: Runtime,
    /// The full id, or the name where the runtime has no ids; for a service, the unit's name as
    /// `systemctl` takes it.
    pub id: String,
    /// The Kubernetes pod that contains it.
    pub pod: Option<PodRef>,
    /// The uid of the user whose rootless runtime created it, below `user@UID.service`; `None` for
    /// the host's.
    pub user: Option<u32>,
}

/// What a recognised cgroup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityKind {
    /// The cgroup of one container.
    Container,
    /// A systemd service of the host or of a user.
    Service,
}

/// What created a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// Docker Engine.
    Docker,
    /// containerd, through CRI, nerdctl or `ctr`.
    Containerd,
    /// CRI-O.
    CriO,
    /// Podman.
    Podman,
    /// LXC, LXD, Incus.
    Lxc,
    /// systemd-nspawn.
    Nspawn,
    /// systemd itself.
    Systemd,
}

impl Runtime {
    /// The runtime's name as reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Podman => "podman",
            Self::Lxc => "lxc",
            Self::Nspawn => "nspawn",
            Self::Systemd => "systemd",
        }
    }
}

/// A Kubernetes pod, as a cgroup path shows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PodRef {
    /// The pod's uid, with dashes; for a static pod its 32-digit hash.
    pub uid: String,
    /// The quality-of-service class; `None` where the path does not follow the kubelet's layout.
    pub qos: Option<Qos>,
}

/// The quality-of-service classes of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Qos {
    /// Limits equal requests: directly below `kubepods`.
    Guaranteed,
    /// Below `burstable`.
    Burstable,
    /// Below `besteffort`.
    BestEffort,
}

impl Qos {
    /// The class as the kubelet's cgroups spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "guaranteed",
            Self::Burstable => "burstable",
            Self::BestEffort => "besteffort",
        }
    }
}

/// Recognises the cgroup of a container or a service by its path; `None` for any other cgroup.
///
/// `path` starts with `/` and is relative to the root of its hierarchy. The last component decides;
/// the others only give the pod and the user. What runs inside a container (a nested Docker, a
/// systemd) has cgroups that are recognised too, so walk from the top and take everything below a
/// container as part of it. A container below a service (Podman's quadlets, a user's manager) is
/// not part of the service.
pub fn classify(path: &str) -> Option<Identity> {
    let mut identity = of_leaf(path)?;
    if identity.kind == IdentityKind::Container {
        identity.user = user_of(path);
    }
    Some(identity)
}

/// The path of the Kubernetes pod's cgroup above a container's cgroup.
pub fn pod_cgroup(path: &str) -> Option<&str> {
    let mut parents = std::iter::successors(Some(path), |path| Some(path.rsplit_once('/')?.0));
    let is_pod = |path: &&str| path.rsplit('/').next().and_then(pod_uid).is_some();
    parents.by_ref().skip(1).find(is_pod).filter(|path| path.contains("kubepods"))
}

fn of_leaf(path: &str) -> Option<Identity> {
    let path = path.strip_prefix('/')?.trim_end_matches('/');
    let (parents, leaf) = path.rsplit_once('/').unwrap_or(("", path));
    if let Some(scope) = leaf.strip_suffix(".scope") {
        return scope_container(parents, scope);
    }
    if let Some(unit) = leaf.strip_suffix(".service") {
        return Some(service(leaf, unit));
    }
    // With the cgroupfs driver, runc takes `SLICE:PREFIX:ID`, meant for its systemd driver, as the
    // name of one directory.
    if let Some((slice, rest)) = leaf.split_once(':') {
        let (prefix, id) = rest.split_once(':')?;
        return container(runtime_of(prefix)?, hex_id(id)?, pod_of(slice));
    }
    plain_container(parents, leaf)
}

/// `docker-<id>.scope` and the like, from systemd cgroup drivers.
fn scope_container(parents: &str, scope: &str) -> Option<Identity> {
    if let Some(machine) = scope.strip_prefix("machine-") {
        return machine_container(&unescape(machine));
    }
    let (prefix, id) = scope.rsplit_once('-')?;
    container(runtime_of(prefix)?, hex_id(id)?, pod_of(parents))
}

/// A machine of systemd-machined.
fn machine_container(name: &str) -> Option<Identity> {
    // libvirt registers virtual machines (`qemu-N-NAME`) and containers (`lxc-N-NAME`).
    if name.starts_with("qemu-") {
        return None;
    }
    match name.strip_prefix("lxc-").and_then(|rest| rest.split_once('-')) {
        Some((number, name)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            container(Runtime::Lxc, name, None)
        }
        _ => container(Runtime::Nspawn, name, None),
    }
}

fn service(leaf: &str, unit: &str) -> Identity {
    match unit.strip_prefix("systemd-nspawn@") {
        Some(machine) if !machine.is_empty() => Identity {
            kind: IdentityKind::Container,
            runtime: Runtime::Nspawn,
            id: unescape(machine),
            pod: None,
            user: None,
        },
        _ => Identity {
            kind: IdentityKind::Service,
            runtime: Runtime::Systemd,
            // systemd puts `_` before names that look like files of the kernel.
            id: leaf.strip_prefix('_').unwrap_or(leaf).to_owned(),
            pod: None,
            user: None,
        },
    }
}

/// A directory without a suffix, from cgroupfs drivers and LXC.
fn plain_container(parents: &str, leaf: &str) -> Option<Identity> {
    let parent = parents.rsplit('/').next().unwrap_or_default();
    if parent == "lxc" || parent == "lxc.payload" {
        return container(Runtime::Lxc, leaf, None);
    }
    if let Some(name) = leaf.strip_prefix("lxc.payload.") {
        return container(Runtime::Lxc, name, None);
    }
    if let Some(id) = hex_id(leaf) {
        let pod = pod_of(parents);
        let runtime = match (&pod, parent) {
            (Some(_), _) => Runtime::Containerd,
            // Namespaces of containerd: CRI's outside pods, and that of ctr and nerdctl.
            (None, "k8s.io" | "default") => Runtime::Containerd,
            // The cgroup of a Podman pod, which contains its containers.
            (None, "libpod_parent") => return None,
            (None, _) => Runtime::Docker,
        };
        return container(runtime, id, pod);
    }
    let (prefix, id) = leaf.rsplit_once('-')?;
    let runtime = match prefix {
        "crio" => Runtime::CriO,
        "libpod" | "libpod-payload" => Runtime::Podman,
        _ => return None,
    };
    container(runtime, hex_id(id)?, pod_of(parents))
}

fn container(runtime: Runtime, id: &str, pod: Option<PodRef>) -> Option<Identity> {
    let identity =
        Identity { kind: IdentityKind::Container, runtime, id: id.to_owned(), pod, user: None };
    (!id.is_empty()).then_some(identity)
}

/// The runtime that puts `prefix` before container ids. Longer prefixes (`crio-conmon`,
/// `libpod-conmon`) are those of container monitors.
fn runtime_of(prefix: &str) -> Option<Runtime> {
    Some(match prefix {
        "docker" => Runtime::Docker,
        "cri-containerd" | "nerdctl" => Runtime::Containerd,
        "crio" => Runtime::CriO,
        "libpod" => Runtime::Podman,
        _ => return None,
    })
}

/// The uid in `user@UID.service`, the manager of a user.
fn user_of(path: &str) -> Option<u32> {
    path.split('/').find_map(|component| {
        component.strip_prefix("user@")?.strip_suffix(".service")?.parse().ok()
    })
}

fn hex_id(text: &str) -> Option<&str> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == 64 && text.bytes().all(is_hex)).then_some(text)
}

/// The pod among the parents of a container, from either cgroup driver of the kubelet.
fn pod_of(parents: &str) -> Option<PodRef> {
    if !parents.contains("kubepods") {
        return None;
    }
    let uid = parents.rsplit('/').find_map(pod_uid)?;
    let mut words = parents.split(['/', '-', '.']);
    let qos = words
        .find_map(|word| match word {
            "besteffort" => Some(Qos::BestEffort),
            "burstable" => Some(Qos::Burstable),
            _ => None,
        })
        .unwrap_or(Qos::Guaranteed);
    Some(PodRef { uid, qos: Some(qos) })
}

/// `pod<uid>` (cgroupfs) or `…kubepods…-pod<uid with underscores>.slice` (systemd).
fn pod_uid(component: &str) -> Option<String> {
    let uid = match component.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1,
        None => component.strip_prefix("pod")?,
    };
    let is_uid = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-' || byte == b'_';
    let plausible = (32..=36).contains(&uid.len()) && uid.bytes().all(is_uid);
    plausible.then(|| uid.replace('_', "-"))
}

/// Decodes systemd's `\xNN` escapes. Anything else stays, and so does a name that would not be
/// UTF-8.
fn unescape(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        match escaped_byte(rest) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| name.to_owned())
}

/// The byte of a leading `\xNN`.
fn escaped_byte(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"\\x")?.get(..2)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests;
