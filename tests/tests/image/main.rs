//! The image under the real Docker, started as the `DaemonSet` starts it.

use std::{env, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{
    docker::{Container, Docker, Run},
    lab::Lab,
    process::output,
    report::Report,
    wait::{self, PATIENCE},
};

/// The capabilities of the overlay `least-privilege`.
fn capabilities() -> Result<Vec<String>> {
    let overlay = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/kubernetes/overlays/least-privilege/daemonset.yaml");
    let text = fs::read_to_string(overlay)?;
    let (_, added) = text.split_once("              add:\n").context("no capabilities")?;
    let names = added.lines().filter_map(|line| line.trim().strip_prefix("- "));
    let names: Vec<String> = names.map(str::to_owned).collect();
    ensure!(names.len() > 3, "{names:?}");
    Ok(names)
}

/// The paths that the kubelet asks for.
fn probes() -> Result<Vec<String>> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes/base");
    let text = fs::read_to_string(base.join("daemonset.yaml"))?;
    let lines = text.lines().map(str::trim);
    let paths = lines.skip_while(|line| *line != "livenessProbe:");
    let paths = paths.take_while(|line| *line != "securityContext:");
    let paths: Vec<String> =
        paths.filter_map(|line| line.strip_prefix("path: ")).map(str::to_owned).collect();
    ensure!(paths.len() == 2, "{paths:?}");
    Ok(paths)
}

/// A container of the image, removed on drop.
struct TareContainer<'a> {
    docker: &'a Docker,
    id: String,
}

impl<'a> TareContainer<'a> {
    fn start(docker: &'a Docker, options: &[String]) -> Result<Self> {
        let image = env::var("TARE_IMAGE").context("run `cargo xtask test --only image`")?;
        let socket = docker.socket().parent().context("a socket is in a directory")?;
        let mut args: Vec<String> = [
            "run",
            "--detach",
            "--pid",
            "host",
            "--read-only",
            "--network",
            "none",
            "--tmpfs",
            "/run/tare",
            "--volume",
            "/sys/fs/cgroup:/host/sys/fs/cgroup:ro",
            "--health-interval",
            "1s",
        ]
        .map(str::to_owned)
        .into();
        args.extend(["--volume".to_owned(), format!("{}:/run/docker:ro", socket.display())]);
        args.extend_from_slice(options);
        args.push(image);
        args.extend(
            ["run", "--cgroup-root=/host/sys/fs/cgroup", "--listen=0.0.0.0:9753"]
                .map(str::to_owned),
        );
        let name = docker.socket().file_name().context("a socket has a name")?;
        args.push(format!("--docker-socket=/run/docker/{}", name.display()));
        Ok(Self { docker, id: docker.client(args)?.trim().to_owned() })
    }

    /// Runs `tare` in the container.
    fn tare(&self, args: &[&str]) -> Result<String> {
        self.docker.client(["exec", &self.id, "/tare"].iter().chain(args))
    }

    /// The status of an answer, asked as the kubelet and Prometheus ask: over TCP, by address.
    fn status(&self, path: &str) -> Result<String> {
        let pid = self.docker.inspect(&self.id, "{{.State.Pid}}")?;
        let mut ask = Command::new("nsenter");
        ask.args(["--target", pid.trim(), "--net", "curl", "--silent", "--output", "/dev/null"]);
        ask.args(["--write-out", "%{http_code}", &format!("http://127.0.0.1:9753{path}")]);
        output(ask, PATIENCE)
    }

    fn report(&self) -> Result<Report> {
        let args = ["snapshot", "--daemon", "/run/tare/tare.sock", "--window", "0s"];
        Report::parse(&self.tare(&[&args[..], &["--format", "json"]].concat())?)
    }

    fn log(&self) -> String {
        // The log is on standard error.
        let mut logs = Command::new("docker");
        logs.arg("--host").arg(format!("unix://{}", self.docker.socket().display()));
        let done = logs.args(["logs", &self.id]).output();
        done.map_or_else(
            |error| error.to_string(),
            |done| String::from_utf8_lossy(&done.stderr).into_owned(),
        )
    }
}

impl Drop for TareContainer<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.docker.client(["rm", "--force", &self.id]) {
            eprintln!("cannot remove {}: {error:#}", self.id);
        }
    }
}

/// Loads of known size, and what Tare in a container says about them.
fn weighs_the_others_right(lab: &Lab, options: &[String]) -> Result<()> {
    let gate = lab.gate()?;
    let data = lab.scratch.subdirectory()?;
    let write = "write --bytes 8MiB --block 64KiB --path /data/file --mode direct";
    let writer = lab.start(Run::load(write).mount(&data, "/data").behind(&gate).linger())?;
    let pair = Run::load("pair --tcp 127.0.0.1:7853 --bytes 10000000").option("--network", "host");
    let sender = lab.start(pair.behind(&gate).linger())?;
    let holder =
        lab.start(Run::load("allocate --bytes 20MiB --for 600s").option("--memory", "64m"))?;
    holder.ready()?;
    let tare = TareContainer::start(&lab.docker, options)?;
    check(lab, &tare, &writer, &sender, &holder, &gate).with_context(|| tare.log())
}

fn check(
    lab: &Lab,
    tare: &TareContainer,
    writer: &Container,
    sender: &Container,
    holder: &Container,
    gate: &tare_tests::docker::Gate,
) -> Result<()> {
    wait::until("the health check to pass", PATIENCE, || {
        let health = lab.docker.inspect(&tare.id, "{{.State.Health.Status}}")?;
        Ok((health.trim() == "healthy").then_some(()))
    })?;
    ensure!(tare.tare(&["health"])?.is_empty(), "`tare health` says something");
    for path in probes()?.iter().map(String::as_str).chain(["/metrics"]) {
        let status = tare.status(path)?;
        ensure!(status == "200", "{path}: {status}");
    }
    for family in ["network_sockets", "network_tcp", "block", "lifecycle", "network_interfaces"] {
        let report = tare.report()?;
        report.require(family)?;
    }
    gate.open()?;
    writer.outcome()?;
    sender.outcome()?;
    let report = wait::until("a sample after the load", Duration::from_secs(20), || {
        let report = tare.report()?;
        let written = report.row(writer.id())?.u64("/block/write_bytes").unwrap_or_default();
        Ok((written >= 8 << 20).then_some(report))
    })?;
    let row = report.row(writer.id())?;
    ensure!(row.str("/name")? == writer.name(), "{row:?}");
    ensure!(row.u64("/block/write_bytes")? == 8 << 20, "{row:?}");
    let row = report.row(sender.id())?;
    ensure!(row.u64("/network/sockets/tcp/tx_bytes")? == 10_000_000, "{row:?}");
    ensure!(row.u64("/network/sockets/tcp/rx_bytes")? == 10_000_000, "{row:?}");
    let row = report.row(holder.id())?;
    ensure!(row.u64("/memory/limit_bytes")? == 64 << 20, "{row:?}");
    let used = row.u64("/memory/usage_bytes")?;
    ensure!((20 << 20..30 << 20).contains(&used), "{used} bytes");
    // Its own row too, with the name that Docker gave.
    let own: Value = report.row(&tare.id)?.get("/name")?.clone();
    ensure!(own.as_str().is_some_and(|name| !name.is_empty()), "{own}");
    Ok(())
}

/// The capabilities that this machine can give, as a mask.
fn bounding_set() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    Ok(u64::from_str_radix(mask.context("no CapBnd")?.trim(), 16)?)
}

/// `CAP_SYS_RESOURCE` of `linux/capability.h`. Machines that are containers themselves may lack it,
/// and Docker cannot give what they lack.
const SYS_RESOURCE: u32 = 24;

/// Docker before 23 neither knows `CAP_BPF` and `CAP_PERFMON` nor allows them these system calls;
/// there `CAP_SYS_ADMIN` stands for both.
fn knows_bpf(docker: &Docker) -> Result<bool> {
    let version = docker.client(["version", "--format", "{{.Server.Version}}"])?;
    let major: u32 = version.split('.').next().unwrap_or_default().trim().parse()?;
    Ok(major >= 23)
}

fn least_privilege(lab: &Lab, cgroup_namespace: &str) -> Result<Vec<String>> {
    let mut options = vec!["--cgroupns".to_owned(), cgroup_namespace.to_owned()];
    options.extend(["--cap-drop", "ALL", "--security-opt", "no-new-privileges"].map(str::to_owned));
    let lacks_resource = bounding_set()? & (1 << SYS_RESOURCE) == 0;
    let knows_bpf = knows_bpf(&lab.docker)?;
    for capability in capabilities()? {
        let given = match &*capability {
            "SYS_RESOURCE" if lacks_resource => continue,
            "BPF" | "PERFMON" if !knows_bpf => "SYS_ADMIN",
            other => other,
        };
        options.extend(["--cap-add".to_owned(), given.to_owned()]);
    }
    Ok(options)
}

/// `--privileged`, or as near to it as this machine can come.
fn all_privileges() -> Result<Vec<String>> {
    let options: &[&str] = if bounding_set()? & (1 << SYS_RESOURCE) == 0 {
        &["--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--security-opt", "seccomp=unconfined"]
    } else {
        &["--privileged"]
    };
    Ok(options.iter().map(|&option| option.to_owned()).collect())
}

#[test]
fn with_least_privilege_in_a_private_cgroup_namespace() -> Result<()> {
    let lab = Lab::open()?;
    weighs_the_others_right(&lab, &least_privilege(&lab, "private")?)
}

#[test]
fn with_least_privilege_in_the_cgroup_namespace_of_the_host() -> Result<()> {
    let lab = Lab::open()?;
    weighs_the_others_right(&lab, &least_privilege(&lab, "host")?)
}

#[test]
fn with_all_privileges() -> Result<()> {
    weighs_the_others_right(&Lab::open()?, &all_privileges()?)
}

#[test]
fn the_image_is_small_and_labelled() -> Result<()> {
    let lab = Lab::open()?;
    let image = env::var("TARE_IMAGE").context("run `cargo xtask test --only image`")?;
    let field = |template| lab.docker.client(["image", "inspect", "--format", template, &image]);
    let bytes: u64 = field("{{.Size}}")?.trim().parse()?;
    ensure!(bytes <= 11 << 20, "{bytes} bytes");
    ensure!(field("{{index .Config.Labels \"org.opencontainers.image.title\"}}")?.trim() == "tare");
    ensure!(field("{{json .Config.Healthcheck.Test}}")?.contains("health"), "no health check");
    Ok(())
}
