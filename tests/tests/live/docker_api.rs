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
    docker::{Docker, Run},
    http::{self, Answer},
    lab::Lab,
    podman::Podman,
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
    // dockerd from 28 on: the same for all containers.
    "missing /os_type",
    // dockerd writes the greatest number where there is no limit.
    "missing /pids_stats/limit",
];

/// The Engine API of a daemon of Tare.
struct Served {
    tare: TareDaemon,
    docker: Docker,
    _run: RunDir,
}

impl Served {
    fn start(lab: &Lab, options: &[&str]) -> Result<Self> {
        let run = RunDir::new()?;
        let socket = run.join("docker.sock");
        let path = socket.to_str().context("the socket's path is not UTF-8")?;
        let usual = ["--docker-api-socket", path, "--labels", "*", "--interval", "500ms"];
        let args = [&usual[..], options].concat();
        let tare = TareDaemon::start(&lab.tare, &args)?;
        Ok(Self { tare, docker: Docker::at(socket), _run: run })
    }

    fn get(&self, path: &str) -> Result<Answer> {
        http::get(self.docker.socket(), path, &[])
    }

    fn json(&self, path: &str) -> Result<Value> {
        json(&self.docker, path)
    }

    /// Waits until a container is known with all that its runtime says of it.
    fn know(&self, id: &str) -> Result<()> {
        wait::until("a container in the list", PATIENCE, || {
            let answer = self.get(&format!("/containers/{id}/json"))?;
            Ok((answer.status == 200 && !answer.json()?["Image"].is_null()).then_some(()))
        })?;
        // Rates need a sample before.
        sleep(Duration::from_millis(1200));
        Ok(())
    }
}

fn json(docker: &Docker, path: &str) -> Result<Value> {
    let answer = http::get(docker.socket(), path, &[])?;
    ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.text()?);
    answer.json()
}

/// What differs in name, type or presence.
fn differences(pointer: &str, theirs: &Value, ours: &Value, found: &mut BTreeSet<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let keys: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
            for key in keys {
                let pointer = format!("{pointer}/{key}");
                match (theirs.get(key), ours.get(key)) {
                    (Some(theirs), Some(ours)) => differences(&pointer, theirs, ours, found),
                    (Some(_), None) => drop(found.insert(format!("missing {pointer}"))),
                    (None, _) => drop(found.insert(format!("extra {pointer}"))),
                }
            }
        }
        // Lists have entries of one kind, and need not be of the same length.
        (Value::Array(theirs), Value::Array(ours)) => {
            if let (Some(theirs), Some(ours)) = (theirs.first(), ours.first()) {
                differences(&format!("{pointer}/0"), theirs, ours, found);
            }
        }
        _ if std::mem::discriminant(theirs) != std::mem::discriminant(ours) => {
            found.insert(format!("type {pointer}"));
        }
        _ => {}
    }
}

fn unexplained(theirs: &Value, ours: &Value, explained: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    differences("", theirs, ours, &mut found);
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
        let mut found = BTreeSet::new();
        differences("", &json(&lab.docker, path)?, &served.json(path)?, &mut found);
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

/// The position of the column `C` of `docker top`, the use of the CPU at the moment.
const C: usize = 3;

/// The words of `docker top` without that column.
fn without_c(top: &str) -> Vec<Vec<&str>> {
    let mut lines: Vec<Vec<_>> = top.lines().map(|l| l.split_whitespace().collect()).collect();
    for words in lines.iter_mut().filter(|words| words.len() > C) {
        words.remove(C);
    }
    lines
}

#[test]
fn the_real_client_shows_the_same_through_tare() -> Result<()> {
    let lab = Lab::open()?;
    let served = Served::start(&lab, &[])?;
    let busy = lab.start(Run::load("spin --for 10m").option("--cpus", "0.3"))?;
    let idle = lab.start(Run::load("serve").option("--label", "tier=idle"))?;
    served.know(busy.id())?;
    served.know(idle.id())?;
    let both = |args: &[&str]| -> Result<(String, String)> {
        Ok((served.docker.client(args)?, lab.docker.client(args)?))
    };
    for args in [
        &["ps", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.Image}} {{.State}} {{.Labels}}"][..],
        &["ps", "--quiet", "--filter", "label=tier=idle"],
        &["ps", "--quiet", "--filter", &format!("name={}", busy.name())],
        &["ps", "--quiet", "--filter", &format!("ancestor={}", lab.image())],
        &["ps", "--quiet", "--filter", "status=paused"],
        &["ps", "--quiet", "--last", "1"],
        &[
            "inspect",
            "--format",
            "{{.Id}} {{.Name}} {{.State.Pid}} {{.Created}} {{.Path}} {{.Args}}",
            idle.name(),
        ],
        &["top", idle.name(), "-eo", "pid,ppid,user,comm,args"],
    ] {
        let (ours, theirs) = both(args)?;
        ensure!(ours == theirs, "{args:?}:\n{ours}\n{theirs}");
    }
    let (ours, theirs) = both(&["top", idle.name()])?;
    ensure!(without_c(&ours) == without_c(&theirs), "{ours}\n{theirs}");
    let stats = ["stats", "--no-stream", "--no-trunc", "--format", "{{json .}}"];
    let (ours, theirs) = both(&stats)?;
    let rows = |text: &str| -> Result<Vec<Value>> {
        let rows = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
        let mut rows = rows.with_context(|| text.to_owned())?;
        rows.sort_by_key(|row| row["ID"].to_string());
        Ok(rows)
    };
    let (ours, theirs) = (rows(&ours)?, rows(&theirs)?);
    ensure!(ours.len() == theirs.len() && ours.len() == 2, "{ours:?} {theirs:?}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        for same in ["ID", "Name", "Container", "PIDs"] {
            ensure!(ours[same] == theirs[same], "{same}: {ours} {theirs}");
        }
        let percent = |row: &Value| -> Result<f64> {
            let text = row["CPUPerc"].as_str().and_then(|text| text.strip_suffix('%'));
            Ok(text.with_context(|| row.to_string())?.parse()?)
        };
        let (ours_cpu, theirs_cpu) = (percent(ours)?, percent(theirs)?);
        // Two intervals of one second each, of a load that is held to its quota.
        ensure!((ours_cpu - theirs_cpu).abs() < 12.0, "{ours} {theirs}");
    }
    let named =
        served.docker.client(["stats", "--no-stream", "--format", "{{.Name}}", idle.name()])?;
    ensure!(named == idle.name(), "{named}");
    let version = served.docker.client(["version", "--format", "{{.Server.Platform.Name}}"])?;
    ensure!(version == "Tare", "{version}");
    let count = served.docker.client(["info", "--format", "{{.ContainersRunning}}"])?;
    ensure!(count == "2", "{count}");
    Ok(())
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
    let mut text = String::new();
    stream.read_to_string(&mut text).context("the stream does not end")?;
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
fn a_podman_container_is_in_docker_stats_and_gone_within_a_tick() -> Result<()> {
    let lab = Lab::open()?;
    let podman = Podman::start(&lab.scratch, &lab.image)?;
    let socket = podman.socket();
    let path = socket.to_str().context("the socket's path is not UTF-8")?;
    let served = Served::start(&lab, &["--podman-socket", path])?;
    let id = podman.run("pod-a", &["--memory=64m"], &["serve"])?;
    served.know(&id)?;
    let args =
        ["stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.Name}} {{.MemUsage}}"];
    let row = served.docker.client(args)?;
    let used = row.strip_prefix(&format!("{id} pod-a ")).with_context(|| row.clone())?;
    ensure!(used.ends_with(" / 64MiB") && !used.starts_with("0B"), "{row}");
    podman.client(["kill", "pod-a"])?;
    let ended = Instant::now();
    wait::until("the end of a row", Duration::from_secs(5), || {
        Ok(served.docker.client(["ps", "--quiet"])?.is_empty().then_some(()))
    })?;
    ensure!(ended.elapsed() < Duration::from_millis(1500), "{:?}", ended.elapsed());
    Ok(())
}

#[test]
fn bad_requests_get_the_failures_of_docker() -> Result<()> {
    let lab = Lab::open()?;
    let served = Served::start(&lab, &[])?;
    let container = lab.start(Run::load("serve"))?;
    served.know(container.id())?;
    let id = container.id();
    for (path, status, said) in [
        ("/containers/nosuch/json".to_owned(), 404, "No such container: nosuch"),
        ("/v1.41/containers/nosuch/stats".to_owned(), 404, "No such container: nosuch"),
        (format!("/containers/{id}/stats?one-shot=1"), 400, "one-shot"),
        (format!("/containers/{id}/top?ps_args=-Z"), 400, "-Z"),
        (format!("/containers/{id}/top?ps_args=-o+comm"), 400, "PID"),
        ("/containers/json?filters=x".to_owned(), 400, "invalid filters"),
        (
            "/containers/json?filters=%7B%22x%22%3A%5B%22y%22%5D%7D".to_owned(),
            400,
            "invalid filter 'x'",
        ),
        ("/containers/json?filters=%7B%22status%22%3A%5B%22y%22%5D%7D".to_owned(), 400, "'status'"),
        ("/containers/json?filters=%7B%22volume%22%3A%5B%22y%22%5D%7D".to_owned(), 501, "volume"),
        ("/containers/json?limit=x".to_owned(), 400, "limit"),
        ("/events?since=x".to_owned(), 400, "since"),
        ("/events?since=5&until=4".to_owned(), 400, "until"),
        ("/v1.23/version".to_owned(), 400, "too old"),
        ("/v1.99/version".to_owned(), 400, "too new"),
        ("/images/json".to_owned(), 501, "images"),
        ("/images/x/json".to_owned(), 404, "No such image: x"),
        (format!("/containers/{id}/logs"), 501, "Tare"),
        ("/nosuch".to_owned(), 404, "page not found"),
        ("/%ff".to_owned(), 400, "UTF-8"),
    ] {
        let answer = served.get(&path)?;
        let message = answer.json()?["message"].as_str().unwrap_or_default().to_owned();
        ensure!(
            answer.status == status && message.contains(said),
            "{path}: {} {message}",
            answer.status
        );
        ensure!(answer.header("api-version") == Some("1.51"), "{path}: {answer:?}");
    }
    let socket = served.docker.socket();
    let send = |request: String| http::send(socket, request.as_bytes());
    let head = "HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    ensure!(send(format!("POST /containers/create {head}"))? == 405);
    ensure!(send(format!("DELETE /containers/{id} {head}"))? == 405);
    ensure!(send(format!("BREW /x {head}"))? == 405);
    let long = "x".repeat(17 << 10);
    ensure!(send(format!("GET /info HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"))? == 431);
    let refused = served.docker.client(["stop", container.name()]).err().context("it stopped")?;
    ensure!(format!("{refused:#}").contains("only GET"), "{refused:#}");
    ensure!(container.pid()? != "0", "it has ended");
    Ok(())
}

#[test]
fn a_thousand_streams_share_one_document_and_leave_nothing_behind() -> Result<()> {
    const STREAMS: usize = 1000;
    let lab = Lab::open()?;
    let served = Served::start(&lab, &[])?;
    let container = lab.start(Run::load("serve"))?;
    let brief = lab.start(Run::load("serve"))?;
    served.know(container.id())?;
    let descriptors =
        || -> Result<usize> { Ok(fs::read_dir(format!("/proc/{}/fd", served.tare.id()))?.count()) };
    let resident = || served.tare.metric("process_resident_memory_bytes");
    let (descriptors_before, resident_before) = (descriptors()?, resident()?);
    let mut streams = Vec::new();
    for number in 0..STREAMS {
        let id = if number % 10 == 0 { brief.id() } else { container.id() };
        let mut stream = http::connect(served.docker.socket())?;
        write!(stream, "GET /containers/{id}/stats HTTP/1.1\r\nHost: x\r\n\r\n")?;
        streams.push(stream);
    }
    // Containers come and go meanwhile.
    brief.remove();
    sleep(Duration::from_millis(1800));
    let mut documents = BTreeSet::new();
    for (number, stream) in streams.iter_mut().enumerate().filter(|(number, _)| number % 10 != 0) {
        let mut buffer = vec![0; 1 << 16];
        let length = stream.read(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let reads = text.matches("\"preread\"").count();
        ensure!(reads >= 3, "stream {number} has {reads} documents: {text}");
        documents.extend(text.lines().filter(|line| line.starts_with('{')).map(str::to_owned));
    }
    // All streams got the same bytes: one document for each sample.
    ensure!(documents.len() <= 12, "{} documents", documents.len());
    let grown = resident()? - resident_before;
    ensure!(grown < 64.0 * f64::from(1 << 20), "{grown} bytes more");
    drop(streams);
    wait::until("the descriptors to be closed", PATIENCE, || {
        Ok((descriptors()? <= descriptors_before).then_some(()))
    })?;
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
