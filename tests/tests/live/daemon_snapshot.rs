//! `tare snapshot` with a `tare run`, and with something else at its socket.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{
    docker::Run,
    lab::Lab,
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

/// Longer than the limit for the daemon's response.
const WINDOW: Duration = Duration::from_secs(4);

#[test]
fn history_answers_before_the_window_is_over() -> Result<()> {
    let lab = Lab::open()?;
    let slowed = lab.start(Run::load("spin --threads 2 --for 600s").option("--cpus", "0.2"))?;
    let daemon = TareDaemon::start(&lab.tare, &["--interval", "200ms"])?;
    let over = lab.start(Run::load("spin --for 300ms"))?;
    over.outcome()?;
    let socket = daemon.socket().to_str().context("the socket's path is not UTF-8")?;
    let history = format!("/api/v1/history?container={}", slowed.id());
    wait::until("a history of the window", PATIENCE, || {
        let ended = daemon.json(&format!("/api/v1/containers/{}", over.id()))?["state"] == "ended";
        let rows = daemon.get(&history)?.json()?["times"].as_array().map_or(0, Vec::len);
        Ok((rows >= 22 && ended).then_some(()))
    })?;
    let began = Instant::now();
    let args = ["snapshot", "--daemon", socket, "--window", "4s", "--format", "json"];
    let done = lab.tare.run(&args)?;
    ensure!(began.elapsed() < WINDOW, "it looked itself: {:?}", began.elapsed());
    ensure!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    let snapshot: Value = serde_json::from_str(&done.stdout)?;
    ensure!(snapshot["watched_since"].is_string(), "{snapshot}");
    let seconds = snapshot["interval_seconds"].as_f64().context("no interval")?;
    ensure!((3.0..5.0).contains(&seconds), "rates over {seconds} s");
    let find = |list: &str, id: &str| {
        snapshot[list].as_array().into_iter().flatten().find(|row| row["id"] == id).cloned()
    };
    ensure!(find("ended", over.id()).is_some(), "the earlier receipt is missing: {snapshot}");
    let row = find("containers", slowed.id()).context("the container is missing")?;
    let percent = row["cpu"]["percent"].as_f64().context("no share of a CPU")?;
    ensure!((5.0..30.0).contains(&percent), "{percent} % with a quota of 20 %");
    let change = &snapshot["changes"][row["cgroup"].as_str().context("no cgroup")?];
    ensure!(change["throttled_percent"].as_f64() > Some(50.0), "{change}");
    for key in ["rx_bytes_per_second", "oom_kills", "retransmits", "read_bytes_per_second"] {
        ensure!(change[key].is_number(), "no {key} in {change}");
    }
    let page = lab.tare.run(&["snapshot", "--daemon", socket, slowed.name()])?;
    ensure!(page.stdout.contains("from the daemon, running for"), "{page:?}");
    ensure!(page.stdout.contains("THROTTLED BY ITS CPU QUOTA"), "{page:?}");
    Ok(())
}

#[test]
fn a_container_that_the_daemon_does_not_know_is_looked_for() -> Result<()> {
    let lab = Lab::open()?;
    let daemon = TareDaemon::start(&lab.tare, &["--interval", "1h"])?;
    let newcomer = lab.start(Run::load("serve"))?;
    let socket = daemon.socket().to_str().context("the socket's path is not UTF-8")?;
    let args = ["--daemon", socket, "--window", "100ms", "--format", "json", newcomer.id()];
    let done = lab.tare.run(&[&["snapshot"], &args[..]].concat())?;
    ensure!(done.status.success(), "{done:?}");
    let snapshot: Value = serde_json::from_str(&done.stdout)?;
    ensure!(snapshot["watched_since"].is_null(), "{snapshot}");
    ensure!(snapshot["containers"][0]["id"] == newcomer.id(), "{snapshot}");
    Ok(())
}

/// A server that answers each connection with these bytes, or never with `None`.
fn stranger(path: &Path, answer: Option<&'static str>) -> Result<()> {
    let listener = UnixListener::bind(path)?;
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().flatten() {
            if let Some(answer) = answer {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
            } else {
                held.push(stream);
            }
        }
    });
    Ok(())
}

#[test]
fn a_socket_without_a_working_daemon_is_named_and_ignored() -> Result<()> {
    let lab = Lab::open()?;
    let place = lab.scratch.subdirectory()?;
    let dead = place.join("dead");
    drop(UnixListener::bind(&dead)?);
    let json = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    let endless = "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{";
    for (name, answer) in [
        ("silent", None),
        ("rude", Some("220 mail.example ESMTP\r\n")),
        ("other", Some("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")),
        ("json", Some(json)),
        ("endless", Some(endless)),
    ] {
        stranger(&place.join(name), answer)?;
    }
    for (name, reason) in [
        ("missing", "No such file"),
        ("dead", "refused"),
        ("silent", "no answer within 2 s"),
        ("rude", "does not speak HTTP"),
        ("other", "404"),
        ("json", "cannot be read"),
        ("endless", "breaks off"),
    ] {
        let path = place.join(name);
        let socket = path.to_str().context("path")?;
        let args = ["snapshot", "--daemon", socket, "--window", "0", "--format", "json"];
        let done = lab.tare.run(&args)?;
        ensure!(done.status.success(), "{name}: {done:?}");
        let said: Vec<&str> = done.stderr.lines().filter(|line| line.contains(socket)).collect();
        ensure!(said.len() == 1 && said[0].contains(reason), "{name}: {done:?}");
        let snapshot: Value = serde_json::from_str(&done.stdout)?;
        ensure!(
            snapshot["watched_since"].is_null() && snapshot["time"].is_string(),
            "{name}: {snapshot}"
        );
    }
    // Most hosts have no daemon; that is no warning.
    let done = lab.tare.run(&["snapshot", "--window", "0", "--format", "json"])?;
    ensure!(done.status.success() && !done.stderr.contains("daemon"), "{done:?}");
    Ok(())
}
