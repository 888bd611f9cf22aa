use jiff::SignedDuration;
use proptest::prelude::*;
use tare_model::{Change, Container, Delay, Family, OomKill, Source, Sources, TcpEvents};

use super::*;
use crate::output::fixture;

fn named(name: &str, change: impl FnOnce(&mut Container)) -> Container {
    let mut row = fixture::web();
    row.name = Some(name.to_owned());
    row.cgroup = format!("/docker/{name}");
    change(&mut row);
    row
}

fn snapshot(rows: Vec<Container>) -> Snapshot {
    Snapshot::new(None, fixture::report(rows))
}

fn page(snapshot: &Snapshot) -> String {
    render(snapshot, false).text(false)
}

/// The lines of a section, its title left out; none if it is not shown.
fn section(page: &str, title: &str) -> Vec<String> {
    let lines = page.lines().skip_while(|line| *line != title).skip(1);
    lines.take_while(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The names in a section.
fn names(page: &str, title: &str) -> Vec<String> {
    let lines = section(page, title).into_iter().skip(1);
    lines.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

#[test]
fn a_healthy_host_gives_a_short_page() {
    let page = page(&snapshot(vec![fixture::web(), fixture::unknown(Kind::Container, "a")]));
    assert!(page.lines().count() <= 9, "{page}");
    assert!(page.ends_with("\nNo container stands out.\n"), "{page}");
}

#[test]
fn close_to_a_limit_means_from_90_percent() {
    let memory = |share: f64| named(&format!("m{share}"), |row| row.memory.percent = Some(share));
    let tasks = |now: u64| {
        named(&format!("t{now}"), |row| {
            row.pids.current = Some(now);
            row.pids.limit = Some(100);
        })
    };
    let cpu = |share: f64| {
        named(&format!("c{share}"), |row| {
            row.cpu.limit_cores = Some(0.5);
            row.cpu.percent = Some(share / 2.0);
        })
    };
    let rows =
        vec![memory(89.9), memory(90.0), tasks(89), tasks(95), tasks(100), cpu(89.0), cpu(97.0)];
    let page = page(&snapshot(rows));
    assert_eq!(names(&page, "CLOSE TO A LIMIT"), ["t100", "c97", "t95", "m90"], "{page}");
}

#[test]
fn throttled_means_more_than_5_percent_of_the_periods() {
    let throttled = |name: &str, periods: u64| {
        named(name, |row| {
            row.cpu.periods = Some(100);
            row.cpu.throttled_periods = Some(periods);
        })
    };
    let title = "THROTTLED BY ITS CPU QUOTA";
    let rows = vec![throttled("little", 5), throttled("much", 6), throttled("more", 50)];
    let mut snapshot = snapshot(rows);
    snapshot.report.interval_seconds = None;
    assert_eq!(names(&page(&snapshot), title), ["more", "much"]);
    // With an interval, what happens now counts.
    snapshot.report.interval_seconds = Some(1.0);
    assert!(names(&page(&snapshot), title).is_empty());
    let now = Change { throttled_percent: Some(90.0), ..Change::default() };
    snapshot.changes.insert("/docker/little".to_owned(), now);
    let lines = section(&page(&snapshot), title);
    assert!(lines[1].contains("90.00%") && lines[1].contains("5.00%"), "{lines:?}");
}

#[test]
fn killed_waiting_and_slow_containers_have_their_sections() {
    let at = fixture::report(vec![]).time;
    let killed = named("killed", |row| {
        row.memory.oom_kills = Some(2);
        let command = "java\u{1b}[2J".to_owned();
        row.memory.last_oom_kill = Some(OomKill { at, pid: 4711, command });
    });
    let waits = named("waits", |row| {
        let pressure = Pressure { some_avg10_percent: Some(10.1), ..Pressure::default() };
        row.memory.pressure = Some(pressure);
        row.block.pressure = Some(Pressure { some_avg10_percent: Some(10.0), ..pressure });
    });
    let slow = named("slow", |_| {});
    let lossy = named("lossy", |row| {
        row.network.tcp_events =
            Some(TcpEvents { since: None, retransmits: Some(7), connections: None });
    });
    let sick = named("sick", |row| row.health = Some("unhealthy".into()));
    let mut snapshot = snapshot(vec![killed, waits, slow, lossy, sick]);
    let delay = |p99_seconds| Delay { count: 5, mean_seconds: 0.01, p99_seconds };
    let changes = [
        ("slow", Change { reads: Some(delay(None)), ..Change::default() }),
        ("lossy", Change { retransmits: Some(1), ..Change::default() }),
        ("sick", Change { reads: Some(delay(Some(0.019))), ..Change::default() }),
        ("waits", Change { tx_bytes_per_second: Some(10e6), ..Change::default() }),
        ("killed", Change { read_bytes_per_second: Some(20e6), ..Change::default() }),
    ];
    snapshot.changes = changes.map(|(name, change)| (format!("/docker/{name}"), change)).into();
    let page = page(&snapshot);
    for (title, expected) in [
        ("OUT OF MEMORY", "killed"),
        ("WAITING (PRESSURE)", "waits"),
        ("SLOW BLOCK I/O", "slow"),
        ("TCP RETRANSMITS", "lossy"),
        ("FAILS ITS HEALTH CHECK", "sick"),
        ("MOST NETWORK", "waits"),
        ("MOST BLOCK I/O", "killed"),
    ] {
        assert_eq!(names(&page, title), [expected], "{title} in {page}");
    }
    assert!(page.contains("1970-01-01 00:00:00   java\\u{1b}[2J (4711)"), "{page}");
}

#[test]
fn the_worst_come_first_and_the_rest_is_counted() {
    let busy = |n: u32| named(&format!("n{n}"), |row| row.cpu.percent = Some(f64::from(50 + n)));
    let page = page(&snapshot((0..14).map(busy).collect()));
    let lines = section(&page, "MOST CPU");
    assert!(lines[1].starts_with("n13 ") && lines[10].starts_with("n4 "), "{page}");
    assert_eq!(lines[11], "… and 4 more");
}

#[test]
fn what_is_missing_says_why_once() {
    let mut snapshot = snapshot(vec![]);
    snapshot.report.sources = Sources::from([
        (Family::Cpu, Source::on("cpu.stat")),
        (Family::NetworkTcp, Source::off("no BTF")),
        (Family::Block, Source::off("no BTF")),
        (Family::Identity, Source::degraded("cgroup path", "Docker is away")),
    ]);
    let lines = section(&page(&snapshot), "MISSING OR INCOMPLETE");
    assert_eq!(lines, ["network_tcp, block (off): no BTF", "identity (degraded): Docker is away"]);
}

#[test]
fn a_container_that_is_named_is_shown() {
    let page = render(&snapshot(vec![fixture::web()]), true).text(false);
    assert_eq!(names(&page, "SELECTED"), ["web"]);
}

#[test]
fn colours_are_extra() {
    let full = named("full", |row| row.memory.percent = Some(99.0));
    let page = render(&snapshot(vec![full]), false);
    let (plain, colour) = (page.text(false), page.text(true));
    assert!(!plain.contains('\u{1b}') && colour.contains("\u{1b}[1;31mCLOSE TO A LIMIT\u{1b}[0m"));
    let bare = ["\u{1b}[1;31m", "\u{1b}[1m", "\u{1b}[0m"]
        .into_iter()
        .fold(colour, |text, escape| text.replace(escape, ""));
    assert_eq!(bare, plain);
}

proptest! {
    #[test]
    fn no_line_is_longer_than_the_page(
        name in any::<String>(),
        hostname in any::<String>(),
        percent in any::<f64>(),
        bytes in any::<u64>(),
        seconds in any::<f64>(),
        days in -100_000_i64..100_000,
    ) {
        let row = named(&name, |row| {
            row.cpu.percent = Some(percent);
            row.cpu.limit_cores = Some(seconds);
            row.cpu.usage_seconds = Some(seconds);
            row.memory.percent = Some(percent);
            row.memory.working_set_bytes = Some(bytes);
            row.memory.limit_bytes = Some(bytes);
            row.memory.oom_kills = Some(bytes);
            let at = fixture::report(vec![]).time + SignedDuration::from_hours(24 * days);
            row.started_at = Some(at);
            row.memory.last_oom_kill = Some(OomKill { at, pid: u32::MAX, command: name.clone() });
            row.block.total.in_flight = Some(bytes);
            row.health = Some("unhealthy".into());
        });
        let delay = Delay { count: bytes, mean_seconds: seconds, p99_seconds: Some(seconds) };
        let change = Change {
            throttled_percent: Some(percent),
            rx_bytes_per_second: Some(seconds),
            retransmits: Some(bytes),
            reads: Some(delay),
            writes: Some(delay),
            ..Change::default()
        };
        let mut snapshot = snapshot(vec![row.clone()]);
        snapshot.changes.insert(row.cgroup, change);
        snapshot.report.host.hostname = Some(hostname);
        snapshot.report.host.cpu_percent = Some(percent);
        snapshot.report.host.uptime_seconds = Some(seconds);
        for chosen in [false, true] {
            for line in render(&snapshot, chosen).text(false).lines() {
                prop_assert!(line.chars().count() <= page::WIDTH, "{line}");
                prop_assert!(!line.chars().any(char::is_control), "{line}");
            }
        }
    }
}
