use proptest::prelude::*;

use super::*;

const ID: &str = "3f4e1b2a9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f";
const UID: &str = "8a1c7f0e-5b3d-4c2a-9e6f-0d1b2c3a4f5e";

/// Replaces `<id>`, `<uid>` and `<u_id>` (escaped) by the constants above.
fn real(pattern: &str) -> String {
    let escaped = UID.replace('-', "_");
    pattern.replace("<id>", ID).replace("<uid>", UID).replace("<u_id>", &escaped)
}

fn found(pattern: &str) -> Option<(Runtime, String, Option<Qos>)> {
    let identity = classify(&real(pattern))?;
    assert_eq!(identity.kind, IdentityKind::Container, "{pattern}");
    if let Some(pod) = &identity.pod {
        assert_eq!(pod.uid, UID, "{pattern}");
    }
    Some((identity.runtime, identity.id, identity.pod.and_then(|pod| pod.qos)))
}

#[test]
fn containers_are_recognised_by_id() {
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
        ("/kubelet/kubepods/burstable/pod<uid>/<id>", Runtime::Containerd, Some(Qos::Burstable)),
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
        ("/k8s.io/<id>", Runtime::Containerd, None),
        (
            "/system.slice/k3s.service/kubepods-besteffort-pod<u_id>.slice:cri-containerd:<id>",
            Runtime::Containerd,
            Some(Qos::BestEffort),
        ),
        // Docker in Docker and kind: recognised, but part of the container above.
        ("/docker/<id>/docker/<id>", Runtime::Docker, None),
        (
            "/docker/<id>/kubelet/kubepods/besteffort/pod<uid>/<id>",
            Runtime::Containerd,
            Some(Qos::BestEffort),
        ),
        (
            "/system.slice/docker-<id>.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod<u_id>.slice/cri-containerd-<id>.scope",
            Runtime::Containerd,
            Some(Qos::Guaranteed),
        ),
        ("/libpod_parent/<id>/libpod-<id>", Runtime::Podman, None),
        ("/machine.slice/machine-libpod_pod_<id>.slice/libpod-<id>.scope", Runtime::Podman, None),
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
fn containers_without_ids_are_recognised_by_name() {
    let table = [
        ("/lxc/web1", Runtime::Lxc, "web1"),
        ("/lxc/101", Runtime::Lxc, "101"),
        ("/lxc.payload.web1", Runtime::Lxc, "web1"),
        ("/lxc.payload/web1", Runtime::Lxc, "web1"),
        ("/lxc.payload.incus_web1", Runtime::Lxc, "incus_web1"),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/run-r1.scope/lxc.payload.web1",
            Runtime::Lxc,
            "web1",
        ),
        ("/machine.slice/machine-lxc\\x2d4711\\x2dweb1.scope", Runtime::Lxc, "web1"),
        ("/machine.slice/systemd-nspawn@deb.service", Runtime::Nspawn, "deb"),
        ("/machine.slice/systemd-nspawn@my\\x2ddeb.service", Runtime::Nspawn, "my-deb"),
        ("/machine.slice/machine-my\\x2ddeb.scope", Runtime::Nspawn, "my-deb"),
    ];
    for (path, runtime, id) in table {
        assert_eq!(found(path), Some((runtime, id.to_owned(), None)), "{path}");
    }
}

#[test]
fn a_container_below_a_users_manager_belongs_to_the_user() {
    let user = |path| classify(&real(path)).unwrap().user;
    let scope = "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-<id>.scope";
    assert_eq!(user(scope), Some(1000));
    assert_eq!(user("/machine.slice/libpod-<id>.scope"), None);
    assert_eq!(user("/user@x.service/libpod-<id>.scope"), None);
}

#[test]
fn the_cgroup_of_a_pod_is_above_its_containers() {
    for (pattern, expected) in [
        ("/kubepods/burstable/pod<uid>/<id>", Some("/kubepods/burstable/pod<uid>")),
        ("/kubepods/pod<uid>/crio-<id>/inner/cgroups", Some("/kubepods/pod<uid>")),
        (
            "/kubepods.slice/kubepods-pod<u_id>.slice/cri-containerd-<id>.scope",
            Some("/kubepods.slice/kubepods-pod<u_id>.slice"),
        ),
        ("/kubepods/burstable/pod<uid>", None),
        ("/else/pod<uid>/<id>", None),
        ("/docker/<id>", None),
        ("", None),
    ] {
        let expected = expected.map(real);
        assert_eq!(pod_cgroup(&real(pattern)), expected.as_deref(), "{pattern}");
    }
}

#[test]
fn services_are_recognised_by_suffix() {
    let table = [
        ("/system.slice/ssh.service", "ssh.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
        ("/system.slice/_cpu.service", "cpu.service"),
        (
            "/system.slice/systemd-fsck@dev-disk-by\\x2duuid-1.service",
            "systemd-fsck@dev-disk-by\\x2duuid-1.service",
        ),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/sync.service", "sync.service"),
    ];
    for (path, id) in table {
        let identity = classify(path).unwrap();
        assert_eq!((identity.kind, identity.runtime), (IdentityKind::Service, Runtime::Systemd));
        assert_eq!((identity.id.as_str(), identity.pod), (id, None), "{path}");
    }
}

#[test]
fn other_cgroups_are_not_recognised() {
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
        "/libpod_parent/conmon",
        "/libpod_parent/<id>",
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-conmon-<id>.scope",
        "/user.slice/user-1000.slice/user@1000.service/user.slice/podman-4711.scope",
        "/system.slice/crio-conmon-<id>.scope/x",
        "/docker/buildkit",
        "/system.slice/docker.service/buildkit/k2f0c5c1v7m8q9w1e2r3t4y5u",
        "/user.slice/user-1000.slice/user@1000.service/app.slice/run-r1.scope/lxc.monitor.web1",
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
fn systemd_escapes_are_decoded() {
    assert_eq!(unescape("a\\x2db"), "a-b");
    assert_eq!(unescape("a\\x2"), "a\\x2");
    assert_eq!(unescape("a\\x+1"), "a\\x+1");
    assert_eq!(unescape("\\xc3\\xa9"), "é");
    assert_eq!(unescape("\\xff"), "\\xff");
}

proptest! {
    #[test]
    fn any_path_is_classified_without_a_panic(path in "\\PC*") {
        let _ = classify(&path);
    }

    #[test]
    fn a_recognised_path_has_an_id(path in
        "/(kubepods[./-]|pod|docker|lxc|machine-|libpod-|crio-|:|[0-9a-f]{64}|\\\\x2|\\.scope|\\.service|\\.slice|/|é){0,8}"
    ) {
        if let Some(identity) = classify(&path) {
            prop_assert!(!identity.id.is_empty());
        }
    }
}
