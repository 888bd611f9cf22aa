//! The same numbers as `docker stats`.

use anyhow::{Context as _, Result, ensure};
use tare_tests::{docker::Run, lab::Lab};

const MIB: u64 = 1 << 20;

#[test]
fn net_io_equals_docker_stats() -> Result<()> {
    let lab = Lab::open()?;
    let listener = lab.start(Run::load("listen --proto tcp --addr 0.0.0.0:7000").linger())?;
    listener.ready()?;
    let to = listener.address()?;
    let load = format!("send --proto tcp --addr {to}:7000 --bytes 10MB");
    let sender = lab.start(Run::load(&load).linger())?;
    sender.outcome()?;
    listener.outcome()?;

    for container in [&listener, &sender] {
        let earlier = lab.docker_stats(container)?;
        let row = lab.tare.report()?.row(container.id())?;
        let later = lab.docker_stats(container)?;
        for field in [
            "rx_bytes",
            "rx_packets",
            "rx_errors",
            "rx_dropped",
            "tx_bytes",
            "tx_packets",
            "tx_errors",
            "tx_dropped",
        ] {
            let docker = format!("/networks/eth0/{field}");
            let (least, most) = (earlier.u64(&docker)?, later.u64(&docker)?);
            let tare = row.u64(&format!("/network/interfaces/eth0/{field}"))?;
            let name = container.name();
            ensure!(
                (least..=most).contains(&tare),
                "{name} {field}: {tare}, Docker said {least} before and {most} after"
            );
        }
    }
    Ok(())
}

#[test]
fn cpu_percent_equals_docker_stats() -> Result<()> {
    let lab = Lab::open()?;
    let spinner = lab.start(Run::load("spin --for 600s"))?;
    let mut tare = lab.tare.stream("3s")?;
    let mut docker = Vec::new();
    let mut row = None;
    // Docker is asked at each report, so both measure the same interval.
    for _ in 0..3 {
        row = tare.report()?.find(spinner.id());
        docker.push(lab.docker_stats(&spinner)?);
    }
    let row = row.context("the spinning container is not in the third report")?;
    let (tare, docker) = (row.f64("/cpu/percent")?, docker[2].cpu_percent_since(&docker[1])?);
    ensure!((tare - docker).abs() <= 5.0, "{tare} %, Docker computes {docker} %");
    ensure!(tare > 20.0, "a container that spins uses only {tare} %");
    Ok(())
}

#[test]
fn cpu_seconds_are_what_the_load_used() -> Result<()> {
    let lab = Lab::open()?;
    let spinner = lab.start(Run::load("spin --for 3s").linger())?;
    let outcome = spinner.outcome()?;
    let used = outcome["cpu_seconds"].as_f64().context("cpu_seconds of the load")?;
    let row = lab.tare.report()?.row(spinner.id())?;
    let counted = row.f64("/cpu/usage_seconds")?;
    // The runtime's own start of the container is counted too.
    ensure!(
        (used - 0.02..used + 0.5).contains(&counted),
        "{counted} seconds, the load itself says {used}"
    );
    // Jiffies on v1: both parts are right within a few ticks.
    let parts = row.f64("/cpu/user_seconds")? + row.f64("/cpu/system_seconds")?;
    ensure!((parts - counted).abs() < 0.3, "{counted} seconds, but {parts} in parts");
    Ok(())
}

#[test]
fn memory_equals_docker_stats() -> Result<()> {
    let lab = Lab::open()?;
    let load = Run::load("allocate --bytes 64MiB --for 600s").option("--memory", "256m");
    let holder = lab.start(load)?;
    holder.ready()?;
    let docker = lab.docker_stats(&holder)?;
    let row = lab.tare.report()?.row(holder.id())?;

    let (tare, docker_says) = (row.u64("/memory/working_set_bytes")?, docker.memory_bytes()?);
    let allowed = MIB.max(docker_says / 50);
    ensure!(tare.abs_diff(docker_says) <= allowed, "{tare} bytes, Docker says {docker_says}");
    ensure!(tare >= 64 * MIB, "64 MiB are held, {tare} bytes counted");
    ensure!(row.u64("/memory/rss_bytes")? >= 64 * MIB, "{row:?}");
    ensure!(row.u64("/memory/limit_bytes")? == 256 * MIB, "{row:?}");
    ensure!(docker.u64("/memory_stats/limit")? == 256 * MIB, "{docker:?}");
    let percent = row.f64("/memory/percent")?;
    ensure!((25.0..30.0).contains(&percent), "{percent} % of the limit");
    Ok(())
}

#[test]
fn pids_equal_docker_stats() -> Result<()> {
    let lab = Lab::open()?;
    let load = Run::load("spin --threads 3 --for 600s").option("--pids-limit", "50");
    let spinner = lab.start(load.option("--cpus", "0.2"))?;
    spinner.ready()?;
    let docker = lab.docker_stats(&spinner)?;
    let row = lab.tare.report()?.row(spinner.id())?;
    let current = row.u64("/pids/current")?;
    ensure!(current == 4 && current == docker.u64("/pids_stats/current")?, "{row:?}");
    ensure!(row.u64("/pids/limit")? == 50, "{row:?}");
    ensure!(row.u64("/cpu/periods")? > 0 && row.u64("/cpu/throttled_periods")? > 0, "{row:?}");
    Ok(())
}
