//! `/api/v1/live` of the daemon on a captured tree: its messages, and how it treats its clients.

use std::{fs, io::Write as _, net::TcpListener, path::Path};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tare_tests::{binaries, http, tare::Tare, tare_daemon::TareDaemon, websocket::WebSocket};

const ID: &str = "60891bae9fd3dc0db73688ed83f48be924c2992a4e1b6d74ab4ad46188f5a3ba";

/// A daemon that samples a captured tree.
fn daemon(args: &[&str]) -> Result<TareDaemon> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v2-systemd");
    let mut tare = Tare::at(binaries::tare()?);
    for (option, part) in
        [("--cgroup-root", "cgroup"), ("--proc-root", "proc"), ("--sys-root", "sys")]
    {
        tare = tare.option(option, tree.join(part).to_str().context("no UTF-8")?);
    }
    let off = ["--bpf", "--docker-socket", "--podman-socket", "--cri-socket"];
    let tare = off.into_iter().fold(tare, |tare, option| tare.option(option, "off"));
    TareDaemon::start(&tare, &[&["--interval", "100ms"], args].concat())
}

fn open(daemon: &TareDaemon, query: &str) -> Result<WebSocket> {
    WebSocket::open(daemon.socket(), &format!("/api/v1/live{query}"), &[])
}

#[test]
fn a_whole_picture_comes_first_and_then_what_changes() -> Result<()> {
    let daemon = daemon(&[])?;
    let mut all = open(&daemon, "")?;
    let full = all.message()?;
    let containers = daemon.json("/api/v1/containers")?;
    let containers = containers.as_array().context("no containers")?;
    let rows = full["rows"].as_object().context("no rows")?;
    ensure!(full["type"] == "full" && rows.len() == containers.len(), "{full}");
    for container in containers {
        let row = rows.values().find(|row| row["id"] == container["id"]);
        let row = row.with_context(|| format!("no {container}"))?;
        ensure!(row["memory_bytes"] == container["memory"]["working_set_bytes"], "{row}");
        ensure!(row["pids"] == container["pids"]["current"], "{row}");
        ensure!(row.get("name").is_none(), "an unknown name is absent: {row}");
    }
    ensure!(full["host"]["hostname"] == "weigh-house", "{full}");
    ensure!(full["sources"]["network_sockets"]["state"] == "off", "{full}");
    let mut tick = full["tick"].as_u64().context("no tick")?;
    for _ in 0..3 {
        let changes = all.message()?;
        tick += 1;
        ensure!(changes["type"] == "changes" && changes["tick"] == tick, "{changes}");
        // A captured tree does not change, but what the daemon costs does.
        ensure!(changes["gone"].is_null() && changes["sources"].is_null(), "{changes}");
        let busy = changes["rows"].as_object().context("no rows")?.values();
        ensure!(busy.clone().all(|row| row.get("memory_bytes").is_none()), "{changes}");
    }
    // Another client of the same subscription gets the same messages from then on.
    let mut other = open(&daemon, "")?;
    let first = other.message()?;
    ensure!(first["type"] == "full", "{first}");
    let (mut one, two) = (all.message()?, other.message()?);
    while one["tick"].as_u64() < two["tick"].as_u64() {
        one = all.message()?;
    }
    ensure!(one == two, "{one} and {two}");
    Ok(())
}

#[test]
fn one_container_some_and_every_second_tick() -> Result<()> {
    let daemon = daemon(&[])?;
    let mut one = open(&daemon, &format!("?container={}", &ID[..10]))?;
    let full = one.message()?;
    ensure!(full["container"]["id"] == ID && full["rows"].is_null(), "{full}");
    ensure!(full["container"]["memory"]["stat"].is_object(), "it has everything: {full}");
    ensure!(open(&daemon, "?container=no-such")?.message()?["container"].is_null());
    let filtered = open(&daemon, &format!("?filter=id%3D{}", &ID[..4]))?.message()?;
    ensure!(filtered["rows"].as_object().is_some_and(|rows| rows.len() == 1), "{filtered}");
    let mut slower = open(&daemon, "?every=4")?;
    slower.message()?;
    slower.message()?;
    let seconds = slower.message()?["interval_seconds"].as_f64();
    ensure!(seconds.is_some_and(|seconds| (0.3..1.0).contains(&seconds)), "{seconds:?}");
    for query in ["?every=0", "?filter=nam%3Dx", "?container=a&filter=name%3Db", "?container="] {
        let refused = daemon.get(&format!("/api/v1/live{query}"))?;
        ensure!(refused.status == 400, "{query}: {refused:?}");
    }
    Ok(())
}

#[test]
fn pages_of_other_sites_and_broken_frames_are_refused() -> Result<()> {
    let daemon = daemon(&[])?;
    let origin =
        |origin| WebSocket::open(daemon.socket(), "/api/v1/live", &[("origin", origin)]).map(drop);
    ensure!(origin("http://localhost").is_ok() && origin("http://evil.example").is_err());
    ensure!(daemon.get("/api/v1/live")?.status == 426);
    // A masked text frame of 1 GiB, one that is no UTF-8, one that nobody has asked for, and one
    // without a mask.
    let huge = [&[0x81, 0xff][..], &(1_u64 << 30).to_be_bytes(), &[0; 4]].concat();
    for (frame, expected) in [
        (huge.as_slice(), 1009),
        (&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe][..], 1007),
        (&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'][..], 1008),
        (&[0x81, 0x02, b'h', b'i'][..], 1002),
        (&[0xff, 0x80, 0, 0, 0, 0][..], 1002),
    ] {
        let mut client = open(&daemon, "")?;
        client.send_raw(frame)?;
        let (code, reason) = client.closed()?;
        ensure!(code == expected, "{frame:?}: {code} {reason}");
    }
    // A handshake that is never completed holds nothing up.
    let mut slow = http::connect(daemon.socket())?;
    slow.write_all(b"GET /api/v1/live HTTP/1.1\r\nUpgrade: websocket\r\nConnection: ")?;
    open(&daemon, "")?.message()?;
    let done = daemon.terminate()?;
    ensure!(done.status.success(), "{done:?}");
    Ok(())
}

#[test]
fn a_client_learns_that_the_daemon_ends() -> Result<()> {
    let daemon = daemon(&[])?;
    let mut client = open(&daemon, "")?;
    client.message()?;
    daemon.signal(Signal::SIGTERM)?;
    ensure!(client.closed()?.0 == 1001);
    let done = daemon.finish()?;
    ensure!(done.status.success(), "{done:?}");
    Ok(())
}

#[test]
fn a_key_may_be_a_subprotocol_and_ends_with_its_line_in_the_file() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let tokens = directory.path().join("tokens");
    fs::write(&tokens, "sesame\nother\n")?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let address = format!("127.0.0.1:{port}");
    let path = tokens.to_str().context("no UTF-8")?;
    let daemon = daemon(&["--listen", &address, "--token-file", path])?;
    let open = |protocols: &str| {
        let headers = [("sec-websocket-protocol", protocols)];
        WebSocket::open_tcp(&address, "/api/v1/live", &headers)
    };
    // base64url of `Bearer sesame`, and of `Bearer guess`.
    let mut client = open("tare.live.v1, authorization.tare.QmVhcmVyIHNlc2FtZQ")?;
    ensure!(open("authorization.tare.QmVhcmVyIGd1ZXNz").is_err() && open("tare.live.v1").is_err());
    ensure!(client.message()?["type"] == "full");
    fs::write(&tokens, "other\n")?;
    daemon.signal(Signal::SIGHUP)?;
    let (code, reason) = client.closed()?;
    ensure!(code == 1008 && reason.contains("key"), "{code} {reason}");
    Ok(())
}
