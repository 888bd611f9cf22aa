//! Requests that the Engine API refuses, and clients that do not behave.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tare_tests::{
    docker::Run,
    http,
    lab::Lab,
    wait::{self, PATIENCE},
};

use crate::docker_api::Served;

/// Cgroups of two containers whose ids begin alike, as no daemon makes them on purpose.
struct Alike([std::path::PathBuf; 2]);

impl Alike {
    fn make(served: &Served) -> Result<Self> {
        let mount = if std::path::Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
            "/sys/fs/cgroup/unified"
        } else {
            "/sys/fs/cgroup"
        };
        let id = |last: &str| format!("cccc{}", last.repeat(60));
        let alike = Self(["d", "e"].map(|last| format!("{mount}/libpod-{}", id(last)).into()));
        for directory in &alike.0 {
            fs::create_dir(directory).with_context(|| format!("make {}", directory.display()))?;
        }
        wait::until("both to be listed", PATIENCE, || {
            let answers =
                ["d", "e"].map(|last| served.get(&format!("/containers/{}/json", id(last))));
            let [one, other] = answers;
            Ok((one?.status == 200 && other?.status == 200).then_some(()))
        })?;
        Ok(alike)
    }
}

impl Drop for Alike {
    fn drop(&mut self) {
        for directory in &self.0 {
            if let Err(error) = fs::remove_dir(directory) {
                eprintln!("could not remove {}: {error}", directory.display());
            }
        }
    }
}

#[test]
fn bad_requests_get_the_failures_of_docker() -> Result<()> {
    let lab = Lab::open()?;
    let served = Served::start(&lab, &[])?;
    let container = lab.start(Run::load("serve"))?;
    served.know(container.id())?;
    let id = container.id();
    let alike = Alike::make(&served)?;
    for (path, status, said) in [
        ("/containers/nosuch/json".to_owned(), 404, "No such container: nosuch"),
        ("/v1.41/containers/nosuch/stats".to_owned(), 404, "No such container: nosuch"),
        (format!("/containers/{}/json", &id[..11]), 200, ""),
        ("/containers/cccc/json".to_owned(), 400, "multiple IDs found"),
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
        ("/events?filters=%5B%5D".to_owned(), 400, "invalid filters"),
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
    drop(alike);
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

/// Sends a request for a stream and reads nothing.
fn open_stream(served: &Served, path: &str) -> Result<UnixStream> {
    let mut stream = http::connect(served.docker.socket())?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")?;
    Ok(stream)
}

/// All but the one that asks.
fn no_connections_are_left(served: &Served) -> Result<()> {
    wait::until("the connections to be closed", PATIENCE, || {
        Ok((served.tare.metric("tare_http_connections")? <= 1.0).then_some(()))
    })
}

#[test]
fn a_thousand_streams_share_one_document_and_leave_nothing_behind() -> Result<()> {
    const STREAMS: usize = 1000;
    const ROUNDS: usize = 3;
    let lab = Lab::open()?;
    let served = Served::start(&lab, &[])?;
    let container = lab.start(Run::load("serve"))?;
    served.know(container.id())?;
    let descriptors =
        || -> Result<usize> { Ok(fs::read_dir(format!("/proc/{}/fd", served.tare.id()))?.count()) };
    let resident = || served.tare.metric("process_resident_memory_bytes");
    let descriptors_before = descriptors()?;
    let mut grown = Vec::new();
    for round in 0..ROUNDS {
        // Containers come and go meanwhile.
        let brief = lab.start(Run::load("serve"))?;
        wait::until("a container", PATIENCE, || {
            let answer = served.get(&format!("/containers/{}/json", brief.id()))?;
            Ok((answer.status == 200).then_some(()))
        })?;
        let of =
            |number: usize| if number.is_multiple_of(10) { brief.id() } else { container.id() };
        let path = |number| format!("/containers/{}/stats", of(number));
        let streams = (0..STREAMS).map(|number| open_stream(&served, &path(number)));
        let mut streams = streams.collect::<Result<Vec<_>>>()?;
        brief.remove();
        if round == 0 {
            sleep(Duration::from_millis(1800));
            let mut documents = BTreeSet::new();
            let others = streams.iter_mut().enumerate().filter(|(number, _)| number % 10 != 0);
            for (number, stream) in others {
                let mut buffer = vec![0; 1 << 16];
                let length = stream.read(&mut buffer)?;
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let reads = text.matches("\"preread\"").count();
                ensure!(reads >= 3, "stream {number} has {reads} documents: {text}");
                let lines = text.lines().filter(|line| line.starts_with('{'));
                documents.extend(lines.map(str::to_owned));
            }
            // All streams got the same bytes: one document for each sample.
            ensure!(documents.len() <= 12, "{} documents", documents.len());
        }
        grown.push(resident()?);
        drop(streams);
        wait::until("the descriptors to be closed", PATIENCE, || {
            Ok((descriptors()? <= descriptors_before).then_some(()))
        })?;
    }
    // What the first thousand took serves the others as well.
    let more = grown[ROUNDS - 1] - grown[0];
    ensure!(more < 8.0 * f64::from(1 << 20), "{more} bytes more than at first: {grown:?}");
    no_connections_are_left(&served)
}

#[test]
fn clients_that_never_read_are_dropped_and_take_little_memory() -> Result<()> {
    const CLIENTS: usize = 200;
    let lab = Lab::open()?;
    let served = Served::start(&lab, &["--interval", "100ms"])?;
    let container = lab.start(Run::load("serve"))?;
    served.know(container.id())?;
    let resident = || served.tare.metric("process_resident_memory_bytes");
    let before = resident()?;
    let path = format!("/containers/{}/stats", container.id());
    let clients = (0..CLIENTS).map(|_| open_stream(&served, &path));
    let clients = clients.collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    let mut most = before;
    wait::until("all of them to be dropped", PATIENCE, || {
        most = most.max(resident()?);
        let dropped = served.tare.metric("tare_http_timeouts_total")?;
        Ok((dropped >= 200.0).then_some(()))
    })?;
    no_connections_are_left(&served)?;
    println!(
        "{CLIENTS} clients dropped after {:.1} s, {:.1} MiB more",
        began.elapsed().as_secs_f64(),
        (most - before) / f64::from(1 << 20)
    );
    // A client has what is written to it in the kernel, and a document or two in the daemon.
    ensure!(most - before < 16.0 * f64::from(1 << 20), "{} bytes more", most - before);
    // Others were served all the time.
    ensure!(served.get(&path.replace("/stats", "/json"))?.status == 200);
    drop(clients);
    Ok(())
}
