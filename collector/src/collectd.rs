//! `tare collectd`: an exec plugin of collectd. It writes `PUTVAL` lines with types of collectd's
//! own `types.db`.
//!
//! collectd runs plugins as a user without rights, so a running daemon is asked first. Without one,
//! the plugin samples what such a user can read.

use std::{
    collections::HashSet,
    env, fmt,
    io::{self, Write as _},
    os::fd::AsFd,
    time::Duration,
};

use anyhow::Result;
use jiff::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tare_model::{Container, Kind, Report};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{self, MissedTickBehavior},
};

use crate::{
    collector::Collector,
    config::{self, Collectd, Common},
    host::HostFacts,
    output::select,
    snapshot,
};

/// The interval of collectd's own default configuration.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// Runs until a signal ends it, or until collectd has closed the pipe.
///
/// # Errors
///
/// If there is nothing to read, or if standard output is closed.
pub async fn run(common: &Common, options: &Collectd) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = write_forever(common, options) => done,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

async fn write_forever(common: &Common, options: &Collectd) -> Result<()> {
    let interval = options.interval.or_else(environment_interval).unwrap_or(DEFAULT_INTERVAL);
    let host = env::var("COLLECTD_HOSTNAME").ok().filter(|host| !host.is_empty());
    let facts = || HostFacts::read(&common.proc_root, &common.sys_root).identity.hostname;
    let host = host.or_else(facts).unwrap_or_else(|| "localhost".to_owned());
    let mut ticks = time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut source = Source::default();
    let mut ended = HashSet::new();
    loop {
        ticks.tick().await;
        // Without a container nothing is written that could fail.
        if reader_has_gone(io::stdout()) {
            return Ok(());
        }
        let report = source.report(common, options).await?;
        let mut out = Vec::new();
        write_report(&mut out, &report, &host, interval, &mut ended);
        let mut stdout = io::stdout().lock();
        stdout.write_all(&out)?;
        stdout.flush()?;
    }
}

/// Whether nobody reads any more what is written here. Never of a file.
fn reader_has_gone(output: impl AsFd) -> bool {
    let mut polled = [PollFd::new(output.as_fd(), PollFlags::empty())];
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    poll(&mut polled, PollTimeout::ZERO).is_ok()
        && polled[0].revents().is_some_and(|events| events.intersects(gone))
}

/// Where reports come from.
#[derive(Default)]
struct Source {
    /// What samples while no daemon answers.
    own: Option<Collector>,
    /// Why the daemon was not used, as the log has it: collectd's own log gets every line.
    said: String,
}

impl Source {
    /// The report of the daemon, or else one of our own.
    async fn report(&mut self, common: &Common, options: &Collectd) -> Result<Report> {
        let asked = config::Snapshot {
            names: Vec::new(),
            window: Duration::ZERO,
            daemon: options.daemon.clone(),
            format: config::PlainFormat::Json,
            output: None,
            read: None,
            replay: None,
        };
        match snapshot::of_daemon(common, &asked).await {
            Ok(Some(mut snapshot)) => {
                self.said.clear();
                snapshot.report.containers.retain(|row| select::in_scope(row.kind, options.scope));
                return Ok(snapshot.report);
            }
            Ok(None) => {}
            Err(message) if message == self.said => {}
            Err(message) => {
                tracing::warn!("{message}");
                self.said = message;
            }
        }
        let collector = match &mut self.own {
            Some(collector) => {
                collector.sampler.drain_events();
                collector
            }
            None => self.own.insert(Collector::start(common, options.scope.into())?),
        };
        let sample = collector.sample();
        collector.settle_names().await;
        Ok(collector.report(None, &sample))
    }
}

/// `COLLECTD_INTERVAL`: seconds, maybe with a fraction.
fn environment_interval() -> Option<Duration> {
    let seconds = env::var("COLLECTD_INTERVAL").ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|interval| !interval.is_zero())
}

/// Writes the values of every container, and once the last ones of each that has ended.
fn write_report(
    out: &mut Vec<u8>,
    report: &Report,
    host: &str,
    interval: Duration,
    ended: &mut HashSet<(String, Timestamp)>,
) {
    let present = |ended: &tare_model::Ended| (ended.container.cgroup.clone(), ended.ended_at);
    let all: HashSet<_> = report.ended.iter().map(present).collect();
    for row in report.ended.iter().rev().filter(|row| !ended.contains(&present(row))) {
        write_container(out, &row.container, row.ended_at, host, interval);
    }
    *ended = all;
    for container in &report.containers {
        write_container(out, container, report.time, host, interval);
    }
}

fn write_container(
    out: &mut Vec<u8>,
    container: &Container,
    time: Timestamp,
    host: &str,
    interval: Duration,
) {
    let instance = instance(container);
    let mut put = |kind: &str, values: &[Option<u64>]| {
        // A value list is complete, or it is not written.
        let Some(values) = values.iter().copied().collect::<Option<Vec<_>>>() else { return };
        let line = Line { host, instance: &instance, kind, interval, time, values: &values };
        out.extend_from_slice(line.to_string().as_bytes());
    };
    let Container { cpu, memory, network, block, pids, .. } = container;
    let millis = |seconds: Option<f64>| seconds.map(|seconds| (seconds * 1e3).round() as u64);
    put("total_time_in_ms-cpu_usage", &[millis(cpu.usage_seconds)]);
    put("total_time_in_ms-cpu_user", &[millis(cpu.user_seconds)]);
    put("total_time_in_ms-cpu_system", &[millis(cpu.system_seconds)]);
    put("total_time_in_ms-cpu_throttled", &[millis(cpu.throttled_seconds)]);
    put("memory-usage", &[memory.usage_bytes]);
    put("memory-working_set", &[memory.working_set_bytes]);
    put("memory-rss", &[memory.rss_bytes]);
    put("memory-cache", &[memory.cache_bytes]);
    put("derive-oom_kills", &[memory.oom_kills]);
    put("threads", &[pids.current]);
    for (name, device) in network.interfaces.iter().flatten() {
        let name = safe(name);
        put(&format!("if_octets-{name}"), &[Some(device.rx_bytes), Some(device.tx_bytes)]);
        put(&format!("if_packets-{name}"), &[Some(device.rx_packets), Some(device.tx_packets)]);
    }
    if let Some(sockets) = &network.sockets {
        put("if_octets-sockets", &[Some(sockets.rx_bytes), Some(sockets.tx_bytes)]);
    }
    put("disk_octets-total", &[block.total.read_bytes, block.total.write_bytes]);
    put("disk_ops-total", &[block.total.read_ops, block.total.write_ops]);
}

/// A line of collectd's plain text protocol.
struct Line<'a> {
    host: &'a str,
    instance: &'a str,
    /// The type and, behind a dash, its instance.
    kind: &'a str,
    interval: Duration,
    time: Timestamp,
    values: &'a [u64],
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, instance, kind, interval, time, values } = self;
        let interval = interval.as_secs_f64();
        let seconds = time.as_millisecond() as f64 / 1e3;
        write!(f, "PUTVAL \"{host}/tare-{instance}/{kind}\" interval={interval} {seconds:.3}")?;
        values.iter().try_for_each(|value| write!(f, ":{value}"))?;
        f.write_str("\n")
    }
}

/// The name, or else the beginning of the id; the path of what is no container.
fn instance(container: &Container) -> String {
    let id = match container.kind {
        Kind::Container => container.id.get(..12).unwrap_or(&container.id),
        Kind::Service | Kind::Other => &container.id,
    };
    safe(container.name.as_deref().unwrap_or(id))
}

/// Without what separates the parts of a line. Names have at most 127 bytes.
fn safe(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    name.trim_start_matches('/').chars().map(safe).take(100).collect()
}

#[cfg(test)]
mod tests {
    use tare_model::{Ended, Finality};

    use super::*;
    use crate::output::fixture;

    fn lines(report: &Report, ended: &mut HashSet<(String, Timestamp)>) -> Vec<String> {
        let mut out = Vec::new();
        write_report(&mut out, report, "host", Duration::from_secs(10), ended);
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_known_number_is_a_line_and_an_unknown_one_is_none() {
        let mut container = fixture::unknown(Kind::Container, "0123456789abcdef");
        container.cpu.usage_seconds = Some(1.5);
        container.block.total.read_bytes = Some(7);
        let mut report = fixture::report(vec![container]);
        report.time = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        let expected = "PUTVAL \"host/tare-0123456789ab/total_time_in_ms-cpu_usage\" interval=10 1700000000.123:1500";
        assert_eq!(lines(&report, &mut HashSet::new()), [expected]);
        report.containers[0].block.total.write_bytes = Some(8);
        report.containers[0].name = Some("a/b \"c\"".to_owned());
        let all = lines(&report, &mut HashSet::new());
        let expected =
            "PUTVAL \"host/tare-a_b__c_/disk_octets-total\" interval=10 1700000000.123:7:8";
        assert_eq!(all[1], expected);
    }

    #[test]
    fn a_closed_pipe_is_noticed_without_a_write() {
        let (reader, writer) = io::pipe().unwrap();
        assert!(!reader_has_gone(&writer));
        drop(reader);
        assert!(reader_has_gone(&writer));
        assert!(!reader_has_gone(tempfile::tempfile().unwrap()));
    }

    #[test]
    fn an_ended_container_is_written_once() {
        let mut container = fixture::unknown(Kind::Container, "1");
        container.cpu.usage_seconds = Some(0.02);
        let mut report = fixture::report(Vec::new());
        let ended_at = Timestamp::from_millisecond(1_700_000_000_000).unwrap();
        let finality: Vec<(tare_model::Family, Finality)> = Vec::new();
        report.ended =
            vec![Ended { container, ended_at, finality: finality.into_iter().collect() }];
        let mut ended = HashSet::new();
        assert_eq!(lines(&report, &mut ended).len(), 1);
        assert!(lines(&report, &mut ended).is_empty());
    }
}
