//! Names and labels from real Docker, Podman and containerd, whose daemons are stopped and started.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tare_tests::{
    binaries,
    containerd::{ContainerMetadata, Containerd, PodSandboxMetadata},
    docker::{Image, Run},
    dockerd::Dockerd,
    lab::Lab,
    podman::Podman,
    process::output,
    report::{Report, Row},
    scratch::unique_name,
    tare::Stream,
    wait::{self, PATIENCE},
};

/// Limit from a container's first program to its name. On an idle machine it takes less than 100
/// ms; tests run on shared machines.
const IN_TIME: SignedDuration = SignedDuration::from_millis(500);

const LIMIT_BYTES: u64 = 64 << 20;

fn time(value: &Value) -> Result<Timestamp> {
    value.as_str().and_then(|text| text.parse().ok()).with_context(|| format!("no time: {value}"))
}

/// The row of a container in the first report that must have its name.
fn named_in_time(tare: &mut Stream, id: &str) -> Result<Row> {
    wait::until("a container's first program", PATIENCE, || {
        let report = tare.report()?;
        let Some(row) = report.find(id) else { return Ok(None) };
        let Ok(started) = time(row.get("/startup/exec_at")?) else { return Ok(None) };
        let age = time(&report.value()["time"])?.duration_since(started);
        if age < IN_TIME {
            return Ok(None);
        }
        ensure!(!row.get("/name")?.is_null(), "no name after {age:#}: {row:?}");
        Ok(Some(row))
    })
}

/// Waits until a container's row satisfies a condition.
fn until(
    tare: &mut Stream,
    id: &str,
    what: &str,
    holds: impl Fn(&Row) -> Result<bool>,
) -> Result<()> {
    wait::until(what, PATIENCE, || {
        let row = tare.report()?.row(id)?;
        Ok(holds(&row)?.then_some(()))
    })
}

/// Waits until an ended container's receipt has its exit.
fn ended(tare: &mut Stream, id: &str) -> Result<Row> {
    wait::until(&format!("how {id} ended"), PATIENCE, || {
        let row = tare.report()?.ended(id);
        Ok(row.filter(|row| row.get("/oom_killed").is_ok_and(|value| !value.is_null())))
    })
}

fn ensure_is(row: &Row, pointer: &str, value: Value) -> Result<()> {
    let found = row.get(pointer)?;
    ensure!(found == &value, "{pointer} is {found} instead of {value}: {row:?}");
    Ok(())
}

/// Waits until the names come from files or memory only, for a reason that names the socket.
fn until_away(tare: &mut Stream, socket: &Path) -> Result<()> {
    let socket = socket.to_str().context("a socket's path is not UTF-8")?;
    wait::until("the daemon to be missed", PATIENCE, || {
        let report = tare.report()?;
        let (state, reason) = report.source("identity")?;
        Ok((state == "degraded" && reason.is_some_and(|r| r.contains(socket))).then_some(()))
    })
}

fn until_back(tare: &mut Stream, source: &str) -> Result<()> {
    wait::until("the daemon to be found again", PATIENCE, || {
        let report = tare.report()?;
        let found = &report.value()["sources"]["identity"]["source"];
        Ok(found.as_str().is_some_and(|text| text.contains(source)).then_some(()))
    })
}

#[test]
fn docker_reports_names_in_time_and_renames_and_ends() -> Result<()> {
    let lab = Lab::open()?;
    let mut tare = lab.tare.clone().option("--labels", "team").stream("100ms")?;
    tare.report()?;
    let limit = format!("{LIMIT_BYTES}");
    let labels = ["team=a", "other=b", "com.docker.compose.project=shop"];
    let run = Run::load("serve").option("--memory", &limit).option("--network", "none");
    let run = labels.iter().fold(run, |run, label| run.option("--label", label));
    let mut container = lab.start(run)?;
    let row = named_in_time(&mut tare, container.id())?;
    ensure_is(&row, "/name", json!(container.name()))?;
    ensure_is(&row, "/labels", json!({"team": "a"}))?;
    ensure_is(&row, "/compose", json!({"project": "shop", "service": null}))?;
    ensure_is(&row, "/sandbox", json!(false))?;
    ensure_is(&row, "/memory/limit_bytes", json!(LIMIT_BYTES))?;
    ensure_is(&row, "/exit_code", Value::Null)?;

    let former = container.name().to_owned();
    container.rename()?;
    let name = json!(container.name());
    until(&mut tare, container.id(), "the new name", |row| Ok(row.get("/name")? == &name))?;

    // The old name can be used again.
    let namesake =
        lab.docker.client(["run", "-d", "--network=none", "--name", &former, lab.image()])?;
    let row = named_in_time(&mut tare, &namesake);
    let id = container.id().to_owned();
    lab.docker.client(["kill", &id])?;
    let end = ended(&mut tare, &id);
    let alive = tare.report()?.row(&namesake);
    lab.docker.client(["rm", "-f", &namesake])?;
    let (row, end, alive) = (row?, end?, alive?);
    ensure_is(&row, "/name", json!(former))?;
    ensure_is(&alive, "/name", json!(former))?;
    ensure_is(&end, "/name", name)?;
    ensure_is(&end, "/exit_code", json!(137))?;
    ensure_is(&end, "/oom_killed", json!(false))
}

#[test]
fn docker_reports_each_end_of_a_restarted_container() -> Result<()> {
    let lab = Lab::open()?;
    let mut tare = lab.tare.stream("100ms")?;
    tare.report()?;
    let policy = Run::load("allocate --bytes 64MiB --for 1s").option("--restart", "on-failure:1");
    let container = lab.start(
        policy.option("--memory", "32m").option("--memory-swap", "32m").option("--network", "none"),
    )?;
    let ends: Vec<Row> = wait::until("two ends", PATIENCE, || {
        let report = tare.report()?;
        let all = report.value()["ended"].as_array().context("ended")?.clone();
        let of_it = all.into_iter().filter(|row| row["id"] == container.id());
        let ends: Vec<_> =
            of_it.filter(|row| !row["oom_killed"].is_null()).map(Row::from).collect();
        Ok((ends.len() == 2).then_some(ends))
    })?;
    for end in &ends {
        ensure_is(end, "/exit_code", json!(137))?;
        ensure_is(end, "/oom_killed", json!(true))?;
        ensure_is(end, "/name", json!(container.name()))?;
    }
    Ok(())
}

#[test]
fn docker_reports_health() -> Result<()> {
    let lab = Lab::open()?;
    let base = lab.start(Run::load("serve"))?;
    let image = unique_name();
    let check = r#"HEALTHCHECK --interval=1s CMD ["/tare-load", "sleep", "--for", "1ms"]"#;
    lab.docker.client(["commit", "--change", check, base.id(), &image])?;
    let checked = lab.docker.client(["run", "-d", "--network=none", "--name", &image, &image]);
    let seen = checked.and_then(|id| {
        let mut tare = lab.tare.stream("100ms")?;
        until(&mut tare, &id, "the first health check", |row| Ok(row.get("/health")? == "healthy"))
    });
    lab.docker.client(["rm", "-f", &image])?;
    lab.docker.client(["image", "rm", "-f", &image])?;
    seen
}

#[test]
fn metadata_of_docker_outlives_the_daemon_and_is_renewed_when_it_is_back() -> Result<()> {
    let lab = Lab::open()?;
    let mut dockerd = Dockerd::start(&lab.scratch)?;
    let docker = dockerd.docker();
    let image = Image::import(&docker, &binaries::load()?, &lab.scratch)?;
    let run = || Run::load("serve").option("--network", "none");
    let mut container = run().start(&image)?;
    let named = |row: &Row, name: &str| Ok(row.get("/name")? == name);
    let mut tare = lab.tare.clone().with_docker(&docker).stream("100ms")?;
    until(&mut tare, container.id(), "the name", |row| named(row, container.name()))?;

    dockerd.stop_daemon();
    until_away(&mut tare, docker.socket())?;
    ensure_is(&tare.fresh()?.row(container.id())?, "/name", json!(container.name()))?;
    // Another Tare finds it in Docker's files, if they are at their usual place.
    let script = "mount -t tmpfs none /var/lib && mkdir /var/lib/docker && \
                  mount --bind \"$1\" /var/lib/docker && shift && exec \"$@\"";
    let mut aside = Command::new("unshare");
    aside.args(["--mount", "sh", "-c", script, "sh"]).arg(dockerd.root());
    let plain = lab.tare.with_docker(&docker);
    let once = plain.command(&["stats", "--no-stream", "--format", "json"]);
    aside.arg(once.get_program()).args(once.get_args());
    let report = Report::parse(&output(aside, PATIENCE)?)?;
    let row = report.row(container.id())?;
    ensure_is(&row, "/name", json!(container.name()))?;
    ensure_is(&row, "/image", json!(image.name()))?;
    ensure!(report.source("identity")?.0 == "degraded", "{:?}", report.source("identity"));

    dockerd.start_daemon()?;
    container.rename()?;
    until_back(&mut tare, "Docker")?;
    until(&mut tare, container.id(), "the new name", |row| named(row, container.name()))?;
    let late = run().start(&image)?;
    ensure_is(&named_in_time(&mut tare, late.id())?, "/name", json!(late.name()))
}

#[test]
fn settings_that_docker_changes_show_at_once() -> Result<()> {
    // Settings are read every 30 s besides.
    const CHANGES: u64 = 3;
    const IN_TIME: Duration = Duration::from_secs(20);
    let lab = Lab::open()?;
    let mut tare = lab.tare.stream("100ms")?;
    tare.report()?;
    let limit = |mebibytes: u64| mebibytes << 20;
    let run = Run::load("serve").option("--memory", &limit(64).to_string());
    let container = lab.start(run.option("--network", "none"))?;
    let shows = |row: &Row, bytes| Ok(row.get("/memory/limits/max_bytes")? == &json!(bytes));
    let row = named_in_time(&mut tare, container.id())?;
    ensure!(shows(&row, limit(64))?, "the first limit: {row:?}");
    let begun = Instant::now();
    for change in 1..=CHANGES {
        let bytes = limit(64 + change);
        let (memory, swap) = (format!("--memory={bytes}"), format!("--memory-swap={bytes}"));
        lab.docker.client(["update", &memory, &swap, container.id()])?;
        until(&mut tare, container.id(), "the new limit", |row| shows(row, bytes))?;
    }
    let took = begun.elapsed();
    ensure!(took < IN_TIME, "{CHANGES} changes showed after {took:?}");
    Ok(())
}

#[test]
fn podman_reports_names_in_time_and_renames_pods_and_ends() -> Result<()> {
    let lab = Lab::open()?;
    let mut podman = Podman::start(&lab.scratch, &lab.image)?;
    let socket = podman.socket();
    let path = socket.to_str().context("the socket's path is not UTF-8")?;
    let tare = lab.tare.option("--podman-socket", path).option("--labels", "te*");
    let tare = tare.option("--environment", "TARE_ZONE");
    let mut tare = tare.stream("100ms")?;
    tare.report()?;
    let memory = format!("--memory={LIMIT_BYTES}");
    let id = podman.run(
        "first",
        &[&memory, "--label=team=a", "--label=x=y", "--env=TARE_ZONE=a"],
        &["serve"],
    )?;
    let row = named_in_time(&mut tare, &id)?;
    ensure_is(&row, "/runtime", json!("podman"))?;
    ensure_is(&row, "/name", json!("first"))?;
    ensure_is(&row, "/image", json!(podman.image()))?;
    ensure_is(&row, "/labels", json!({"team": "a"}))?;
    ensure_is(&row, "/sandbox", json!(false))?;
    ensure_is(&row, "/memory/limit_bytes", json!(LIMIT_BYTES))?;

    let environment = json!({"TARE_ZONE": "a"});
    until(&mut tare, &id, "its variable", |row| Ok(row.get("/environment")? == &environment))?;
    podman.client(["rename", "first", "second"])?;
    until(&mut tare, &id, "the new name", |row| Ok(row.get("/name")? == "second"))?;
    podman.stop_service();
    until_away(&mut tare, &socket)?;
    ensure_is(&tare.fresh()?.row(&id)?, "/name", json!("second"))?;
    podman.start_service()?;
    until_back(&mut tare, "Podman API")?;
    podman.client(["kill", "second"])?;
    let end = ended(&mut tare, &id)?;
    ensure_is(&end, "/exit_code", json!(137))?;
    ensure_is(&end, "/name", json!("second"))
}

#[test]
fn cri_reports_pods_in_time_and_containerd_the_rest() -> Result<()> {
    const UID: &str = "8a1c7f0e-5b3d-4c2a-9e6f-0d1b2c3a4f5e";
    let lab = Lab::open()?;
    let mut containerd = Containerd::start(&lab.scratch, &lab.image)?;
    let socket = containerd.socket();
    let path = socket.to_str().context("the socket's path is not UTF-8")?;
    let tare = lab.tare.option("--cri-socket", path).option("--labels", "team");
    let tare = tare.option("--environment", "TARE_ZONE");
    let mut tare = tare.stream("100ms")?;
    tare.report()?;
    let metadata = PodSandboxMetadata {
        name: "web-0".to_owned(),
        uid: UID.to_owned(),
        namespace: "shop".to_owned(),
    };
    let pod = containerd.run_pod(metadata, &format!("/kubepods/burstable/pod{UID}"))?;
    let row = named_in_time(&mut tare, &pod)?;
    ensure_is(&row, "/name", json!("web-0"))?;
    ensure_is(&row, "/sandbox", json!(true))?;
    let metadata = ContainerMetadata { name: "app".to_owned(), attempt: 2 };
    let limit = i64::try_from(LIMIT_BYTES)?;
    let labels = [("team", "a"), ("other", "b")];
    let id = containerd.create(&pod, metadata, &labels, limit, &["serve"])?;
    containerd.start_container(&id)?;
    let row = named_in_time(&mut tare, &id)?;
    let (name, namespace, container) = ("web-0", "shop", "app");
    let place = json!({
        "uid": UID, "qos": "burstable", "name": name, "namespace": namespace, "container": container
    });
    ensure_is(&row, "/runtime", json!("containerd"))?;
    ensure_is(&row, "/name", json!("app"))?;
    ensure_is(&row, "/pod", place)?;
    ensure_is(&row, "/image", json!(containerd.image()))?;
    ensure_is(&row, "/labels", json!({"team": "a"}))?;
    ensure_is(&row, "/environment", json!({"TARE_ZONE": "a=b"}))?;
    ensure_is(&row, "/sandbox", json!(false))?;
    ensure_is(&row, "/restart_count", json!(2))?;
    ensure_is(&row, "/memory/limit_bytes", json!(LIMIT_BYTES))?;
    time(row.get("/started_at")?)?;

    containerd.stop_daemon();
    let row = tare.fresh()?.row(&id)?;
    ensure_is(&row, "/name", json!("app"))?;
    containerd.start_daemon()?;
    let plain = "3f4e1b2a9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f";
    containerd.run_plain(plain, "nerdctl/name=plain", &["serve"])?;
    let row = named_in_time(&mut tare, plain)?;
    ensure_is(&row, "/name", json!("plain"))?;
    ensure_is(&row, "/environment", json!({"TARE_ZONE": "c"}))?;
    ensure_is(&row, "/image", json!(containerd.image()))?;

    containerd.stop_container(&id)?;
    let end = ended(&mut tare, &id)?;
    ensure_is(&end, "/exit_code", json!(0))?;
    ensure_is(&end, "/pod/name", json!("web-0"))
}
