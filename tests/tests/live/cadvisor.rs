//! The same numbers and names as cAdvisor.

use std::{collections::BTreeMap, env, ffi::OsString, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tare_tests::{
    docker::{Container, Run},
    lab::Lab,
    process::{self, Process},
    tare_daemon::TareDaemon,
    tcp::free_address,
    wait::{self, PATIENCE},
};

/// Metrics of cAdvisor that Tare does not have, because they need the files of containers or a
/// cgroup's own load, or are 0 for every container.
const NOT_TOLD: [&str; 9] = [
    "container_cpu_load_average_10s",
    "container_fs_inodes_free",
    "container_fs_inodes_total",
    "container_fs_io_time_seconds_total",
    "container_fs_io_time_weighted_seconds_total",
    "container_fs_limit_bytes",
    "container_fs_usage_bytes",
    "container_spec_memory_reservation_limit_bytes",
    "container_tasks_state",
];

/// Labels that distinguish rows of one container. CPU time is per CPU only by option.
const PARTS: [&str; 3] = ["interface", "failure_type", "scope"];

/// Values of one container by metric and part; those of several CPUs are added.
type Rows = BTreeMap<(String, String), f64>;

#[test]
fn cadvisor_has_the_same_cpu_memory_and_network() -> Result<()> {
    let lab = Lab::open()?;
    let cadvisor = Cadvisor::start(&lab)?;
    let listener = lab.start(Run::load("listen --proto tcp --addr 0.0.0.0:7000").linger())?;
    listener.ready()?;
    let load = format!("send --proto tcp --addr {}:7000 --bytes 10MB", listener.address()?);
    let sender = lab.start(Run::load(&load).linger())?;
    let spinner = lab.start(
        Run::load("spin --for 2s").option("--cpus", "0.5").option("--memory", "64m").linger(),
    )?;
    for container in [&listener, &sender, &spinner] {
        container.outcome()?;
    }
    let daemon = TareDaemon::start(&lab.tare, &[])?;
    for container in [&listener, &sender, &spinner] {
        let before = cadvisor.rows_of_now(container)?;
        let tare = rows(&daemon.metrics()?, container)?;
        let after = cadvisor.rows_of_now(container)?;
        compare(&before, &tare, &after).with_context(|| container.name().to_owned())?;
    }
    Ok(())
}

/// Whether each number of Tare's lies between those of cAdvisor before and after.
fn compare(before: &Rows, tare: &Rows, after: &Rows) -> Result<()> {
    let compared = ["container_cpu_", "container_memory_", "container_network_", "container_spec_"];
    let mut same = 0;
    for ((name, part), least) in before {
        // What is unlimited is 0 there and absent here; block I/O is 0 there on v1 without CFQ.
        let unlimited = *least == 0.0 && name.starts_with("container_spec_");
        if NOT_TOLD.contains(&&**name) || unlimited {
            continue;
        }
        if !compared.iter().any(|family| name.starts_with(family)) {
            let known = tare.keys().any(|(known, _)| known == name);
            ensure!(known || name.starts_with("container_fs_"), "Tare has no {name}");
            continue;
        }
        let key = (name.clone(), part.clone());
        let most = after.get(&key).with_context(|| format!("{name} {part} went"))?;
        let value = tare.get(&key).with_context(|| format!("Tare has no {name} {part}"))?;
        let (least, most) = (least.min(*most), least.max(*most));
        // As many digits as text has, and pages that the kernel counts late (32 for each CPU).
        let allowed = if name.starts_with("container_memory_") { 512.0 * 1024.0 } else { 1e-6 };
        ensure!(
            (least - allowed..=most + allowed).contains(value),
            "{name} {part}: {value}, cAdvisor said {least} before and {most} after"
        );
        same += 1;
    }
    ensure!(same > 20, "only {same} numbers were compared");
    let network = |direction: &str| {
        let name = format!("container_network_{direction}_bytes_total");
        tare.get(&(name, "eth0".to_owned())).copied().unwrap_or_default()
    };
    ensure!(network("receive") > 0.0, "nothing was compared but zeros");
    Ok(())
}

/// A running cAdvisor, which reads each container once a second.
struct Cadvisor {
    address: String,
    _process: Process,
}

impl Cadvisor {
    fn start(lab: &Lab) -> Result<Self> {
        let program = env::var_os("TARE_CADVISOR").unwrap_or_else(|| OsString::from("cadvisor"));
        let address = free_address()?;
        let (host, port) = address.split_once(':').context("an address without a port")?;
        let mut cadvisor = Command::new(program);
        cadvisor.args(["-listen_ip", host, "-port", port, "-docker_only=true"]);
        cadvisor.arg("-docker").arg(format!("unix://{}", lab.docker.socket().display()));
        cadvisor.args(["-housekeeping_interval=1s", "-allow_dynamic_housekeeping=false"]);
        let mut process = Process::spawn(cadvisor).context("the live tests need cAdvisor")?;
        wait::until("cAdvisor to answer", PATIENCE, || {
            process.ensure_running()?;
            Ok(ask(&address).ok())
        })?;
        Ok(Self { address, _process: process })
    }

    /// Its rows of a container, read after this call.
    fn rows_of_now(&self, container: &Container) -> Result<Rows> {
        // Each is read once a second; one more for delays.
        std::thread::sleep(Duration::from_secs(2));
        wait::until("cAdvisor to see the container", PATIENCE, || {
            let rows = rows(&ask(&self.address)?, container)?;
            Ok((!rows.is_empty()).then_some(rows))
        })
    }
}

fn ask(address: &str) -> Result<String> {
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--silent", "--show-error", &format!("http://{address}/metrics")]);
    process::output(curl, PATIENCE)
}

/// The rows of one container in a text exposition.
fn rows(metrics: &str, container: &Container) -> Result<Rows> {
    let mut rows = Rows::new();
    let name = format!("name=\"{}\"", container.name());
    for line in metrics.lines().filter(|line| line.starts_with("container_")) {
        let Some((metric, rest)) = line.split_once('{') else { continue };
        let (labels, values) = rest.rsplit_once("} ").with_context(|| line.to_owned())?;
        if !labels.split(',').any(|label| label == name) {
            continue;
        }
        let parts = PARTS.iter().filter_map(|part| {
            let start = format!("{part}=\"");
            labels.split(',').find_map(|label| label.strip_prefix(&start)?.strip_suffix('"'))
        });
        let part = parts.collect::<Vec<_>>().join(" ");
        // cAdvisor adds the time of its reading.
        let value = values.split(' ').next().unwrap_or_default();
        let value: f64 = value.parse().with_context(|| line.to_owned())?;
        *rows.entry((metric.to_owned(), part)).or_default() += value;
    }
    Ok(rows)
}
