//! What `tare run` publishes between two samples, and how it is scheduled.

use std::{
    fs,
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

use crate::daemon::EventReader;

/// Well below the interval of an hour, and enough for a busy machine.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn an_end_is_published_long_before_the_next_sample() -> Result<()> {
    let lab = Lab::open()?;
    let gate = lab.gate()?;
    let sampled = lab.start(Run::load("spin --for 100ms").behind(&gate))?;
    let daemon = TareDaemon::start(&lab.tare, &["--interval", "1h"])?;
    let events = EventReader::start(&daemon)?;
    let row = daemon.json(&format!("/api/v1/containers/{}", sampled.id()))?;
    ensure!(row["state"] == "running", "{row}");
    let short = lab.start(Run::load("spin --for 100ms"))?;
    gate.open()?;
    let mut took = Duration::ZERO;
    for (container, started) in [(&sampled, 0), (&short, 1)] {
        container.outcome()?;
        let ended = Instant::now();
        let event = wait::until("the event of an end", PATIENCE, || {
            Ok(events.about(container, "ended").into_iter().next())
        })?;
        took = took.max(ended.elapsed());
        let event: Value = serde_json::from_str(event.lines().next().context("no data")?)?;
        ensure!(event["name"] == container.name() && event["exit_code"] == 0, "{event}");
        ensure!(event["finality"]["cpu"]["state"] == "final", "{event}");
        ensure!(events.about(container, "started").len() == started, "{event}");
        let all = daemon.json("/api/v1/ended")?;
        let all = all.as_array().context("no list")?;
        ensure!(all.iter().any(|row| row["id"] == container.id()), "{all:?}");
        let one = daemon.json(&format!("/api/v1/containers/{}", container.id()))?;
        ensure!(one["state"] == "ended" && one["ended_at"].is_string(), "{one}");
    }
    ensure!(took < SOON, "an end was published after {took:?}");
    ensure!(daemon.metric("tare_samples_total")? < 2.0, "there was another sample");
    Ok(())
}

/// The nice value of a process's main thread: field 19 of its `stat`.
fn nice(pid: u32) -> Result<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("no command")?;
    let nice = rest.split_ascii_whitespace().nth(16).context("no nice value")?;
    Ok(nice.parse()?)
}

#[test]
fn only_the_daemon_raises_its_priority_and_an_option_sets_it() -> Result<()> {
    let lab = Lab::open()?;
    let _container = lab.start(Run::load("spin --for 600s"))?;
    let ours = nice(std::process::id())?;
    let mut stream = lab.tare.stream("200ms")?;
    stream.report()?;
    ensure!(nice(stream.id())? == ours, "`tare stats` changed its nice value");
    let daemon = TareDaemon::start(&lab.tare, &[])?;
    ensure!(nice(daemon.id())? == -20, "the usual nice value is {}", nice(daemon.id())?);
    let daemon = TareDaemon::start(&lab.tare, &["--nice", "-3"])?;
    ensure!(nice(daemon.id())? == -3, "--nice -3 gave {}", nice(daemon.id())?);
    Ok(())
}
