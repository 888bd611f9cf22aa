//! Idle devices are not read, and yet no traffic is missed.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tare_tests::{
    binaries,
    docker::{Container, Run},
    lab::Lab,
    netns::Netns,
    process::Process,
    tare::Stream,
    wait::{self, PATIENCE},
};

use crate::interfaces::{Macvlan, devices, host};

/// Enough containers for Tare to use the host's list of links.
const CONTAINERS: usize = 5;

/// A reading is used for ten seconds and must be replaced some samples later.
const READING_AGE_MAX: Duration = Duration::from_secs(12);

/// Containers on the bridge, where nothing but the tests sends.
struct Bridge {
    containers: Vec<Container>,
    tare: Stream,
}

impl Bridge {
    fn start(lab: &Lab) -> Result<Self> {
        let start = |_| {
            let container = lab.start(Run::load("serve"))?;
            Netns::of(&container)?.silence_host_end()?;
            Ok(container)
        };
        let containers: Vec<Container> = (0..CONTAINERS).map(start).collect::<Result<_>>()?;
        let mut tare = lab.tare.stream("100ms")?;
        let ids: Vec<&str> = containers.iter().map(Container::id).collect();
        tare.fresh_with(&ids)?;
        Ok(Self { containers, tare })
    }

    /// The next reports have what the devices have.
    fn ensure_exact(&mut self, container: &Container) -> Result<()> {
        ensure_exact(&mut self.tare, container)
    }
}

/// A report right after traffic has all of it.
fn ensure_exact(tare: &mut Stream, container: &Container) -> Result<()> {
    let row = tare.fresh()?.row(container.id())?;
    let (got, want) = (row.get("/network/interfaces")?, devices(container)?);
    ensure!(*got == want, "{got} instead of {want}");
    Ok(())
}

/// The devices that a report shows now.
fn shown(tare: &mut Stream, container: &Container) -> Result<serde_json::Map<String, Value>> {
    let row = tare.fresh()?.row(container.id())?;
    row.get("/network/interfaces")?.as_object().cloned().context("no devices")
}

/// Waits until the devices shown are as wanted.
fn until_shown(
    tare: &mut Stream,
    container: &Container,
    wanted: impl Fn(&serde_json::Map<String, Value>) -> bool,
) -> Result<Duration> {
    let started = Instant::now();
    wait::until("other devices", PATIENCE, || Ok(wanted(&shown(tare, container)?).then_some(())))?;
    Ok(started.elapsed())
}

fn frames(device: &str, count: u32) -> Result<String> {
    let load = binaries::load()?;
    let load = load.to_str().context("UTF-8")?;
    Ok(format!("{load} frame --device {device} --count {count}"))
}

/// Number of reads of devices in some samples, by strace.
fn readings(lab: &Lab, tare: &mut Stream, samples: usize) -> Result<usize> {
    let file = lab.scratch.path().join("trace");
    let mut strace = Command::new("strace");
    strace.args(["--follow-forks", "--decode-fds=path", "--trace=pread64"]);
    strace.arg("--output").arg(&file).args(["--attach", &tare.id().to_string()]);
    let strace = Process::spawn(strace).context("the live tests need strace")?;
    let read = || fs::read_to_string(&file).unwrap_or_default();
    let calls = || read().lines().filter(|line| line.contains("pread64(")).count();
    wait::until("strace to see samples", PATIENCE, || {
        tare.report()?;
        Ok((calls() > 0).then_some(()))
    })?;
    for _ in 0..samples {
        tare.report()?;
    }
    strace.signal(Signal::SIGINT)?;
    strace.finish(PATIENCE)?;
    ensure!(calls() >= samples, "strace saw too little: {}", read());
    Ok(read().lines().filter(|line| line.contains("net/dev>")).count())
}

#[test]
fn idle_devices_are_not_read_and_busy_ones_are_exact_at_once() -> Result<()> {
    let lab = Lab::open()?;
    let mut bridge = Bridge::start(&lab)?;
    let samples = 30;
    // Each once or twice, because readings expire; not each in every sample.
    wait::until("the devices to be left alone", PATIENCE, || {
        let readings = readings(&lab, &mut bridge.tare, samples)?;
        Ok((readings <= 2 * CONTAINERS).then_some(()))
    })?;
    let containers = std::mem::take(&mut bridge.containers);
    for round in 1..=4 {
        for container in &containers {
            let netns = Netns::of(container)?;
            host(&frames(&netns.host_end()?, round)?)?;
            bridge.ensure_exact(container)?;
            netns.run(&frames("eth0", round)?)?;
            bridge.ensure_exact(container)?;
        }
    }
    Ok(())
}

#[test]
fn devices_come_and_go_while_a_container_runs() -> Result<()> {
    let lab = Lab::open()?;
    let mut bridge = Bridge::start(&lab)?;
    let containers = std::mem::take(&mut bridge.containers);
    let (inner, outer) = (&containers[0], &containers[1]);

    // Both ends inside: nothing shows outside, not even what they carry.
    let netns = Netns::of(inner)?;
    netns.run("ip link add in0 type veth peer name in1")?;
    let age = until_shown(&mut bridge.tare, inner, |devices| devices.contains_key("in1"))?;
    ensure!(age < READING_AGE_MAX, "the devices showed after {age:?}");
    for device in ["in0", "in1"] {
        netns.run(&format!("ip link set dev {device} up"))?;
    }
    netns.run(&frames("in0", 3)?)?;
    until_quiet(inner)?;
    bridge.ensure_exact(inner)?;

    // One end outside: the next look finds the link.
    let netns = Netns::of(outer)?;
    let (pid, end) = (outer.pid()?, format!("tx{}", std::process::id()));
    host(&format!("ip link add {end} type veth peer name out0 netns {pid}"))?;
    until_shown(&mut bridge.tare, outer, |devices| devices.contains_key("out0"))?;
    netns.run("ip link set dev out0 up")?;
    host(&format!("ip link set dev {end} up"))?;
    until_quiet(outer)?;
    for _ in 0..3 {
        netns.run(&frames("out0", 2)?)?;
        bridge.ensure_exact(outer)?;
    }
    host(&format!("ip link delete dev {end}"))?;
    let age = until_shown(&mut bridge.tare, outer, |devices| !devices.contains_key("out0"))?;
    ensure!(age < READING_AGE_MAX, "the device showed for {age:?}");
    Ok(())
}

#[test]
fn a_new_device_with_the_index_of_a_former_one_is_another() -> Result<()> {
    let lab = Lab::open()?;
    let mut bridge = Bridge::start(&lab)?;
    let containers = std::mem::take(&mut bridge.containers);
    let (one, other) = (&containers[0], &containers[1]);
    let netns = Netns::of(one)?;
    let end = netns.host_end()?;
    host(&frames(&end, 9)?)?;
    bridge.ensure_exact(one)?;
    let index = fs::read_to_string(format!("/sys/class/net/{end}/ifindex")).context("its index")?;
    // The same link as seen from the host, but it leads into another container now.
    host(&format!("ip link delete dev {end}"))?;
    let (index, pid) = (index.trim(), other.pid()?);
    host(&format!("ip link add {end} index {index} type veth peer name again0 netns {pid}"))?;
    until_shown(&mut bridge.tare, one, serde_json::Map::is_empty)?;
    until_shown(&mut bridge.tare, other, |devices| devices.contains_key("again0"))?;
    Netns::of(other)?.run("ip link set dev again0 up")?;
    host(&format!("ip link set dev {end} up"))?;
    until_quiet(other)?;
    host(&frames(&end, 5)?)?;
    bridge.ensure_exact(other)?;

    // The same container in a new namespace.
    let third = &containers[2];
    lab.docker.client(["restart", "--time", "1", third.id()])?;
    let netns = Netns::of(third)?;
    netns.silence_host_end()?;
    until_quiet(third)?;
    bridge.tare.fresh_with(&[third.id()])?;
    host(&frames(&netns.host_end()?, 4)?)?;
    bridge.ensure_exact(third)
}

#[test]
fn devices_without_another_end_outside_are_read_in_every_sample() -> Result<()> {
    let lab = Lab::open()?;
    let bridge = Bridge::start(&lab)?;
    let network = Macvlan::create(&lab)?;
    let container = lab.start(Run::load("serve").option("--network", &network.name))?;
    let mut tare = bridge.tare;
    tare.fresh_with(&[container.id()])?;
    let samples = 30;
    let readings = readings(&lab, &mut tare, samples)?;
    ensure!(readings >= samples, "{readings} readings in {samples} samples");
    until_quiet(&container)?;
    for _ in 0..5 {
        Netns::of(&container)?.run(&frames("eth0", 3)?)?;
        ensure_exact(&mut tare, &container)?;
    }
    drop(container);
    Ok(())
}

#[test]
fn a_table_of_several_pages_is_read_whole() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("serve").option("--network", "none"))?;
    let netns = Netns::of(&container)?;
    let mut tare = lab.tare.stream("100ms")?;
    // 31 lines of about 120 bytes are the last that leave room in a page.
    for pair in 0..40 {
        netns.run(&format!("ip link add some-device-{pair:02} type veth peer name so{pair}"))?;
        if (10..20).contains(&pair) || pair == 39 {
            tare.fresh_with(&[container.id()])?;
            ensure_exact(&mut tare, &container)?;
        }
    }
    Ok(())
}

/// Waits until the kernel has sent its own packets over new devices.
fn until_quiet(container: &Container) -> Result<()> {
    let mut last = devices(container)?;
    let mut since = Instant::now();
    wait::until("the devices to be quiet", PATIENCE, || {
        let now = devices(container)?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        Ok((since.elapsed() > Duration::from_secs(5)).then_some(()))
    })
}
