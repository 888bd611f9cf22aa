//! Cgroup path → container or service. Pure and total.

/// Who a cgroup is, as far as its path tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What the cgroup stands for.
    pub kind: Kind,
    /// Who made it.
    pub runtime: Runtime,
    /// The runtime's full id or name; for a service its unit name as `systemctl` takes it.
    pub id: String,
    /// The Kubernetes pod around it.
    pub pod: Option<PodRef>,
}

/// What a recognised cgroup stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
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
        let name = unescape(machine);
        // libvirt registers virtual machines with the same daemon.
        let is_vm = name.starts_with("qemu-");
        return (!is_vm && !name.is_empty()).then_some(Identity {
            kind: Kind::Container,
            runtime: Runtime::Nspawn,
            id: name,
            pod: None,
        });
    }
    let (prefix, id) = scope.rsplit_once('-')?;
    container(runtime_of(prefix)?, hex_id(id)?, pod_of(parents))
}

fn service(leaf: &str, unit: &str) -> Identity {
    match unit.strip_prefix("systemd-nspawn@") {
        Some(machine) if !machine.is_empty() => Identity {
            kind: Kind::Container,
            runtime: Runtime::Nspawn,
            id: unescape(machine),
            pod: None,
        },
        _ => Identity {
            kind: Kind::Service,
            runtime: Runtime::Systemd,
            // systemd puts `_` before a name that could be taken for a kernel file.
            id: leaf.strip_prefix('_').unwrap_or(leaf).to_owned(),
            pod: None,
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
        let runtime = match &pod {
            Some(_) => Runtime::Containerd,
            // The namespace that nerdctl and ctr use unless told otherwise.
            None if parents == "default" => Runtime::Containerd,
            None => Runtime::Docker,
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
    let identity = Identity { kind: Kind::Container, runtime, id: id.to_owned(), pod };
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "3f4e1b2a9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f";
    const UID: &str = "8a1c7f0e-5b3d-4c2a-9e6f-0d1b2c3a4f5e";

    /// `<id>` and `<uid>`, `<u_id>` stand for the constants above.
    fn real(pattern: &str) -> String {
        let escaped = UID.replace('-', "_");
        pattern.replace("<id>", ID).replace("<uid>", UID).replace("<u_id>", &escaped)
    }

    fn found(pattern: &str) -> Option<(Runtime, String, Option<Qos>)> {
        let identity = classify(&real(pattern))?;
        assert_eq!(identity.kind, Kind::Container, "{pattern}");
        if let Some(pod) = &identity.pod {
            assert_eq!(pod.uid, UID, "{pattern}");
        }
        Some((identity.runtime, identity.id, identity.pod.and_then(|pod| pod.qos)))
    }

    #[test]
    fn containers_by_hex_id() {
        let table = [
            ("/docker/<id>", Runtime::Docker, None),
            ("/docker/<id>/", Runtime::Docker, None),
            ("/<id>", Runtime::Docker, None),
            ("/actions_job/<id>", Runtime::Docker, None),
            ("/ecs/task/0123456789/<id>", Runtime::Docker, None),
            ("/system.slice/docker-<id>.scope", Runtime::Docker, None),
            ("/my.slice/my-own.slice/docker-<id>.scope", Runtime::Docker, None),
            ("/system.slice:docker:<id>", Runtime::Docker, None),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-<id>.scope",
                Runtime::Docker,
                None,
            ),
            ("/kubepods/burstable/pod<uid>/<id>", Runtime::Containerd, Some(Qos::Burstable)),
            ("/kubepods/besteffort/pod<uid>/<id>", Runtime::Containerd, Some(Qos::BestEffort)),
            ("/kubepods/pod<uid>/<id>", Runtime::Containerd, Some(Qos::Guaranteed)),
            (
                "/kubelet/kubepods/burstable/pod<uid>/<id>",
                Runtime::Containerd,
                Some(Qos::Burstable),
            ),
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod<u_id>.slice/cri-containerd-<id>.scope",
                Runtime::Containerd,
                Some(Qos::BestEffort),
            ),
            (
                "/kubepods.slice/kubepods-pod<u_id>.slice/cri-containerd-<id>.scope",
                Runtime::Containerd,
                Some(Qos::Guaranteed),
            ),
            (
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod<u_id>.slice/cri-containerd-<id>.scope",
                Runtime::Containerd,
                Some(Qos::Burstable),
            ),
            (
                "/system.slice/containerd.service/kubepods-burstable-pod<u_id>.slice:cri-containerd:<id>",
                Runtime::Containerd,
                Some(Qos::Burstable),
            ),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<u_id>.slice/docker-<id>.scope",
                Runtime::Docker,
                Some(Qos::Burstable),
            ),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<u_id>.slice/crio-<id>.scope",
                Runtime::CriO,
                Some(Qos::Burstable),
            ),
            ("/kubepods/burstable/pod<uid>/crio-<id>", Runtime::CriO, Some(Qos::Burstable)),
            ("/default/<id>", Runtime::Containerd, None),
            ("/system.slice/nerdctl-<id>.scope", Runtime::Containerd, None),
            ("/machine.slice/libpod-<id>.scope", Runtime::Podman, None),
            ("/libpod_parent/libpod-<id>", Runtime::Podman, None),
            ("/system.slice/web.service/libpod-payload-<id>", Runtime::Podman, None),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-<id>.scope",
                Runtime::Podman,
                None,
            ),
        ];
        for (path, runtime, qos) in table {
            assert_eq!(found(path), Some((runtime, ID.to_owned(), qos)), "{path}");
        }
    }

    #[test]
    fn containers_by_name() {
        let table = [
            ("/lxc/web1", Runtime::Lxc, "web1"),
            ("/lxc/101", Runtime::Lxc, "101"),
            ("/lxc.payload.web1", Runtime::Lxc, "web1"),
            ("/lxc.payload/web1", Runtime::Lxc, "web1"),
            ("/machine.slice/systemd-nspawn@deb.service", Runtime::Nspawn, "deb"),
            ("/machine.slice/systemd-nspawn@my\\x2ddeb.service", Runtime::Nspawn, "my-deb"),
            ("/machine.slice/machine-my\\x2ddeb.scope", Runtime::Nspawn, "my-deb"),
        ];
        for (path, runtime, id) in table {
            assert_eq!(found(path), Some((runtime, id.to_owned(), None)), "{path}");
        }
    }

    #[test]
    fn services() {
        let table = [
            ("/system.slice/ssh.service", "ssh.service"),
            ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
            ("/system.slice/_cpu.service", "cpu.service"),
            (
                "/system.slice/systemd-fsck@dev-disk-by\\x2duuid-1.service",
                "systemd-fsck@dev-disk-by\\x2duuid-1.service",
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/sync.service",
                "sync.service",
            ),
        ];
        for (path, id) in table {
            let identity = classify(path).unwrap();
            assert_eq!((identity.kind, identity.runtime), (Kind::Service, Runtime::Systemd));
            assert_eq!((identity.id.as_str(), identity.pod), (id, None), "{path}");
        }
    }

    #[test]
    fn neither() {
        let table = [
            "",
            "/",
            "docker",
            "/docker",
            "/docker/buildkit/k2f0c5c1v7m8q9w1e2r3t4y5u",
            "/docker/3F4E1B2A9C8D7E6F5A4B3C2D1E0F9A8B7C6D5E4F3A2B1C0D9E8F7A6B5C4D3E2F",
            "/default/redis",
            "/init.scope",
            "/system.slice",
            "/user.slice/user-0.slice/session-3.scope",
            "/system.slice/crio-conmon-<id>.scope",
            "/kubepods/burstable/pod<uid>/crio-conmon-<id>",
            "/machine.slice/libpod-conmon-<id>.scope",
            "/machine.slice/machine-libpod_pod_<id>.slice",
            "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
            "/libpod_parent/libpod-conmon-<id>",
            "/lxc.monitor.web1",
            "/lxc.monitor/101",
            "/lxc",
            "/lxc.pivot",
            "/lxc.payload.",
            "/kubepods/burstable/pod<uid>",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<u_id>.slice",
            "/a:b:c",
        ];
        for path in table {
            assert_eq!(classify(&real(path)), None, "{path}");
        }
    }

    #[test]
    fn static_pods_have_a_hash_for_a_uid() {
        let path = format!("/kubepods/burstable/pod0123456789abcdef0123456789abcdef/{ID}");
        let pod = classify(&path).unwrap().pod.unwrap();
        assert_eq!(pod.uid, "0123456789abcdef0123456789abcdef");
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape("a\\x2db"), "a-b");
        assert_eq!(unescape("a\\x2"), "a\\x2");
        assert_eq!(unescape("a\\x+1"), "a\\x+1");
        assert_eq!(unescape("\\xc3\\xa9"), "é");
        assert_eq!(unescape("\\xff"), "\\xff");
    }

    proptest! {
        #[test]
        fn total(path in "\\PC*") {
            let _ = classify(&path);
        }

        #[test]
        fn total_near_real_paths(path in
            "/(kubepods[./-]|pod|docker|lxc|machine-|libpod-|crio-|:|[0-9a-f]{64}|\\\\x2|\\.scope|\\.service|\\.slice|/|é){0,8}"
        ) {
            if let Some(identity) = classify(&path) {
                prop_assert!(!identity.id.is_empty());
            }
        }
    }
}
