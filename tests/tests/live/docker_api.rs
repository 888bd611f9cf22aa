//! Docker's client and its API, pointed at Tare and at dockerd in the same moment.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{
    daemon::RunDir,
    differences::differences,
    docker::{Docker, Run},
    http::{self, Answer},
    lab::Lab,
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

/// Differences of the statistics to those of dockerd, each as its kind and a JSON pointer.
/// `docs/docker-api.md` explains them.
const STATS_DIFFERENCES: [&str; 14] = [
    // Nothing in the kernel counts it.
    "type /blkio_stats/io_time_recursive",
    // dockerd has `null` where Tare has entries, or the other way round: no I/O was counted.
    "type /blkio_stats/io_service_bytes_recursive",
    "type /blkio_stats/io_serviced_recursive",
    "type /blkio_stats/io_queue_recursive",
    "type /blkio_stats/io_service_time_recursive",
    "type /blkio_stats/io_wait_time_recursive",
    "type /blkio_stats/io_merged_recursive",
    "type /blkio_stats/sectors_recursive",
    // Zero is left out, and may be reached between the two readings.
    "extra /memory_stats/failcnt",
    "missing /memory_stats/failcnt",
    // The kernel has no such line, and dockerd writes 0.
    "missing /memory_stats/stats/slab",
    "missing /memory_stats/stats/anon_thp",
    // From API 1.52 on: the same for all containers.
    "missing /os_type",
    // dockerd writes the greatest number where there is no limit.
    "missing /pids_stats/limit",
];

/// The Engine API of a daemon of Tare.
pub(crate) struct Served {
    pub(crate) tare: TareDaemon,
    pub(crate) docker: Docker,
    _run: RunDir,
}

impl Served {
    pub(crate) fn start(lab: &Lab, options: &[&str]) -> Result<Self> {
        let run = RunDir::new()?;
        let socket = run.join("docker.sock");
        let path = socket.to_str().context("the socket's path is not UTF-8")?;
        let usual = ["--docker-api-socket", path, "--labels", "*"];
        let interval = ["--interval", "500ms"];
        let interval = if options.contains(&interval[0]) { &[][..] } else { &interval };
        let args = [&usual[..], interval, options].concat();
        let tare = TareDaemon::start(&lab.tare, &args)?;
        Ok(Self { tare, docker: Docker::at(socket), _run: run })
    }

    pub(crate) fn get(&self, path: &str) -> Result<Answer> {
        http::get(self.docker.socket(), path, &[])
    }

    pub(crate) fn json(&self, path: &str) -> Result<Value> {
        json(&self.docker, path)
    }

    /// Waits until a container is known with all that its runtime says of it.
    pub(crate) fn know(&self, id: &str) -> Result<()> {
        wait::until("a container in the list", PATIENCE, || {
            let answer = self.get(&format!("/containers/{id}/json"))?;
            Ok((answer.status == 200 && !answer.json()?["Image"].is_null()).then_some(()))
        })?;
        // Rates need a sample before.
        sleep(Duration::from_millis(1200));
        Ok(())
    }
}

pub(crate) fn json(docker: &Docker, path: &str) -> Result<Value> {
    let answer = http::get(docker.socket(), path, &[])?;
    ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.text()?);
    answer.json()
}

fn unexplained(theirs: &Value, ours: &Value, explained: &[&str]) -> BTreeSet<String> {
    let mut found = differences(theirs, ours);
    found.retain(|difference| !explained.contains(&difference.as_str()));
    found
}

#[test]
fn statistics_have_the_names_types_and_presence_of_dockerd() -> Result<()> {
    let lab = Lab::open()?;
    let served = Served::start(&lab, &[])?;
    let run = Run::load("serve").option("--memory", "64m").option("--cpus", "0.5");
    let container = lab.start(run.option("--pids-limit", "50").option("--label", "tier=web"))?;
    served.know(container.id())?;
    for query in ["stream=false", "stream=false&one-shot=true"] {
        let path = format!("/v1.41/containers/{}/stats?{query}", container.id());
        let (ours, theirs) = (served.json(&path)?, json(&lab.docker, &path)?);
        let unexplained = unexplained(&theirs, &ours, &STATS_DIFFERENCES);
        ensure!(unexplained.is_empty(), "{query}: {unexplained:?}\n{ours}\n{theirs}");
        for equal in
            ["/id", "/name", "/memory_stats/limit", "/pids_stats", "/cpu_stats/online_cpus"]
        {
            ensure!(ours.pointer(equal) == theirs.pointer(equal), "{equal}: {ours}\n{theirs}");
        }
    }
    // Types of what both know; Tare leaves out what it does not know.
    let only_less = |path: &str| -> Result<()> {
        let mut found = differences(&json(&lab.docker, path)?, &served.json(path)?);
        // dockerd may warn about its own host: a list, or `null`.
        found.retain(|difference| {
            !difference.starts_with("missing ") && difference != "type /Warnings"
        });
        ensure!(found.is_empty(), "{path}: {found:?}");
        Ok(())
    };
    only_less(&format!("/v1.41/containers/{}/json", container.id()))?;
    only_less("/v1.41/containers/json?filters=%7B%22label%22%3A%5B%22tier%3Dweb%22%5D%7D")?;
    only_less("/v1.41/info")?;
    only_less("/v1.41/version")
}

#[test]
fn events_and_ends_reach_the_client() -> Result<()> {
    let lab = Lab::open()?;
    let served = Served::start(&lab, &[])?;
    let container = lab.start(Run::load("serve"))?;
    let (id, name) = (container.id().to_owned(), container.name().to_owned());
    served.know(&id)?;
    let mut stream = http::connect(served.docker.socket())?;
    write!(stream, "GET /containers/{id}/stats HTTP/1.0\r\nHost: x\r\n\r\n")?;
    lab.docker.client(["kill", &name])?;
    let (began, mut bytes, mut buffer) = (Instant::now(), Vec::new(), vec![0; 1 << 16]);
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..length]);
        // Documents come as long as the container is taken for a living one.
        ensure!(began.elapsed() < PATIENCE, "the stream does not end");
    }
    let text = String::from_utf8(bytes)?;
    let (_, body) = text.split_once("\r\n\r\n").context("no head")?;
    let documents: Vec<Value> = serde_json::Deserializer::from_str(body)
        .into_iter()
        .collect::<Result<_, _>>()
        .with_context(|| body.to_owned())?;
    ensure!(documents.len() >= 2, "{body}");
    let (first, last) = (&documents[0], &documents[documents.len() - 1]);
    ensure!(first["memory_stats"]["usage"].as_u64() > Some(0), "{first}");
    ensure!(
        last["read"] == "0001-01-01T00:00:00Z" && last["memory_stats"] == serde_json::json!({}),
        "{last}"
    );

    let events = wait::until("the end", PATIENCE, || {
        let args = ["events", "--since", "10m", "--until", "0s", "--format"];
        let format = "{{.Action}} {{.Actor.Attributes.exitCode}}";
        let filter = format!("container={name}");
        let text = served.docker.client([&args[..], &[format, "--filter", &filter]].concat())?;
        Ok(text.contains("die").then_some(text))
    })?;
    let lines: Vec<&str> = events.lines().map(str::trim).collect();
    ensure!(
        lines == ["create <no value>", "start <no value>", "die 137"]
            || lines == ["create", "start", "die 137"],
        "{events}"
    );
    let listed = served.docker.client(["ps", "--all", "--format", "{{.Names}} {{.State}}"])?;
    ensure!(listed == format!("{name} exited"), "{listed}");
    ensure!(served.docker.client(["ps", "--quiet"])?.is_empty());
    let zero = served.json(&format!("/containers/{name}/stats?stream=false"))?;
    ensure!(zero["cpu_stats"]["cpu_usage"]["total_usage"] == 0, "{zero}");
    ensure!(served.get(&format!("/containers/{name}/top"))?.status == 409);
    lab.docker.client(["rm", &name])?;
    wait::until("the removal", Duration::from_secs(5), || {
        let args = ["events", "--since", "10m", "--until", "0s", "--format", "{{.Action}}"];
        let filter = format!("container={name}");
        let text = served.docker.client([&args[..], &["--filter", &filter]].concat())?;
        Ok(text.ends_with("destroy").then_some(()))
    })?;
    ensure!(served.docker.client(["ps", "--all", "--quiet"])?.is_empty());
    ensure!(served.get(&format!("/containers/{name}/json"))?.status == 404);
    Ok(())
}

#[test]
fn an_oom_kill_is_an_event_as_in_dockerd() -> Result<()> {
    let lab = Lab::open()?;
    let served = Served::start(&lab, &[])?;
    let gate = lab.gate()?;
    let run = Run::load("allocate --bytes 64MiB --for 10s").behind(&gate);
    let run = run.option("--memory", "32m").option("--memory-swap", "32m");
    let container = lab.start(run)?;
    served.know(container.id())?;
    gate.open()?;
    let filter = format!("container={}", container.name());
    let actions = |docker: &Docker| -> Result<Vec<String>> {
        let args = ["events", "--since", "10m", "--until", "0s", "--format", "{{.Action}}"];
        let text = docker.client([&args[..], &["--filter", &filter]].concat())?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    let ours = wait::until("the end", PATIENCE, || {
        let actions = actions(&served.docker)?;
        Ok(actions.contains(&"die".to_owned()).then_some(actions))
    })?;
    ensure!(ours == ["create", "start", "oom", "die"], "{ours:?} {:?}", actions(&lab.docker)?);
    let inspection = served.json(&format!("/containers/{}/json", container.id()))?;
    ensure!(inspection["State"]["OOMKilled"] == true, "{inspection}");
    ensure!(inspection["State"]["ExitCode"] == 137, "{inspection}");
    Ok(())
}

#[test]
fn block_io_that_dockerd_does_not_see_has_all_lists() -> Result<()> {
    const BYTES: u64 = 8 << 20;
    let lab = Lab::open()?;
    let served = Served::start(&lab, &[])?;
    let gate = lab.gate()?;
    let load = format!("write --bytes {BYTES} --path /disk/file --mode direct");
    let disk = lab.scratch.subdirectory()?;
    let container = lab.start(Run::load(&load).linger().mount(&disk, "/disk").behind(&gate))?;
    served.know(container.id())?;
    gate.open()?;
    container.outcome()?;
    sleep(Duration::from_millis(1500));
    let stats = served.json(&format!("/containers/{}/stats?stream=false", container.id()))?;
    let sum = |list: &str, op: &str| -> Option<u64> {
        let entries = stats["blkio_stats"][list].as_array()?.iter();
        Some(entries.filter(|one| one["op"] == op).filter_map(|one| one["value"].as_u64()).sum())
    };
    let written = |op| sum("io_service_bytes_recursive", op);
    let bytes = written("Write").filter(|bytes| *bytes > 0).or_else(|| written("write"));
    ensure!(bytes >= Some(BYTES) && bytes < Some(BYTES + (1 << 20)), "{bytes:?}: {stats}");
    for list in [
        "io_serviced_recursive",
        "io_queue_recursive",
        "io_service_time_recursive",
        "io_wait_time_recursive",
        "io_merged_recursive",
        "sectors_recursive",
    ] {
        ensure!(
            stats["blkio_stats"][list].as_array().is_some_and(|list| !list.is_empty()),
            "{list}: {stats}"
        );
    }
    ensure!(sum("sectors_recursive", "") >= Some(BYTES / 512), "{stats}");
    Ok(())
}

#[test]
fn the_socket_belongs_to_a_group() -> Result<()> {
    let lab = Lab::open()?;
    let served = Served::start(&lab, &["--docker-api-group", "65533"])?;
    let metadata = fs::metadata(served.docker.socket())?;
    ensure!(metadata.gid() == 65533 && metadata.mode() & 0o777 == 0o660, "{metadata:?}");
    let socket = served.docker.socket().to_owned();
    served.tare.terminate()?;
    ensure!(!socket.exists(), "the socket is left behind");
    Ok(())
}
