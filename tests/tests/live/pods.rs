//! Pods as the kubelet makes them, in a real containerd 2 with runc and with crun: names, sums,
//! network rows and the bytes of each member.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use tare_tests::{
    containerd::{
        ContainerMetadata, Containerd,
        PodNetwork::{self, Host, Own},
        PodSandboxMetadata, Programs,
    },
    lab::Lab,
    report::{Report, Row},
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

use crate::daemon_parents::{cpu_seconds, value};

const NAMESPACE: &str = "shop";

/// What a member sends to itself, and the sender to the listener of its pod.
const BYTES: u64 = 3_000_000;

/// How the kubelet names the cgroups of pods.
#[derive(Clone, Copy)]
enum Driver {
    Cgroupfs,
    Systemd,
}

/// A pod that is to be made.
struct Wanted {
    name: &'static str,
    qos: &'static str,
    network: PodNetwork,
}

const PODS: [Wanted; 4] = [
    Wanted { name: "db-0", qos: "guaranteed", network: Own },
    Wanted { name: "web-0", qos: "burstable", network: Own },
    Wanted { name: "batch-0", qos: "besteffort", network: Own },
    Wanted { name: "agent-0", qos: "burstable", network: Host },
];

/// A pod and its containers.
struct Pod {
    wanted: &'static Wanted,
    uid: String,
    /// Path of its own cgroup.
    cgroup: String,
    sandbox: String,
    init: String,
    listener: String,
    sender: String,
    /// What the sender sends: another number in each pod.
    sent: u64,
}

impl Pod {
    fn make(
        containerd: &mut Containerd,
        driver: Driver,
        number: u64,
        wanted: &'static Wanted,
    ) -> Result<Self> {
        let uid = format!("8a1c7f0e-5b3d-4c2a-9e6f-{:012x}", number + 0x0d1b_2c3a_4f5e);
        let cgroup = cgroup(driver, wanted.qos, &uid);
        let metadata = PodSandboxMetadata {
            name: wanted.name.to_owned(),
            uid: uid.clone(),
            namespace: NAMESPACE.to_owned(),
        };
        let sandbox = containerd.run_pod_on(wanted.network, metadata, &cgroup)?;
        let member = |name: &str, load: &str| {
            let metadata = ContainerMetadata { name: name.to_owned(), attempt: 0 };
            let load: Vec<&str> = load.split(' ').collect();
            let id = containerd.create(&sandbox, metadata, &[], 64 << 20, &load)?;
            containerd.start_container(&id)?;
            anyhow::Ok(id)
        };
        let init =
            member("init", &format!("pair --tcp 127.0.0.1:{} --bytes {BYTES}", 7100 + number))?;
        // The kubelet starts the others when it has ended.
        containerd.wait_for_end(&init)?;
        let (address, sent) = (format!("127.0.0.1:{}", 7200 + number), BYTES + number);
        let listener =
            member("listener", &format!("listen --proto tcp --addr {address} --linger"))?;
        let send = format!("send --proto tcp --addr {address} --bytes {sent} --linger");
        let sender = member("sender", &send)?;
        Ok(Self { wanted, uid, cgroup, sandbox, init, listener, sender, sent })
    }

    /// Which pod a row belongs to, and which of its containers.
    fn ensure_named(&self, row: &Row, container: &str) -> Result<()> {
        let expected = serde_json::json!({
            "uid": self.uid, "qos": self.wanted.qos, "name": self.wanted.name,
            "namespace": NAMESPACE, "container": container,
        });
        ensure!(row.get("/pod")? == &expected, "instead of {expected}: {row:?}");
        ensure!(row.str("/name")? == container && row.get("/sandbox")? == false, "{row:?}");
        ensure!(row.str("/runtime")? == "containerd", "{row:?}");
        Ok(())
    }

    fn ensure_counted(&self, report: &Report) -> Result<()> {
        let bytes = |row: &Row, way: &str| row.u64(&format!("/network/sockets/tcp/{way}_bytes"));
        let sandbox = report.row(&self.sandbox)?;
        ensure!(sandbox.get("/sandbox")? == true, "{sandbox:?}");
        ensure!(sandbox.str("/pod/name")? == self.wanted.name, "{sandbox:?}");
        let sender = report.row(&self.sender)?;
        self.ensure_named(&sender, "sender")?;
        ensure!(bytes(&sender, "tx")? == self.sent && bytes(&sender, "rx")? == 0, "{sender:?}");
        let listener = report.row(&self.listener)?;
        self.ensure_named(&listener, "listener")?;
        ensure!(bytes(&listener, "rx")? == self.sent, "{listener:?}");
        ensure!(bytes(&listener, "tx")? == 0, "{listener:?}");
        ensure!(listener.u64("/memory/limit_bytes")? == 64 << 20, "{listener:?}");
        let init = report.ended(&self.init).context("no receipt of the init container")?;
        self.ensure_named(&init, "init")?;
        ensure!(init.get("/exit_code")? == 0, "{init:?}");
        ensure!(bytes(&init, "tx")? == BYTES && bytes(&init, "rx")? == BYTES, "{init:?}");
        Ok(())
    }

    /// The rows of the pod in `/metrics`: CPU time and memory of its own cgroup, and its network
    /// once.
    fn ensure_summed(&self, metrics: &str) -> Result<()> {
        const CPU: &str = "container_cpu_usage_seconds_total";
        const MEMORY: &str = "container_memory_usage_bytes";
        // Idle by now, but for what the runtime does.
        let used = value(metrics, CPU, &self.cgroup)?;
        let own = cpu_seconds(&self.cgroup)?;
        ensure!(used <= own + 0.001 && own - used < 0.1, "{used} of {own} seconds");
        let members: Vec<&str> = metrics
            .lines()
            .filter(|row| row.starts_with(CPU) && row.contains(&format!("id=\"{}/", self.cgroup)))
            .collect();
        ensure!(members.len() == 3, "{members:#?}");
        let ids = members.iter().filter_map(|row| row.split("id=\"").nth(1)?.split('"').next());
        let (mut cpu, mut memory) = (0.0, 0.0);
        for id in ids {
            cpu += value(metrics, CPU, id)?;
            memory += value(metrics, MEMORY, id)?;
        }
        ensure!(cpu <= used, "its members used {cpu} of {used} seconds");
        let held = value(metrics, MEMORY, &self.cgroup)?;
        ensure!(0.0 < memory && memory <= held, "its members hold {memory} of {held} bytes");

        let rows: Vec<&str> = metrics
            .lines()
            .filter(|row| row.starts_with("container_network_receive_bytes_total{"))
            .filter(|row| row.contains(&format!("pod=\"{}\"", self.wanted.name)))
            .collect();
        let expected = usize::from(self.wanted.network == Own);
        ensure!(rows.len() == expected, "{} network rows: {rows:#?}", rows.len());
        for row in rows {
            ensure!(row.contains("interface=\"eth0\""), "{row}");
            ensure!(row.contains(&format!("namespace=\"{NAMESPACE}\"")), "{row}");
        }
        Ok(())
    }
}

/// The path of the pod's cgroup, which the kubelet names to the runtime.
fn cgroup(driver: Driver, qos: &str, uid: &str) -> String {
    match (driver, qos) {
        (Driver::Cgroupfs, "guaranteed") => format!("/kubepods/pod{uid}"),
        (Driver::Cgroupfs, _) => format!("/kubepods/{qos}/pod{uid}"),
        (Driver::Systemd, "guaranteed") => {
            format!("/kubepods.slice/kubepods-pod{}.slice", uid.replace('-', "_"))
        }
        (Driver::Systemd, _) => {
            let uid = uid.replace('-', "_");
            format!("/kubepods.slice/kubepods-{qos}.slice/kubepods-{qos}-pod{uid}.slice")
        }
    }
}

/// containerd 2 with networks for pods, and this OCI runtime.
pub(crate) fn programs(runtime: Option<PathBuf>) -> Result<Programs> {
    Ok(Programs {
        directory: Some(directory("TARE_CONTAINERD_DIR")?),
        runtime,
        cni: Some(directory("TARE_CNI_DIR")?),
    })
}

/// A directory that `cargo xtask test --only live` has filled.
fn directory(variable: &str) -> Result<PathBuf> {
    let found = env::var_os(variable);
    let found = found.with_context(|| format!("{variable} is not set: run `cargo xtask test`"))?;
    Ok(found.into())
}

fn weighs_pods_right(driver: Driver, runtime: &Path) -> Result<()> {
    let lab = Lab::open()?;
    let programs = programs(Some(runtime.to_owned()))?;
    let mut containerd = Containerd::start_with(&lab.scratch, &lab.image, programs)?;
    let version = containerd.client(["version"])?;
    ensure!(version.contains("Version:  2."), "not containerd 2: {version}");
    let socket = containerd.socket();
    let path = socket.to_str().context("the socket's path is not UTF-8")?;
    let tare = lab.tare.option("--cri-socket", path);
    let daemon = TareDaemon::start(&tare, &["--interval", "200ms", "--label-set", "kubelet"])?;
    let mut pods = Vec::new();
    for (number, wanted) in (0..).zip(&PODS) {
        pods.push(Pod::make(&mut containerd, driver, number, wanted)?);
    }
    wait::eventually("each member to have its own bytes", PATIENCE, || {
        let report = Report::parse(&daemon.json("/api/v1/snapshot")?.to_string())?;
        pods.iter().try_for_each(|pod| pod.ensure_counted(&report))
    })?;
    wait::eventually("rows of the pods", PATIENCE, || {
        let metrics = daemon.metrics()?;
        pods.iter().try_for_each(|pod| pod.ensure_summed(&metrics))
    })?;

    // The kubelet restarts a container by making another of the same name.
    let pod = &pods[1];
    containerd.stop_container(&pod.listener)?;
    let metadata = ContainerMetadata { name: "listener".to_owned(), attempt: 1 };
    let again = containerd.create(&pod.sandbox, metadata, &[], 64 << 20, &["serve"])?;
    containerd.start_container(&again)?;
    wait::eventually("the restarted container", PATIENCE, || {
        let report = Report::parse(&daemon.json("/api/v1/snapshot")?.to_string())?;
        let row = report.row(&again)?;
        pod.ensure_named(&row, "listener")?;
        ensure!(row.u64("/restart_count")? == 1, "{row:?}");
        let former = report.ended(&pod.listener).context("no receipt of its former self")?;
        pod.ensure_named(&former, "listener")?;
        ensure!(former.u64("/network/sockets/tcp/rx_bytes")? == pod.sent, "{former:?}");
        Ok(())
    })
}

#[test]
fn pods_of_containerd_2_with_runc() -> Result<()> {
    weighs_pods_right(Driver::Cgroupfs, Path::new("runc"))
}

/// A script that changes what containerd asks a runtime for, and then starts the runtime.
fn changed(start: &str, expressions: &[&str]) -> Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    let expressions: Vec<String> =
        expressions.iter().map(|expression| format!("-e '{expression}'")).collect();
    let script = format!(
        "#!/bin/sh\n\
         for word; do [ \"$last\" = --bundle ] && bundle=$word; last=$word; done\n\
         [ -z \"$bundle\" ] || sed -i -E {} \"$bundle/config.json\" || exit\n\
         exec {start} \"$@\"\n",
        expressions.join(" ")
    );
    let program = directory.path().join("runtime");
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(directory)
}

#[test]
fn pods_of_containerd_2_with_crun() -> Result<()> {
    // Debian 12's crun knows the specification up to 1.1, and nothing of 1.2 is used here. It
    // refuses hosts where cgroup2 has controllers besides those of v1; none is used here.
    const START: &str = r#"unshare --mount sh -c '
        controllers=/sys/fs/cgroup/unified/cgroup.controllers
        [ ! -e $controllers ] || mount --bind /dev/null $controllers || exit
        exec crun "$@"' crun"#;
    let version = r#"s/"ociVersion":"1\.2\.[0-9]"/"ociVersion":"1.0.2"/"#;
    let crun = changed(START, &[version])?;
    weighs_pods_right(Driver::Cgroupfs, &crun.path().join("runtime"))
}

#[test]
fn pods_under_the_names_of_systemd() -> Result<()> {
    // There is no systemd to make the cgroups, so runc makes them where systemd would.
    let expressions = [
        r##"s#"cgroupsPath":"kubepods-(pod[^":]+):cri-containerd:([0-9a-f]+)"#"cgroupsPath":"/kubepods.slice/kubepods-\1/cri-containerd-\2.scope"#"##,
        r##"s#"cgroupsPath":"kubepods-([a-z]+)-(pod[^":]+):cri-containerd:([0-9a-f]+)"#"cgroupsPath":"/kubepods.slice/kubepods-\1.slice/kubepods-\1-\2/cri-containerd-\3.scope"#"##,
    ];
    let runc = changed("runc", &expressions)?;
    weighs_pods_right(Driver::Systemd, &runc.path().join("runtime"))
}
