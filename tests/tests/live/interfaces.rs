//! The interface view equals the devices' own counters, including drops, for every kind of device.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tare_tests::{
    binaries,
    docker::{Container, Run},
    lab::Lab,
    netns::Netns,
    process::output,
    report::{Report, Row},
    scratch::unique_name,
    wait::{self, PATIENCE},
};

/// The devices of a container, from netlink in its namespace.
pub(crate) fn devices(container: &Container) -> Result<Value> {
    let links = Netns::of(container)?.run("ip -json -statistics link")?;
    let links: Value = serde_json::from_str(&links).context("the output of ip")?;
    let links = links.as_array().context("no list of devices")?;
    let others = links.iter().filter(|link| link["ifname"] != "lo");
    let device = |link: &Value| {
        let stats = &link["stats64"];
        let of = |way: &str, field: &str| stats[way][field].clone();
        let counters = json!({
            "rx_bytes": of("rx", "bytes"), "rx_packets": of("rx", "packets"),
            "rx_errors": of("rx", "errors"), "rx_dropped": of("rx", "dropped"),
            "tx_bytes": of("tx", "bytes"), "tx_packets": of("tx", "packets"),
            "tx_errors": of("tx", "errors"), "tx_dropped": of("tx", "dropped"),
        });
        Some((link["ifname"].as_str()?.to_owned(), counters))
    };
    Ok(others.filter_map(device).collect::<serde_json::Map<_, _>>().into())
}

/// The rows of these containers, once their devices carry nothing any more and agree.
fn ensure_equal(lab: &Lab, containers: &[&Container]) -> Result<Report> {
    let ids: Vec<_> = containers.iter().map(|container| container.id()).collect();
    let mut tare = lab.tare.stream("200ms")?;
    tare.fresh_with(&ids)?;
    let mut last = String::new();
    let agreed = wait::until("the devices and tare to agree", PATIENCE, || {
        let report = tare.fresh()?;
        report.require("network_interfaces")?;
        for container in containers {
            let (want, row) = (devices(container)?, report.row(container.id())?);
            let got = row.get("/network/interfaces")?;
            if *got != want {
                last = format!("{got} instead of {want}");
                return Ok(None);
            }
        }
        Ok(Some(report))
    });
    agreed.with_context(|| last)
}

/// The output of a command of the host; arguments are separated by spaces.
pub(crate) fn host(command: &str) -> Result<String> {
    let mut words = command.split_whitespace();
    let mut program = Command::new(words.next().context("a command")?);
    program.args(words);
    output(program, PATIENCE)
}

fn eth0(row: &Row, field: &str) -> Result<u64> {
    row.u64(&format!("/network/interfaces/eth0/{field}"))
}

/// A megabyte of TCP from one container to another.
fn talk(
    lab: &Lab,
    network: &str,
    address: impl Fn(&Container) -> Result<String>,
) -> Result<[Container; 2]> {
    let load = "listen --proto tcp --addr 0.0.0.0:7000 --bytes 1MB";
    let listener = lab.start(Run::load(load).option("--network", network).linger())?;
    listener.ready()?;
    let send =
        format!("send --proto tcp --addr {}:7000 --bytes 1MB --retry-for 5s", address(&listener)?);
    let sender = lab.start(Run::load(&send).option("--network", network).linger())?;
    sender.outcome()?;
    Ok([listener, sender])
}

#[test]
fn a_veth_pair_shows_its_own_drops() -> Result<()> {
    let lab = Lab::open()?;
    let [listener, sender] = talk(&lab, "bridge", Container::address)?;
    let netns = Netns::of(&sender)?;
    let end = netns.host_end()?;
    // The host's end counts neither kind: packets that nothing in the container receives, and
    // packets that the container cannot send.
    let load = binaries::load()?;
    let load = load.to_str().context("UTF-8")?;
    host(&format!("{load} frame --device {end} --count 7"))?;
    let report = ensure_equal(&lab, &[&listener, &sender])?;
    let row = report.row(sender.id())?;
    ensure!(eth0(&row, "rx_dropped")? >= 7, "{row:?}");
    host(&format!("ip link set dev {end} down"))?;
    netns.run(&format!("{load} frame --device eth0 --count 5"))?;
    let report = ensure_equal(&lab, &[&sender])?;
    let row = report.row(sender.id())?;
    ensure!(eth0(&row, "tx_dropped")? >= 5, "{row:?}");
    let ends = fs::read_to_string(format!("/sys/class/net/{end}/statistics/rx_dropped"))?;
    ensure!(ends.trim() == "0", "the host's end counts the container's drops: {ends}");
    Ok(())
}

/// A macvlan network of Docker's on a device of its own; both are removed on drop.
pub(crate) struct Macvlan<'a> {
    lab: &'a Lab,
    pub(crate) name: String,
    parent: String,
}

impl<'a> Macvlan<'a> {
    pub(crate) fn create(lab: &'a Lab) -> Result<Self> {
        let parent = format!("tmv{}", std::process::id());
        let network = Self { lab, name: unique_name(), parent };
        let Self { name, parent, .. } = &network;
        host(&format!("ip link add {parent} type veth peer name {parent}p"))?;
        for end in [parent, &format!("{parent}p")] {
            host(&format!("ip link set dev {end} up"))?;
        }
        let parent = format!("parent={parent}");
        let create = ["network", "create", "--driver", "macvlan", "--opt", &parent, name];
        lab.docker.client(create)?;
        Ok(network)
    }
}

impl Drop for Macvlan<'_> {
    fn drop(&mut self) {
        let network = self.lab.docker.client(["network", "rm", &self.name]);
        for result in [network, host(&format!("ip link delete dev {}", self.parent))] {
            if let Err(error) = result {
                eprintln!("could not remove the macvlan network: {error:#}");
            }
        }
    }
}

#[test]
fn macvlan_devices_without_another_end_are_read() -> Result<()> {
    let lab = Lab::open()?;
    let network = Macvlan::create(&lab)?;
    let name = network.name.clone();
    let address = |container: &Container| {
        let template = format!("{{{{(index .NetworkSettings.Networks \"{name}\").IPAddress}}}}");
        lab.docker.inspect(container.id(), &template)
    };
    let containers = talk(&lab, &network.name, address)?;
    let report = ensure_equal(&lab, &[&containers[0], &containers[1]])?;
    ensure!(eth0(&report.row(containers[0].id())?, "rx_bytes")? > 1_000_000, "nothing came");
    drop(containers);
    Ok(())
}

#[test]
fn on_the_host_network_all_of_the_hosts_devices_show() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("serve").option("--network", "host"))?;
    let report = lab.tare.report()?;
    let row = report.row(container.id())?;
    ensure!(row.get("/network/host_namespace")? == true, "{row:?}");
    let shown = row.get("/network/interfaces")?.as_object().context("no devices")?;
    for entry in fs::read_dir("/sys/class/net").context("/sys/class/net")? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        ensure!(name == "lo" || shown.contains_key(&name), "{name} is not in {shown:?}");
    }
    Ok(())
}

#[test]
fn containers_of_a_pod_share_a_namespace_and_list_each_other() -> Result<()> {
    let lab = Lab::open()?;
    let pause = lab.start(Run::load("serve"))?;
    let join = format!("container:{}", pause.name());
    let web = lab.start(Run::load("serve").option("--network", &join))?;
    let log = lab.start(Run::load("serve").option("--network", &join))?;
    let stranger = lab.start(Run::load("serve"))?;
    let report = ensure_equal(&lab, &[&pause, &web, &log, &stranger])?;
    let pod = [&pause, &web, &log];
    for one in pod {
        let row = report.row(one.id())?;
        let shared = row.get("/network/shared_with")?.as_array().context("shared_with")?.clone();
        let mut shared: Vec<_> = shared.iter().filter_map(Value::as_str).collect();
        let mut others: Vec<_> = pod.iter().map(|c| c.id()).filter(|id| *id != one.id()).collect();
        shared.sort_unstable();
        others.sort_unstable();
        ensure!(shared == others, "{shared:?} instead of {others:?}");
        ensure!(row.get("/network/host_namespace")? == false, "{row:?}");
    }
    let row = report.row(stranger.id())?;
    ensure!(*row.get("/network/shared_with")? == json!([]), "{row:?}");
    Ok(())
}

#[test]
fn the_namespace_of_an_ended_container_is_released() -> Result<()> {
    let lab = Lab::open()?;
    let stays = lab.start(Run::load("serve"))?;
    let ends = lab.start(Run::load("serve"))?;
    let end = Netns::of(&ends)?.host_end()?;
    let device = std::path::Path::new("/sys/class/net").join(&end);
    let mut tare = lab.tare.stream("200ms")?;
    tare.fresh_with(&[stays.id(), ends.id()])?;
    let kept = kept_namespaces(tare.id())?;
    ends.remove();
    wait::until("the namespace's file to be closed", PATIENCE, || {
        tare.fresh()?;
        Ok((kept_namespaces(tare.id())? < kept).then_some(()))
    })?;
    ensure!(!device.exists(), "{end} is still there");
    Ok(())
}

/// How many `/proc/PID/net/dev` a process has open.
fn kept_namespaces(pid: u32) -> Result<usize> {
    let directory = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&directory).context(directory)?;
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Ok(links.filter(|link| link.ends_with("net/dev")).count())
}
