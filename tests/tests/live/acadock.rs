//! The API of acadock-monitoring, compared with Docker's own statistics of the same moment.

use std::{collections::BTreeSet, fs, process::Command, thread, thread::sleep, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tare_tests::{
    docker::{Container, Run},
    http::{self, Answer},
    lab::Lab,
    process::output,
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
    websocket::WebSocket,
};

fn start(lab: &Lab, view: &str) -> Result<TareDaemon> {
    let args = ["--acadock-api", view, "--interval", "500ms", "--labels", "*"];
    TareDaemon::start(&lab.tare, &args)
}

/// What `/containers/{id}/{part}` says once the container has two samples.
fn part(daemon: &TareDaemon, container: &Container, part: &str) -> Result<Value> {
    wait::until("two samples of the container", PATIENCE, || {
        let answer = daemon.get(&format!("/containers/{}/cpu", container.id()))?;
        let is_known = answer.status == 200 && answer.json()?.get("usage_in_percents").is_some();
        Ok(is_known.then_some(()))
    })?;
    daemon.json(&format!("/containers/{}/{part}", container.id()))
}

#[test]
fn a_container_has_the_numbers_of_docker_stats() -> Result<()> {
    let lab = Lab::open()?;
    let daemon = start(&lab, "host")?;
    let run = Run::load("serve").option("--memory", "64m").option("--label", "tier=web");
    let container = lab.start(run)?;
    let usage = part(&daemon, &container, "usage")?;
    for name in ["mem", "cpu", "net", "io"] {
        let whole = if name == "mem" { &usage["memory"] } else { &usage[name] };
        let keys = |value: &Value| -> Result<Vec<String>> {
            Ok(value.as_object().context("no object")?.keys().cloned().collect())
        };
        ensure!(keys(&part(&daemon, &container, name)?)? == keys(whole)?, "{name}: {usage}");
    }
    let path = format!("/containers/{}/stats?stream=false&one-shot=true", container.id());
    // A new container settles: its kernel memory is freed late, and its device announces itself.
    let mut last = Value::Null;
    let equal = wait::until("the numbers of Docker", PATIENCE, || {
        let docker: Value = http::get(lab.docker.socket(), &path, &[])?.json()?;
        let memory = part(&daemon, &container, "mem")?;
        let net = part(&daemon, &container, "net")?;
        let device = &docker["networks"]["eth0"];
        let is_equal = memory["memory_usage"] == docker["memory_stats"]["usage"]
            && memory["memory_limit"] == docker["memory_stats"]["limit"]
            && net["received"]["bytes"] == device["tx_bytes"]
            && net["transmit"]["bytes"] == device["rx_bytes"];
        last = json!([memory, net, docker]);
        Ok(is_equal.then_some(()))
    });
    equal.with_context(|| last.to_string())?;
    ensure!(last[0]["mem_limit"] == 64 << 20, "{last}");

    let all = daemon.json("/containers/usage")?;
    let one = &all[container.id()];
    ensure!(one["labels"]["tier"] == "web" && one["cpu"].is_object(), "{all}");
    ensure!(one["memory"]["memory_limit"] == 64 << 20, "{all}");

    let host = daemon.json("/host/usage?include_container_if_label=tier")?;
    ensure!(host["memory"]["memory_committed"] == 64 << 20, "{host}");
    let cpus = thread::available_parallelism()?.get();
    ensure!(host["cpu"]["amount"] == json!(cpus), "{host}");
    ensure!(host["cpu"]["usage"].as_f64().is_some_and(|usage| (0.0..=1.0).contains(&usage)));
    let none = daemon.json("/host/usage?include_container_if_label=no-such-label")?;
    ensure!(none["memory"]["memory_committed"] == 0, "{none}");
    Ok(())
}

#[test]
fn cpu_time_is_a_share_of_one_cpu_and_the_view_can_be_turned() -> Result<()> {
    let lab = Lab::open()?;
    let daemon = start(&lab, "container")?;
    let busy = lab.start(Run::load("spin --for 60s").option("--cpus", "0.5"))?;
    part(&daemon, &busy, "cpu")?;
    sleep(Duration::from_secs(2));
    let percent = part(&daemon, &busy, "cpu")?["usage_in_percents"].clone();
    ensure!(percent.as_u64().is_some_and(|percent| (25..=75).contains(&percent)), "{percent}");
    let net = part(&daemon, &busy, "net")?;
    let path = format!("/containers/{}/stats?stream=false&one-shot=true", busy.id());
    let docker = http::get(lab.docker.socket(), &path, &[])?.json()?;
    ensure!(net["received"]["bytes"] == docker["networks"]["eth0"]["rx_bytes"], "{net}\n{docker}");
    Ok(())
}

#[test]
fn the_websocket_has_the_events_of_the_gui() -> Result<()> {
    let lab = Lab::open()?;
    let daemon = start(&lab, "host")?;
    let busy = lab.start(Run::load("spin --for 60s").option("--memory", "64m"))?;
    let other = lab.start(Run::load("serve"))?;
    let known = part(&daemon, &busy, "mem")?;
    part(&daemon, &other, "mem")?;
    let open = |daemon: &TareDaemon, query: &str| {
        let headers = [("sec-websocket-protocol", "acadock.gui.v1")];
        WebSocket::open(daemon.socket(), &format!("/api/v1/live{query}"), &headers)
    };
    let mut gui = open(&daemon, &format!("?container={}", busy.name()))?;
    let mut percents = Vec::new();
    for _ in 0..4 {
        for name in ["mem_usage", "cpu_usage", "net_usage"] {
            let event = gui.message()?;
            ensure!(event[0] == name && event[1]["name"] == busy.id(), "{event}");
            let value: Value = serde_json::from_str(event[1]["value"].as_str().context("text")?)?;
            match name {
                "mem_usage" => ensure!(value["mem_limit"] == known["mem_limit"], "{value}"),
                "cpu_usage" => percents.push(value["usage_in_percents"].as_u64().unwrap_or(0)),
                _ => ensure!(value["received"]["bytes"].is_u64(), "{value}"),
            }
        }
    }
    ensure!(percents.iter().any(|percent| *percent > 25), "it uses CPU time: {percents:?}");
    // All containers, and each of their events.
    let mut all = open(&daemon, "")?;
    let mut names = BTreeSet::new();
    wait::until("events of both containers", PATIENCE, || {
        names.insert(all.message()?[1]["name"].as_str().context("no name")?.to_owned());
        Ok((names.contains(busy.id()) && names.contains(other.id())).then_some(()))
    })?;
    let without = TareDaemon::start(&lab.tare, &[])?;
    ensure!(open(&without, "").is_err(), "the events are off");
    Ok(())
}

#[test]
fn clients_need_their_password_and_get_json_errors() -> Result<()> {
    let lab = Lab::open()?;
    let passwords = lab.scratch.subdirectory()?.join("passwords");
    fs::write(&passwords, "aca:dock\n")?;
    let passwords = passwords.to_str().context("the path is not UTF-8")?;
    let address = "127.0.0.1:9764";
    let args = ["--acadock-api", "host", "--listen", address, "--basic-auth-file", passwords];
    let daemon = TareDaemon::start(&lab.tare, &args)?;
    let container = lab.start(Run::load("serve"))?;
    part(&daemon, &container, "mem")?;
    let over_tcp = |path: &str, key: Option<&str>| -> Result<String> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--write-out", " %{http_code}"]);
        if let Some(key) = key {
            curl.args(["--user", key]);
        }
        curl.arg(format!("http://{address}{path}"));
        output(curl, PATIENCE)
    };
    let parts = ["mem", "cpu", "net", "io", "usage"];
    let mut paths = parts.map(|part| format!("/containers/{}/{part}", container.id())).to_vec();
    paths.extend(["/containers/usage", "/host/usage"].map(str::to_owned));
    for path in paths {
        ensure!(over_tcp(&path, None)?.ends_with("401"));
        ensure!(over_tcp(&path, Some("aca:duck"))?.ends_with("401"));
        ensure!(over_tcp(&path, Some("aca:dock"))?.ends_with("200"));
    }
    let not_found = |answer: Answer| -> Result<()> {
        ensure!(answer.status == 404 && answer.json()?["error"].is_string(), "{answer:?}");
        Ok(())
    };
    not_found(daemon.get("/containers/no-such-container/mem")?)?;
    not_found(daemon.get(&format!("/containers/{}/disk", container.id()))?)?;
    let ended = container.id().to_owned();
    lab.docker.client(["kill", container.name()])?;
    wait::until("the end", PATIENCE, || {
        Ok((daemon.get(&format!("/containers/{ended}/usage"))?.status == 404).then_some(()))
    })?;
    Ok(())
}

#[test]
fn it_is_off_by_default() -> Result<()> {
    let lab = Lab::open()?;
    let daemon = TareDaemon::start(&lab.tare, &[])?;
    ensure!(daemon.get("/containers/usage")?.status == 404);
    ensure!(daemon.get("/host/usage")?.status == 404);
    Ok(())
}
