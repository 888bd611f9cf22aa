//! Ring 2: `tare run` with sinks, on a captured host, with receivers that do as they are told.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tare_tests::{
    binaries,
    process::Finished,
    receiver::{Behaviour, Receiver},
    tare::Tare,
    tare_daemon::TareDaemon,
    tcp::free_address,
    wait::{self, PATIENCE},
};
use tempfile::TempDir;

/// `tare` on the fixture `v2-cgroupfs`.
fn tare() -> Result<Tare> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v2-cgroupfs");
    let mut tare = Tare::at(binaries::tare()?);
    for part in ["cgroup", "proc", "sys"] {
        let path = fixture.join(part);
        tare = tare.option(&format!("--{part}-root"), path.to_str().context("not UTF-8")?);
    }
    for socket in ["--docker-socket", "--podman-socket", "--cri-socket"] {
        tare = tare.option(socket, "off");
    }
    Ok(tare.option("--bpf", "off"))
}

/// A configuration file with a sample every 100 ms.
struct Config {
    directory: TempDir,
}

impl Config {
    fn new(sinks: &str) -> Result<Self> {
        let config = Self { directory: tempfile::tempdir()? };
        config.write(sinks)?;
        Ok(config)
    }

    fn write(&self, sinks: &str) -> Result<()> {
        Ok(fs::write(self.path(), format!("interval = \"100ms\"\n{sinks}"))?)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("tare.toml")
    }

    fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.directory.path().join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    fn start(&self, tare: &Tare, args: &[&str]) -> Result<TareDaemon> {
        let path = self.path();
        let path = path.to_str().context("not UTF-8")?;
        TareDaemon::start(tare, &[&["--config", path], args].concat())
    }
}

/// A sink of CPU time to an address.
fn sink(name: &str, address: &str, more: &str) -> String {
    format!(
        "[[sink]]\nname = \"{name}\"\nurl = \"influx+http://{address}/?db=a\"\n\
         families = [\"cpu\"]\n{more}\n"
    )
}

/// A metric of a sink.
fn metric(daemon: &TareDaemon, name: &str, labels: &str) -> Result<f64> {
    let metrics = daemon.metrics()?;
    let found = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name}{{{labels}}} ")));
    found.with_context(|| format!("no {name}{{{labels}}} in {metrics}"))?.parse().context("a value")
}

fn ensure_nothing_dropped(daemon: &TareDaemon) -> Result<()> {
    let metrics = daemon.metrics()?;
    let dropped = metrics.lines().filter(|line| line.starts_with("tare_sink_dropped_points_total"));
    for line in dropped {
        ensure!(line.ends_with(" 0"), "{line}");
    }
    Ok(())
}

fn ensure_once_and_in_order(times: &[i64]) -> Result<()> {
    let wrong = times.windows(2).find(|pair| pair[0] >= pair[1]);
    ensure!(wrong.is_none(), "{wrong:?} of {} batches", times.len());
    Ok(())
}

fn wait_for_batches(receiver: &Receiver, count: usize) -> Result<()> {
    let what = format!("{count} batches");
    wait::until(&what, PATIENCE, || Ok((receiver.times().len() >= count).then_some(())))
}

#[test]
fn an_outage_loses_nothing_even_if_tare_is_killed_and_a_file_of_the_spool_is_damaged() -> Result<()>
{
    let tare = tare()?;
    let (dead, healthy) = (free_address()?, Receiver::start("127.0.0.1:0", Behaviour::Accept)?);
    let small = "queue = \"64KiB\"";
    let sinks = sink("dead", &dead, small) + &sink("healthy", &healthy.address(), small);
    let config = Config::new(&sinks)?;
    let spool = config.directory.path().join("spool");
    let spooling = ["--sink-spool", spool.to_str().context("not UTF-8")?];
    let daemon = config.start(&tare, &spooling)?;
    wait_for_batches(&healthy, 30)?;
    ensure!(metric(&daemon, "tare_sink_spool_bytes", "sink=\"dead\"")? > 0.0);
    ensure!(metric(&daemon, "tare_sink_lag_seconds", "sink=\"dead\"")? > 2.0);
    ensure!(metric(&daemon, "tare_sink_retries_total", "sink=\"dead\"")? > 0.0);
    ensure_nothing_dropped(&daemon)?;
    daemon.signal(Signal::SIGKILL)?;
    drop(daemon);
    let before = healthy.times();

    let mut of_dead = fs::read_dir(&spool)?.filter_map(|entry| Some(entry.ok()?.path()));
    let of_dead = of_dead.find(|path| path.to_string_lossy().contains("/dead-"));
    let files = fs::read_dir(of_dead.context("no spool")?)?.filter_map(Result::ok);
    let mut files: Vec<_> = files.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "batch"));
    files.sort();
    ensure!(files.len() >= before.len(), "{} files", files.len());
    let damaged = before.get(3).context("no fourth sample")?;
    let file = files.get(3).context("no fourth file")?;
    fs::write(file, &fs::read(file)?[..40])?;

    let revived = Receiver::start(&dead, Behaviour::Accept)?;
    let daemon = config.start(&tare, &spooling)?;
    let lag = || metric(&daemon, "tare_sink_lag_seconds", "sink=\"dead\"");
    wait::until("the rest of the spool", PATIENCE, || Ok((lag()? < 0.3).then_some(())))?;
    let after = revived.times();
    ensure_once_and_in_order(&after)?;
    let lost: Vec<_> = before.iter().filter(|time| !after.contains(time)).collect();
    ensure!(lost == [damaged], "lost {lost:?} of {}", before.len());
    let corrupt = metric(&daemon, "tare_sink_corrupt_batches_total", "sink=\"dead\"")?;
    ensure!(corrupt == 1.0, "{corrupt}");
    ensure_nothing_dropped(&daemon)
}

#[test]
fn what_cannot_be_delivered_at_the_end_is_said_and_stays_in_a_spool() -> Result<()> {
    let tare = tare()?.option("--log-level", "info");
    let config = Config::new(&sink("dead", &free_address()?, ""))?;
    let spool = config.directory.path().join("spool");
    let spool = spool.to_str().context("not UTF-8")?;
    for (args, said) in [
        (&[][..], "points are lost that were not delivered"),
        (&["--sink-spool", spool], "points stay in the spool"),
    ] {
        let daemon = config.start(&tare, args)?;
        let retries = || metric(&daemon, "tare_sink_retries_total", "sink=\"dead\"");
        wait::until("a retry", PATIENCE, || Ok((retries()? > 0.0).then_some(())))?;
        let finished = daemon.terminate()?;
        ensure!(finished.status.success(), "{finished:?}");
        ensure!(finished.stderr.contains(said), "{said}: {}", finished.stderr);
    }
    Ok(())
}

#[test]
fn a_receiver_that_never_answers_or_refuses_delays_no_sample_and_no_other_sink() -> Result<()> {
    let tare = tare()?;
    let bad = Receiver::start("127.0.0.1:0", Behaviour::Silence)?;
    let good = Receiver::start("127.0.0.1:0", Behaviour::Accept)?;
    let config =
        Config::new(&(sink("bad", &bad.address(), "") + &sink("good", &good.address(), "")))?;
    let daemon = config.start(&tare, &[])?;
    wait_for_batches(&good, 30)?;
    let times = good.times();
    ensure_once_and_in_order(&times)?;
    // The first delivery of the bad one takes until its time-out, which is 10 s.
    let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().context("no samples")?;
    ensure!(gap < 3_000_000_000, "no sample for {gap} ns");
    ensure!(metric(&daemon, "tare_sink_missed_samples_total", "sink=\"good\"")? < 5.0);
    ensure!(bad.times().is_empty());

    // When it answers at last, it gets everything, once and in order.
    bad.behave(Behaviour::Answer("503 Service Unavailable\r\nretry-after: 1"));
    let retries = || metric(&daemon, "tare_sink_retries_total", "sink=\"bad\"");
    wait::until("a retry", PATIENCE, || Ok((retries()? >= 2.0).then_some(())))?;
    bad.behave(Behaviour::Accept);
    wait_for_batches(&bad, 100)?;
    ensure_once_and_in_order(&bad.times())?;
    let (bad_times, good_times) = (bad.times(), good.times());
    let common = bad_times.len().min(good_times.len());
    ensure!(bad_times[..common] == good_times[..common]);
    ensure_nothing_dropped(&daemon)?;

    // What it refuses is lost, and counted.
    bad.behave(Behaviour::Answer("400 Bad Request"));
    let labels = "sink=\"bad\",reason=\"rejected\"";
    let rejected = || metric(&daemon, "tare_sink_dropped_points_total", labels);
    wait::until("dropped points", PATIENCE, || Ok((rejected()? > 0.0).then_some(())))?;
    let before = good.times().len();
    wait_for_batches(&good, before + 10)?;
    let finished = daemon.terminate()?;
    let said = finished.stderr.matches("the receiver refuses points").count();
    ensure!(said == 1, "{}", finished.stderr);
    Ok(())
}

#[test]
fn sighup_changes_sinks_without_losing_a_sample() -> Result<()> {
    let tare = tare()?;
    let all = Receiver::start("127.0.0.1:0", Behaviour::Accept)?;
    let first = Receiver::start("127.0.0.1:0", Behaviour::Accept)?;
    let second = Receiver::start("127.0.0.1:0", Behaviour::Accept)?;
    let fixed = sink("all", &all.address(), "");
    let config = Config::new(&(fixed.clone() + &sink("moving", &first.address(), "")))?;
    let daemon = config.start(&tare, &[])?;
    wait_for_batches(&first, 10)?;

    // A mistake changes nothing.
    config.write("[[sink]]\nurl = \"kafka://a\"\n")?;
    daemon.signal(Signal::SIGHUP)?;
    let count = first.times().len();
    wait_for_batches(&first, count + 10)?;

    // While the first receiver refuses, batches wait for the second one.
    first.behave(Behaviour::Answer("503 Service Unavailable\r\nretry-after: 3600"));
    let count = all.times().len();
    wait_for_batches(&all, count + 10)?;
    let moved = sink("moving", &second.address(), "labels = { colour = \"blue\" }");
    config.write(&(fixed + &moved))?;
    daemon.signal(Signal::SIGHUP)?;
    wait_for_batches(&second, 30)?;
    ensure!(metric(&daemon, "tare_sink_delivered_points_total", "sink=\"moving\"")? > 0.0);

    // A sink that is gone gets nothing more.
    config.write(&sink("all", &all.address(), ""))?;
    daemon.signal(Signal::SIGHUP)?;
    let is_gone = || Ok((!daemon.metrics()?.contains("sink=\"moving\"")).then_some(()));
    wait::until("the sink to be removed", PATIENCE, is_gone)?;
    sleep(Duration::from_millis(300));
    let count = second.times().len();
    sleep(Duration::from_millis(500));
    ensure!(second.times().len() == count);

    let moving = [first.times(), second.times()].concat();
    ensure_once_and_in_order(&moving)?;
    let common = moving.len().min(all.times().len());
    ensure!(moving[..common] == all.times()[..common], "{} and {}", moving.len(), common);
    let last = second.accepted().pop().context("no batch")?;
    ensure!(last.text.contains(",colour=blue,"), "{}", last.text);
    let finished = daemon.terminate()?;
    ensure!(finished.stderr.contains("there is no protocol `kafka`"), "{}", finished.stderr);
    Ok(())
}

#[test]
fn a_sink_goes_through_a_proxy_with_its_headers_at_its_interval() -> Result<()> {
    let proxy = Receiver::start("127.0.0.1:0", Behaviour::Accept)?;
    let tare = tare()?.environment("http_proxy", &format!("http://{}", proxy.address()));
    let config = Config::new("")?;
    let (token, key) = (config.file("token", "sesame\n")?, config.file("key", "secret")?);
    let more = format!(
        "interval = \"300ms\"\ntoken-file = \"{token}\"\nheader-files = {{ X-Key = \"{key}\" }}\n\
         headers = {{ X-Org = \"team\" }}\nlabels = {{ cluster = \"a b\", host = \"other\" }}"
    );
    config.write(&sink("proxied", "metrics.test:8086", &more))?;
    let daemon = config.start(&tare, &[])?;
    wait_for_batches(&proxy, 8)?;
    let gaps = proxy.times().windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
    ensure!(gaps.iter().all(|gap| *gap > 150_000_000), "{gaps:?}");
    let batch = proxy.accepted().remove(0);
    ensure!(
        batch.head.starts_with("post http://metrics.test:8086/write?db=a&precision=ns http/1.1")
    );
    for header in ["authorization: token sesame", "x-key: secret", "x-org: team"] {
        ensure!(batch.head.lines().any(|line| line == header), "{}", batch.head);
    }
    for line in batch.text.lines() {
        ensure!(line.starts_with("tare_cpu,cluster=a\\ b,host=other,"), "{line}");
    }
    // A new token needs no restart.
    fs::write(&token, "other")?;
    let renewed = || {
        let batch = proxy.accepted().pop();
        Ok(batch.filter(|batch| batch.head.contains("token other")).map(|_| ()))
    };
    wait::until("the new token", PATIENCE, renewed)?;
    ensure_nothing_dropped(&daemon)
}

#[test]
fn standard_output_and_a_unix_socket_have_the_values_of_the_snapshot() -> Result<()> {
    let config = Config::new("")?;
    let socket = config.directory.path().join("statsd.sock");
    let address = socket.to_str().context("not UTF-8")?;
    config.write(&format!(
        "[[sink]]\nurl = \"stdout:\"\nfamilies = [\"cpu\"]\n\
         [[sink]]\nname = \"local\"\nurl = \"statsd://{address}\"\nfamilies = [\"cpu\"]\n"
    ))?;
    let mut daemon = config.start(&tare()?, &[])?;
    let snapshot = daemon.json("/api/v1/snapshot")?;
    let rows = snapshot["containers"].as_array().context("no containers")?;
    let expected: BTreeMap<String, f64> = rows
        .iter()
        .filter_map(|row| {
            let id = row["cgroup"].as_str()?.to_owned();
            Some((id, row["cpu"]["usage_seconds"].as_f64()?))
        })
        .collect();
    ensure!(expected.len() > 1, "{snapshot}");

    let mut samples: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    while samples.len() < 6 {
        let line: Value = serde_json::from_str(&daemon.next_line()?)?;
        if line["name"] == "container_cpu_usage_seconds_total" {
            let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
            let sample = samples.entry(text(&line["time"])?).or_default();
            sample.insert(text(&line["labels"]["id"])?, line["value"].as_f64().context("value")?);
        }
    }
    // The last one may not be complete.
    samples.pop_last();
    ensure!(samples.values().all(|sample| *sample == expected), "{samples:?}, not {expected:?}");

    // Nobody has listened so far; what waited arrives now.
    let receiver = UnixDatagram::bind(&socket)?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut datagram = vec![0; 1 << 16];
    while counts.values().any(|count| *count < 6) || counts.len() < expected.len() {
        let length = receiver.recv(&mut datagram)?;
        for line in std::str::from_utf8(&datagram[..length])?.lines() {
            let Some(rest) = line.strip_prefix("container_cpu_usage_seconds_total:") else {
                continue;
            };
            let (value, tags) = rest.split_once("|g|#").with_context(|| line.to_owned())?;
            let id = tags.split(',').find_map(|tag| tag.strip_prefix("id:")).context("no id")?;
            ensure!(expected.get(id) == Some(&value.parse()?), "{line}: {expected:?}");
            *counts.entry(id.to_owned()).or_default() += 1;
        }
    }
    ensure!(metric(&daemon, "tare_sink_retries_total", "sink=\"local\"")? > 0.0, "no retry");
    ensure_nothing_dropped(&daemon)
}

#[test]
fn the_host_has_the_name_that_it_is_given() -> Result<()> {
    let receiver = Receiver::start("127.0.0.1:0", Behaviour::Accept)?;
    let config = Config::new(&sink("named", &receiver.address(), ""))?;
    let daemon = config.start(&tare()?, &["--hostname", "node-7"])?;
    wait_for_batches(&receiver, 1)?;
    let batch = receiver.accepted().remove(0);
    for line in batch.text.lines() {
        ensure!(line.starts_with("tare_cpu,host=node-7,"), "{line}");
    }
    let host = daemon.json("/api/v1/host")?;
    ensure!(host["hostname"] == "node-7", "{host:#}");
    Ok(())
}

#[test]
fn the_configuration_of_the_overlay_otlp_names_a_sink() -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/kubernetes/overlays/otlp/tare.toml")
        .display()
        .to_string();
    let done = tare()?.run(&["run", "--config", &file, "--check-config"])?;
    // Nobody has that name here.
    let expected =
        format!("{file}, line 2: otlp: cannot connect to otel-collector.monitoring:4317");
    ensure!(done.stderr.contains(&expected), "{}", done.stderr);
    Ok(())
}

/// `tare run` with a configuration, which ends by itself.
fn refused(config: &Config, args: &[&str]) -> Result<Finished> {
    let path = config.path();
    let path = path.to_str().context("not UTF-8")?;
    tare()?.run(&[&["run", "--listen", "off", "--socket", "off", "--config", path], args].concat())
}

#[test]
fn a_bad_configuration_names_the_line_and_the_remedy() -> Result<()> {
    let config = Config::new("")?;
    let closed = free_address()?;
    let text = config.file("text", "no certificate")?;
    let unreachable = "; start the receiver, or correct its `url`";
    let always = [
        (
            "url = \"kafka://a\"",
            "there is no protocol `kafka`; write one of influx+http://".to_owned(),
        ),
        (
            "url = \"grafite://a\"",
            "there is no protocol `grafite`; did you mean `graphite`?".to_owned(),
        ),
        (
            "url = \"stdout:\"\nfamilies = [\"cpuu\"]",
            "there is no family `cpuu`; did you mean `cpu`?".to_owned(),
        ),
        (
            "url = \"stdout:\"\ninterval = \"150ms\"",
            "`interval` must be a multiple of the time between samples (100 ms); write `200ms`"
                .to_owned(),
        ),
        (
            &format!("url = \"otlp+https://a\"\nca-file = \"{text}\""),
            format!("{text}: no certificates in PEM"),
        ),
    ];
    for (sink, said) in always {
        config.write(&format!("\n[[sink]]\n{sink}\n"))?;
        for args in [&[][..], &["--check-config"]] {
            let done = refused(&config, args)?;
            let expected = format!("{}, line 3: {said}", config.path().display());
            ensure!(!done.status.success() && done.stderr.contains(&expected), "{}", done.stderr);
        }
    }
    // These show only when somebody connects.
    let checked = |sink: &str, said: &str| {
        config.write(&format!("\n[[sink]]\n{sink}\n"))?;
        let done = refused(&config, &["--check-config"])?;
        let place = format!("{}, line 3: ", config.path().display());
        let all = [&place, said, unreachable];
        let is_said = all.iter().all(|part| done.stderr.contains(part));
        ensure!(!done.status.success() && is_said, "{said}: {}", done.stderr);
        Ok(())
    };
    checked(&format!("url = \"graphite://{closed}\""), "cannot connect to 127.0.0.1:")?;
    checked(
        "url = \"influx+http://no-such-host.invalid/?db=a\"",
        "cannot connect to no-such-host.invalid",
    )?;
    Ok(())
}
