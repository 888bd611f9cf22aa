//! The REST API of cAdvisor, and cAdvisor 0.38.7 itself, asked for the same containers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;
use tare_tests::{
    cadvisor::Cadvisor,
    docker::{Container, Run},
    lab::Lab,
    process::Process,
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

/// Every address. `ID` stands for a container's id, `NAME` for its name.
const ADDRESSES: [&str; 41] = [
    "v1.0/machine",
    "v1.0/containers/docker/ID",
    "v1.1/machine",
    "v1.1/containers/docker/ID",
    "v1.1/subcontainers/docker/ID",
    "v1.2/machine",
    "v1.2/containers/docker/ID",
    "v1.2/subcontainers/docker/ID",
    "v1.2/docker/ID",
    "v1.2/docker/NAME",
    "v1.3/machine",
    "v1.3/containers/docker/ID",
    "v1.3/subcontainers/docker/ID",
    "v1.3/docker/NAME",
    "v1.3/containers/",
    "v1.3/events/docker/ID?creation_events=true",
    "v1.3/events?all_events=true&subcontainers=true&max_events=1",
    "v2.0/version",
    "v2.0/attributes",
    "v2.0/machine",
    "v2.0/summary/docker/ID",
    "v2.0/summary/NAME?type=docker",
    "v2.0/stats/docker/ID?count=2",
    "v2.0/stats/NAME?type=docker&count=2&max_age=10s",
    "v2.0/spec/docker/ID",
    "v2.0/spec/NAME?type=docker",
    "v2.0/storage?label=root",
    "v2.0/ps/docker/ID",
    "v2.0/events/docker/ID?all_events=true",
    "v2.0/appmetrics/docker/ID",
    "v2.1/version",
    "v2.1/attributes",
    "v2.1/machine",
    "v2.1/machinestats?count=2",
    "v2.1/summary/docker/ID",
    "v2.1/stats/docker/ID?count=2",
    "v2.1/stats/NAME?type=docker&count=2&recursive=false",
    "v2.1/spec/docker/ID?recursive=true",
    "v2.1/storage?label=root",
    "v2.1/ps/NAME?type=docker",
    "v2.1/appmetrics/docker/ID",
];

/// What neither knows, and what no one can ask for.
const REFUSED: [&str; 23] = [
    "/api/",
    "/api/v1.0",
    "/api/v1.1/",
    "/api/v1.3/",
    "/api/v2.0",
    "/api/v2.1/",
    "/api/v3.0/machine",
    "/api/v1.0/subcontainers/",
    "/api/v1.2/events",
    "/api/v2.0/machinestats",
    "/api/v2.0/nothing",
    "/api/v1.3/containers/no/such",
    "/api/v1.3/subcontainers/no/such",
    "/api/v1.3/docker/nosuchcontainer",
    "/api/v1.3/docker/a/b",
    "/api/v2.0/stats/no/such",
    "/api/v2.0/stats/no/such?recursive=true",
    "/api/v2.0/spec/nosuchcontainer?type=docker",
    "/api/v2.0/stats/x?type=docker&recursive=true",
    "/api/v2.0/stats?type=nothing",
    "/api/v2.0/stats?count=x",
    "/api/v2.0/stats?max_age=x",
    "/api/v2.0/storage?label=nothing",
];

/// What a leaf of a document is, by its place.
type Leaves = BTreeMap<String, Value>;

#[test]
fn every_address_says_what_cadvisor_says() -> Result<()> {
    let lab = Lab::open()?;
    let options = ["--cadvisor-api", "on", "--labels", "*", "--namespace-sockets", "counters"];
    let daemon = TareDaemon::start(&lab.tare, &options)?;
    let cadvisor = Cadvisor::start(&lab)?;
    let busy = Run::load("spin --for 300s").option("--cpus", "0.5").option("--memory", "64m");
    let busy = lab.start(busy.option("--label", "tier=web").option("--cpu-shares", "512"))?;
    let listener = lab.start(Run::load("listen --proto tcp --addr 0.0.0.0:7000").linger())?;
    listener.ready()?;
    let load = format!("send --proto tcp --addr {}:7000 --bytes 10MB", listener.address()?);
    let sender = lab.start(Run::load(&load).linger())?;
    let holder = lab.start(Run::load("allocate --bytes 40MiB --for 300s"))?;
    for container in [&listener, &sender] {
        container.outcome()?;
    }
    for container in [&busy, &holder] {
        container.ready()?;
    }
    let mut differences = BTreeSet::new();
    for container in [&listener, &holder, &busy] {
        wait::until("both to have read everything", 2 * PATIENCE, || {
            let stats = daemon.json(&format!("/api/v1.3/containers/docker/{}", container.id()))?;
            let summary = format!("/api/v2.0/summary/docker/{}", container.id());
            let has = cadvisor.get(&summary)?.0 == 200
                && stats.pointer("/stats/1").is_some()
                && stats.to_string().contains("\"task_stats\"")
                && stats.to_string().contains("\"tcp6\"");
            // cAdvisor has percentiles after a minute.
            let minute = "/minute_usage/cpu/present";
            let whole = "/minute_usage/percent_complete";
            let has_minute = |summary: Result<Value>, place: &str, expected: Value| {
                summary.is_ok_and(|summary| {
                    let of_all = summary.as_object().and_then(|map| map.values().next().cloned());
                    of_all.is_some_and(|one| one.pointer(place) == Some(&expected))
                })
            };
            let is_long = container.id() != busy.id()
                || (has_minute(cadvisor.json(&summary), minute, Value::Bool(true))
                    && has_minute(daemon.json(&summary), whole, Value::from(100)));
            Ok((has && is_long).then_some(()))
        })?;
        differences.extend(compare_all(&daemon, &cadvisor, container)?);
    }
    ensure_explained(&differences)
}

/// What differs at any address, by its place.
fn compare_all(
    daemon: &TareDaemon,
    cadvisor: &Cadvisor,
    container: &Container,
) -> Result<BTreeSet<(String, String)>> {
    let ask = |who: &dyn Fn(&str) -> Result<Value>| -> Result<Vec<Leaves>> {
        let answer = |address: &'static str| -> Result<Leaves> {
            let document = who(&format!("/api/{}", address_of(address, container)));
            Ok(leaves(&document.context(address)?, container))
        };
        ADDRESSES.into_iter().map(answer).collect()
    };
    let before = ask(&|path| cadvisor.json(path))?;
    // Each reads once a second.
    sleep(Duration::from_secs(2));
    let ours = ask(&|path| daemon.json(path))?;
    sleep(Duration::from_secs(2));
    let after = ask(&|path| cadvisor.json(path))?;
    let mut found = BTreeSet::new();
    for (at, address) in ADDRESSES.iter().enumerate() {
        ensure!(!before[at].is_empty(), "{address}: cAdvisor says nothing");
        let (version, rest) = address.split_once('/').context("no version")?;
        let kind = match *address {
            "v1.3/containers/" => "root",
            _ => rest.split(['/', '?']).next().unwrap_or_default(),
        };
        for (place, how) in compare(&before[at], &ours[at], &after[at]) {
            found.insert((format!("{kind}{place}"), format!("{version} {how}")));
        }
    }
    Ok(found)
}

/// Whether each difference is explained in a table of the document.
fn ensure_explained(differences: &BTreeSet<(String, String)>) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cadvisor-api.md");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let table = text.split("<!-- differences -->").nth(1).context("no table of differences")?;
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let patterns: Vec<&str> = rows.flat_map(|(cell, _)| cell.split("`, `")).collect();
    let is_explained = |place: &str| {
        patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(part) => place.contains(part),
            None => place.ends_with(pattern),
        })
    };
    let unexplained: Vec<_> = differences
        .iter()
        .filter(|(place, _)| !is_explained(place))
        .map(|(place, how)| format!("{place}: {how}"))
        .collect();
    ensure!(unexplained.is_empty(), "{unexplained:#?}");
    println!("{} differences, all of them explained", differences.len());
    Ok(())
}

fn address_of(address: &str, container: &Container) -> String {
    address.replace("ID", container.id()).replace("NAME", container.name())
}

/// The leaves of a document. Of lists of readings the last counts; others are sorted by what
/// names their entries.
fn leaves(value: &Value, container: &Container) -> Leaves {
    let mut found = Leaves::new();
    walk(String::new(), value, container, &mut found);
    found
}

fn walk(place: String, value: &Value, container: &Container, found: &mut Leaves) {
    match value {
        Value::Object(fields) if fields.is_empty() => drop(found.insert(place, value.clone())),
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = if name.contains(container.id()) { "*" } else { name };
                walk(format!("{place}/{name}"), value, container, found);
            }
        }
        Value::Array(values) => {
            const NAMES: [&str; 7] =
                ["device", "name", "core_id", "node_id", "page_size", "pid", "level"];
            for (at, value) in values.iter().enumerate() {
                let name = NAMES.iter().find_map(|name| value.get(name));
                match name {
                    Some(name) => {
                        let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
                        let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
                        walk(format!("{place}/[{name}{kind}]"), value, container, found);
                    }
                    None if value.is_object() && at + 1 < values.len() => {}
                    None if value.is_object() => {
                        walk(format!("{place}/-1"), value, container, found);
                    }
                    None => walk(format!("{place}/{at}"), value, container, found),
                }
            }
        }
        leaf => drop(found.insert(place, leaf.clone())),
    }
}

/// Where and how documents differ: in what is there, in types, or in numbers that are not between
/// those before and after.
fn compare(before: &Leaves, ours: &Leaves, after: &Leaves) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for place in before.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
        if means_nothing(place, before, ours) {
            continue;
        }
        let how = match (before.get(place), ours.get(place)) {
            (Some(theirs), Some(ours)) => {
                differs(place, theirs, ours, after.get(place).unwrap_or(theirs))
            }
            (Some(theirs), None) => Some(format!("only cAdvisor has it: {theirs}")),
            (None, ours) => ours.map(|ours| format!("only Tare has it: {ours}")),
        };
        found.extend(how.map(|how| (place.clone(), how)));
    }
    found
}

/// Whether cAdvisor writes a number where there is none: no limit (on cgroup v1), periods without a
/// quota, and percentiles of a minute before the first one is over.
fn means_nothing(place: &str, theirs: &Leaves, ours: &Leaves) -> bool {
    const UNLIMITED: u64 = 9_223_372_036_854_771_712;
    let is = |value: u64| theirs.get(place).and_then(Value::as_u64) == Some(value);
    let minute = place.split_once("/minute_usage/").map(|(one, _)| one);
    let is_early = minute.is_some_and(|one| {
        theirs.get(&format!("{one}/minute_usage/cpu/present")) == Some(&Value::Bool(false))
    });
    (place.contains("/memory/") && is(UNLIMITED))
        || (place.contains("/cfs/") && is(0) && !ours.contains_key(place))
        || is_early
}

fn differs(place: &str, theirs: &Value, ours: &Value, after: &Value) -> Option<String> {
    let all = || format!("{ours}, cAdvisor: {theirs} to {after}");
    match (theirs.as_f64(), ours.as_f64(), after.as_f64()) {
        (Some(least), Some(ours), Some(most)) => {
            let (least, most) = (least.min(most), least.max(most));
            let allowed = allowed(place) + (most - least);
            (!(least - allowed..=most + allowed).contains(&ours)).then(all)
        }
        _ if std::mem::discriminant(theirs) != std::mem::discriminant(ours) => Some(all()),
        // Texts with times are those of different moments.
        _ if place.ends_with("time") || place.ends_with("timestamp") => {
            let is_time = |value: &Value| {
                value.as_str().is_some_and(|text| text.parse::<Timestamp>().is_ok())
            };
            (is_time(theirs) != is_time(ours)).then(all)
        }
        _ => (theirs != ours).then(all),
    }
}

/// By how much numbers may differ besides what changed between cAdvisor's two readings: pages that
/// the kernel counts late (32 for each CPU), what others write to the disk, and percentiles of
/// minutes that did not begin at the same moment.
fn allowed(place: &str) -> f64 {
    match place {
        _ if place.contains("usage/cpu/") => 60.0,
        _ if place.contains("usage/memory/") => 1024.0 * 1024.0,
        _ if place.contains("/memory/") && place.contains("numa") => 128.0,
        _ if place.contains("/memory/") => 512.0 * 1024.0,
        _ if place.contains("inodes_free") => 5_000.0,
        _ if place.starts_with("/[/dev/") => 4e9,
        _ => 1e-6,
    }
}

/// What a stream of events says of containers until both have ended: types in their order, and
/// when they were.
fn streamed(
    stream: &mut Process,
    ids: [&str; 2],
) -> Result<BTreeMap<String, Vec<(String, Timestamp)>>> {
    let mut found: BTreeMap<String, Vec<(String, Timestamp)>> = BTreeMap::new();
    let mut ends = 0;
    while ends < ids.len() {
        let event: Value = serde_json::from_str(&stream.next_line(PATIENCE)?)?;
        let name = event["container_name"].as_str().context("no name")?;
        let Some(id) = ids.into_iter().find(|id| name == format!("/docker/{id}")) else { continue };
        let kind = event["event_type"].as_str().context("no type")?;
        let time = event["timestamp"].as_str().context("no time")?.parse()?;
        ends += usize::from(kind == "containerDeletion");
        found.entry(id.to_owned()).or_default().push((kind.to_owned(), time));
    }
    Ok(found)
}

#[test]
fn streams_of_events_say_what_those_of_cadvisor_say() -> Result<()> {
    let lab = Lab::open()?;
    let daemon = TareDaemon::start(&lab.tare, &["--cadvisor-api", "on"])?;
    let cadvisor = Cadvisor::start(&lab)?;
    let path = "/api/v1.3/events/?stream=true&all_events=true&subcontainers=true";
    let mut theirs = cadvisor.stream(path)?;
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--no-buffer", "--unix-socket"]).arg(daemon.socket());
    curl.arg(format!("http://tare{path}"));
    let mut ours = Process::spawn(curl)?;
    // Both are open before anything happens.
    sleep(Duration::from_secs(2));
    let short = lab.start(Run::load("spin --for 3s"))?;
    let hungry = Run::load("allocate --bytes 200MiB --for 60s").option("--memory", "32m");
    let hungry = lab.start(hungry.option("--memory-swap", "32m"))?;
    let ids = [short.id(), hungry.id()];
    let theirs = streamed(&mut theirs, ids)?;
    let ours = streamed(&mut ours, ids)?;
    for id in ids {
        let (theirs, ours) = (&theirs[id], &ours[id]);
        let kinds = |events: &[(String, Timestamp)]| -> BTreeSet<String> {
            events.iter().map(|(kind, _)| kind.clone()).collect()
        };
        // cAdvisor finds OOM kills in the kernel's log, and those of current kernels not at all.
        let mut expected = kinds(theirs);
        if id == hungry.id() {
            expected.extend(["oom", "oomKill"].map(str::to_owned));
        }
        ensure!(expected == kinds(ours), "cAdvisor: {theirs:?}, Tare: {ours:?}");
        for (kind, time) in ours {
            let Some((_, other)) = theirs.iter().find(|(other, _)| other == kind) else { continue };
            let apart = time.duration_since(*other).unsigned_abs();
            ensure!(apart < Duration::from_secs(3), "{kind}: {time}, cAdvisor: {other}");
        }
    }
    Ok(())
}

#[test]
fn what_cannot_be_answered_is_refused_in_the_words_of_cadvisor() -> Result<()> {
    let lab = Lab::open()?;
    let daemon = TareDaemon::start(&lab.tare, &["--cadvisor-api", "on"])?;
    let cadvisor = Cadvisor::start(&lab)?;
    let mut wrong = Vec::new();
    for path in REFUSED {
        let theirs = cadvisor.get(path)?;
        let ours = daemon.get(path)?;
        let ours = (ours.status, ours.text()?.to_owned());
        if ours != theirs {
            wrong.push(format!("{path}: {ours:?}, cAdvisor says {theirs:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    let off = TareDaemon::start(&lab.tare, &[])?;
    ensure!(off.get("/api/v1.3/machine")?.status == 404);
    Ok(())
}
