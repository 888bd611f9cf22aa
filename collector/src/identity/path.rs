//! Cgroup path → container or service. Pure and total.

/// Who a cgroup is, as far as its path tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What the cgroup stands for.
    pub kind: IdentityKind,
    /// Who made it.
    pub runtime: Runtime,
    /// The runtime's full id or name; for a service its unit name as `systemctl` takes it.
    pub id: String,
    /// The Kubernetes pod around it.
    pub pod: Option<PodRef>,
    /// The user whose own runtime made it, below `user@UID.service`; `None` is the host's.
    pub user: Option<u32>,
}

/// What a recognised cgroup stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    /// A cgroup that a container runtime made for one container.
    Container,
    /// A service of systemd, the host's or a user's.
    Service,
}

/// Who made a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// A Kubernetes pod as far as a cgroup path tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRef {
    /// The pod's uid, with dashes; for a static pod its 32-digit hash.
    pub uid: String,
    /// Its quality-of-service class; `None` where the path does not follow the kubelet's layout.
    pub qos: Option<Qos>,
}

/// The quality-of-service classes of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// Limits equal requests: directly below `kubepods`.
    Guaranteed,
    /// Below `burstable`.
    Burstable,
    /// Below `besteffort`.
    BestEffort,
}

impl Qos {
    /// The class as Kubernetes' cgroups spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "guaranteed",
            Self::Burstable => "burstable",
            Self::BestEffort => "besteffort",
        }
    }
}

/// Says whether the last component of `path` makes this very cgroup a container or a service.
///
/// `path` starts with `/` and is relative to its hierarchy's root. Parents only add the pod.
/// Descendants of a container look like whatever runs inside it (a nested Docker, a systemd), so
/// walk top-down and take everything below a container as part of it. Services are different: a
/// container below a service (Podman's quadlets, a user's manager) is a container of its own.
pub fn classify(path: &str) -> Option<Identity> {
    let mut identity = of_leaf(path)?;
    if identity.kind == IdentityKind::Container {
        identity.user = user_of(path);
    }
    Some(identity)
}

/// The cgroup of the Kubernetes pod that a container's cgroup is in.
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
    // runc's cgroupfs driver given a path for its systemd driver makes one directory of it.
    if let Some((slice, rest)) = leaf.split_once(':') {
        let (prefix, id) = rest.split_once(':')?;
        return container(runtime_of(prefix)?, hex_id(id)?, pod_of(slice));
    }
    plain_container(parents, leaf)
}

/// `docker-<id>.scope` and its kind, from systemd's cgroup driver.
fn scope_container(parents: &str, scope: &str) -> Option<Identity> {
    if let Some(machine) = scope.strip_prefix("machine-") {
        return machine_container(&unescape(machine));
    }
    let (prefix, id) = scope.rsplit_once('-')?;
    container(runtime_of(prefix)?, hex_id(id)?, pod_of(parents))
}

/// What systemd's machine daemon has in its register.
fn machine_container(name: &str) -> Option<Identity> {
    // libvirt registers its virtual machines and its containers, by number and name.
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
            // systemd puts `_` before a name that could be taken for a kernel file.
            id: leaf.strip_prefix('_').unwrap_or(leaf).to_owned(),
            pod: None,
            user: None,
        },
    }
}

/// Directories made by cgroupfs drivers and LXC: no suffix tells what they are.
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
            // containerd's namespaces: of CRI outside of pods, and of ctr and nerdctl.
            (None, "k8s.io" | "default") => Runtime::Containerd,
            // Podman's pod: its containers are in it.
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

/// The runtime that puts `prefix` before its ids. Its monitors have longer prefixes
/// (`crio-conmon`, `libpod-conmon`) and are not containers.
fn runtime_of(prefix: &str) -> Option<Runtime> {
    Some(match prefix {
        "docker" => Runtime::Docker,
        "cri-containerd" | "nerdctl" => Runtime::Containerd,
        "crio" => Runtime::CriO,
        "libpod" => Runtime::Podman,
        _ => return None,
    })
}

/// The user whose manager is above: `user@UID.service`.
fn user_of(path: &str) -> Option<u32> {
    path.split('/').find_map(|component| {
        component.strip_prefix("user@")?.strip_suffix(".service")?.parse().ok()
    })
}

fn hex_id(text: &str) -> Option<&str> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == 64 && text.bytes().all(is_hex)).then_some(text)
}

/// The pod in a container's parents, from either cgroup driver of the kubelet.
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

/// Undoes systemd's `\xNN`. What is no escape, or would not be UTF-8, stays as it is.
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

/// The byte that a leading `\xNN` stands for.
fn escaped_byte(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"\\x")?.get(..2)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests;
