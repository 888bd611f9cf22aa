//! `tare run`: configuration, reload, service notification, authentication.

use std::{fs, os::unix::net::UnixDatagram, process::Command};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tare_tests::{
    lab::Lab,
    process::{self, output},
    tare_daemon::TareDaemon,
    tcp::free_address,
    wait::{self, PATIENCE},
};

#[test]
fn a_new_configuration_is_applied_where_possible_and_a_wrong_one_is_rejected() -> Result<()> {
    let lab = Lab::open()?;
    let config = lab.scratch.path().join("tare.toml");
    let path = config.to_str().context("path")?;
    fs::write(&config, "interval = \"1h\"\nlog-level = \"warn\"\n")?;
    let daemon = TareDaemon::start(&lab.tare, &["--config", path])?;
    ensure!(daemon.metric("tare_sample_interval_seconds")? >= 3600.0, "the file's interval");

    fs::write(&config, "interval = \"200ms\"\nslots = 16\n")?;
    daemon.signal(Signal::SIGHUP)?;
    wait::until("the new interval", PATIENCE, || {
        let interval = daemon.metric("tare_sample_interval_seconds")?;
        Ok(((interval - 0.2).abs() < 1e-9).then_some(()))
    })?;
    fs::write(&config, "intervall = \"1s\"\n")?;
    daemon.signal(Signal::SIGHUP)?;
    let samples = daemon.metric("tare_samples_total")?;
    wait::until("further samples", PATIENCE, || {
        Ok((daemon.metric("tare_samples_total")? > samples + 3.0).then_some(()))
    })?;
    let done = daemon.terminate()?;
    ensure!(done.status.success(), "{done:?}");
    ensure!(done.stderr.contains("changes that need a restart: slots"), "{}", done.stderr);
    ensure!(done.stderr.contains("did you mean `interval`?"), "{}", done.stderr);
    Ok(())
}

#[test]
fn a_wrong_file_ends_it_with_code_two_before_anything_is_loaded() -> Result<()> {
    let lab = Lab::open()?;
    let config = lab.scratch.path().join("tare.toml");
    fs::write(&config, "history = \"5\"\n")?;
    let done = lab.tare.run(&["run", "--config", config.to_str().context("path")?])?;
    ensure!(done.status.code() == Some(2) && done.stderr.contains("tare.toml"), "{done:?}");
    Ok(())
}

#[test]
fn the_init_system_is_notified_of_ready_watchdog_and_stopping() -> Result<()> {
    let lab = Lab::open()?;
    let path = lab.scratch.path().join("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let receive = || -> Result<String> {
        let mut notifications = [0; 256];
        let length = socket.recv(&mut notifications)?;
        Ok(String::from_utf8_lossy(&notifications[..length]).into_owned())
    };
    let tare = lab.tare.environment("NOTIFY_SOCKET", path.to_str().context("path")?);
    let tare = tare.environment("WATCHDOG_USEC", "400000").option("--log-format", "json");
    let daemon = TareDaemon::start(&tare, &["--interval", "1h"])?;
    ensure!(receive()? == "READY=1", "first it is ready");
    for _ in 0..3 {
        ensure!(receive()? == "WATCHDOG=1", "then it is alive, also between samples");
    }
    daemon.signal(Signal::SIGHUP)?;
    let mut notifications = Vec::new();
    while notifications.last().is_none_or(|state: &String| state != "READY=1") {
        notifications.push(receive()?);
    }
    ensure!(
        notifications.iter().any(|state| state.starts_with("RELOADING=1\nMONOTONIC_USEC=")),
        "{notifications:?}"
    );
    let done = daemon.terminate()?;
    while receive()? != "STOPPING=1" {}
    for line in done.stderr.lines() {
        serde_json::from_str::<serde_json::Value>(line).with_context(|| line.to_owned())?;
    }
    Ok(())
}

/// The status that curl reports, or 0 without a response.
fn status(arguments: &[&str]) -> Result<u16> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]).args(arguments);
    let done = process::run(curl, PATIENCE)?;
    done.stdout.trim().parse().with_context(|| format!("{done:?}"))
}

#[test]
fn tcp_needs_a_token_and_supports_tls() -> Result<()> {
    let lab = Lab::open()?;
    let place = lab.scratch.path();
    let file = |name: &str| place.join(name).to_string_lossy().into_owned();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl.args(["-keyout", &key, "-out", &cert]);
    output(openssl, PATIENCE)?;
    let (tokens, passwords) = (file("tokens"), file("passwords"));
    fs::write(&tokens, "sesame\n")?;
    fs::write(&passwords, "prometheus:secret\n")?;
    let address = free_address()?;
    let daemon = TareDaemon::start(
        &lab.tare,
        &[
            "--listen",
            &address,
            "--tls-cert",
            &cert,
            "--tls-key",
            &key,
            "--token-file",
            &tokens,
            "--basic-auth-file",
            &passwords,
        ],
    )?;
    let url = |path: &str| format!("https://{address}{path}");
    let ca = ["--cacert", &cert];
    let ask = |more: &[&str], path: &str| {
        let url = url(path);
        status(&[&ca[..], more, &[&url]].concat())
    };
    ensure!(ask(&[], "/metrics")? == 401, "without a key");
    ensure!(ask(&["--header", "Authorization: Bearer sesam"], "/metrics")? == 401, "a wrong token");
    ensure!(ask(&["--header", "Authorization: Bearer sesame"], "/metrics")? == 200, "a token");
    ensure!(ask(&["--user", "prometheus:secret"], "/api/v1/snapshot")? == 200, "a password");
    ensure!(ask(&["--user", "prometheus:wrong"], "/api/v1/snapshot")? == 401, "a wrong one");
    ensure!(ask(&[], "/healthz")? == 200, "probes have no key");
    ensure!(status(&[&format!("http://{address}/healthz")])? == 0, "it speaks without TLS");
    ensure!(daemon.get("/metrics")?.status == 200, "the unix socket's own permissions are enough");

    fs::write(&tokens, "abracadabra\n")?;
    daemon.signal(Signal::SIGHUP)?;
    wait::until("the new token", PATIENCE, || {
        let new = ask(&["--header", "Authorization: Bearer abracadabra"], "/metrics")?;
        Ok((new == 200).then_some(()))
    })?;
    ensure!(ask(&["--header", "Authorization: Bearer sesame"], "/metrics")? == 401, "the old one");
    Ok(())
}
