//! What containers in one network namespace share is exported once, and what each did beside it.

use std::fs;

use anyhow::{Result, ensure};
use tare_tests::{
    docker::{Container, Run},
    lab::Lab,
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

/// Metrics of a namespace.
const SHARED: [&str; 4] = [
    "container_network_receive_bytes_total",
    "container_network_transmit_packets_total",
    "container_network_tcp_usage_total",
    "container_network_udp_usage_total",
];

/// Containers on the host's network.
const ON_HOST: usize = 30;

/// A metric of a container's own sockets.
const OWN: &str = "tare_container_socket_receive_bytes_total";

#[test]
fn a_namespace_has_one_row_and_each_container_its_own_bytes() -> Result<()> {
    let lab = Lab::open()?;
    let first = lab.start(Run::load("pair --tcp 127.0.0.1:7001 --bytes 1000000").linger())?;
    let inside = format!("container:{}", first.name());
    let second = Run::load("pair --tcp 127.0.0.1:7002 --bytes 2000000").linger();
    let second = lab.start(second.option("--network", &inside))?;
    let on_host = |load: &str| lab.start(Run::load(load).option("--network", "host").linger());
    let mut hosts = vec![on_host("sockets --listen 1 --established 1 --udp 1")?];
    for _ in 1..ON_HOST {
        hosts.push(on_host("pair --udp 127.0.0.1:0 --bytes 30000")?);
    }
    let daemon = TareDaemon::start(&lab.tare, &["--namespace-sockets", "states"])?;
    let all: Vec<_> = [&first, &second].into_iter().chain(&hosts).collect();
    let metrics = wait::until("the names of all containers", PATIENCE, || {
        let metrics = daemon.metrics()?;
        let named =
            all.iter().all(|container| rows(&metrics, "container_last_seen", container) > 0);
        Ok(named.then_some(metrics))
    })?;
    for name in SHARED {
        ensure!(rows(&metrics, name, &first) > 0, "{name} of the oldest container is missing");
        ensure!(rows(&metrics, name, &second) == 0, "{name} is there twice");
        for host in &hosts {
            ensure!(rows(&metrics, name, host) == 0, "{name} of the host's network is there");
        }
    }
    let devices: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with("container_network_receive_bytes_total{"))
        .filter(|line| line.contains("id=\"/\""))
        .collect();
    let of_host = fs::read_to_string("/proc/net/dev")?;
    // Two lines are the head, and one is `lo`.
    ensure!(devices.len() == of_host.lines().count() - 3, "{devices:?}: {of_host}");
    for container in all {
        ensure!(rows(&metrics, OWN, container) == 1, "{OWN} of {} is missing", container.name());
    }
    let sockets = |container: &Container| {
        let row = daemon.json(&format!("/api/v1/containers/{}", container.id()))?;
        Ok::<_, anyhow::Error>(row["network"]["namespace_sockets"].clone())
    };
    let known = sockets(&first)?;
    ensure!(known["tcp"].is_object() && sockets(&second)?["tcp"] == known["tcp"], "{known}");
    for host in &hosts {
        ensure!(sockets(host)?.is_null(), "the host's sockets are those of {}", host.name());
    }
    Ok(())
}

/// How many samples of a metric a container has.
fn rows(metrics: &str, metric: &str, container: &Container) -> usize {
    let name = format!("name=\"{}\"", container.name());
    let of = |line: &&str| line.starts_with(&format!("{metric}{{")) && line.contains(&name);
    metrics.lines().filter(of).count()
}
