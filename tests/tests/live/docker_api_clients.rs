//! Clients of the Engine API that others made, pointed at Tare and at dockerd in the same moment:
//! Docker's own, of several releases, and programs in Python.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{
    binaries::{docker_clients, python},
    differences::differences,
    docker::{Container, Docker, Run},
    lab::Lab,
    process::output,
    tcp::free_address,
    wait::{self, PATIENCE},
};

use crate::docker_api::Served;

/// How far percentages may be apart: two intervals of about a second of a load that is held to its
/// quota.
const CPU_DRIFT: f64 = 12.0;

/// The position of the column `C` of `docker top`, the use of the CPU at the moment.
const C: usize = 3;

/// Differences of events to those of dockerd: Tare does not know how long a container has run.
const EVENT_DIFFERENCES: [&str; 1] = ["missing /Actor/Attributes/execDuration"];

/// A client, twice.
struct Pair {
    ours: Docker,
    theirs: Docker,
}

impl Pair {
    fn run(&self, args: &[&str]) -> Result<(String, String)> {
        Ok((self.ours.client(args)?, self.theirs.client(args)?))
    }

    fn ensure_same(&self, args: &[&str]) -> Result<()> {
        let (ours, theirs) = self.run(args)?;
        ensure!(ours == theirs && !ours.is_empty(), "{args:?}:\n{ours}\n{theirs}");
        Ok(())
    }
}

/// A container with the label `tare.test`, whose value is the lab's own.
fn labelled(lab: &Lab, load: &str) -> Run {
    Run::load(load).option("--label", &format!("tare.test={}", lab.image()))
}

#[test]
fn docker_clients_of_three_releases_show_the_same_through_tare() -> Result<()> {
    let lab = Lab::open()?;
    let served = Served::start(&lab, &[])?;
    let busy = lab.start(labelled(&lab, "spin --for 10m").option("--cpus", "0.3"))?;
    let idle = lab.start(labelled(&lab, "serve"))?;
    let over = lab.start(labelled(&lab, "serve"))?;
    for container in [&busy, &idle, &over] {
        served.know(container.id())?;
    }
    lab.docker.client(["kill", over.name()])?;
    wait::until("the end of a container", PATIENCE, || {
        let answer = served.json(&format!("/containers/{}/json", over.id()))?;
        Ok((answer["State"]["ExitCode"] == 137).then_some(()))
    })?;
    let mut programs = docker_clients()?;
    programs.push("docker".into());
    let mut versions = BTreeSet::new();
    for program in programs {
        let pair = Pair {
            ours: served.docker.with_client(&program),
            theirs: lab.docker.with_client(&program),
        };
        versions.insert(pair.ours.client(["version", "--format", "{{.Client.Version}}"])?);
        let what = || program.display().to_string();
        lists_are_the_same(&lab, &pair, &busy).with_context(what)?;
        details_are_the_same(&pair, &idle).with_context(what)?;
        rows_are_the_same(&pair, &[&busy, &idle, &over]).with_context(what)?;
        events_are_the_same(&pair, &over).with_context(what)?;
    }
    ensure!(versions.len() >= 2, "only {versions:?}");
    let version = served.docker.client(["version", "--format", "{{.Server.Platform.Name}}"])?;
    ensure!(version == "Tare", "{version}");
    Ok(())
}

fn lists_are_the_same(lab: &Lab, pair: &Pair, busy: &Container) -> Result<()> {
    let ours = format!("label=tare.test={}", lab.image());
    let format = "{{.ID}} {{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Labels}}";
    pair.ensure_same(&["ps", "--no-trunc", "--filter", &ours, "--format", format])?;
    pair.ensure_same(&["ps", "--all", "--no-trunc", "--filter", &ours, "--format", format])?;
    for filter in [
        "status=exited",
        "exited=137",
        "health=none",
        &format!("name={}", busy.name()),
        &format!("id={}", &busy.id()[..20]),
        &format!("ancestor={}", lab.image()),
        &format!("since={}", busy.name()),
    ] {
        pair.ensure_same(&["ps", "--all", "--quiet", "--filter", &ours, "--filter", filter])?;
    }
    pair.ensure_same(&["ps", "--quiet", "--last", "1", "--filter", &ours])?;
    let none = ["ps", "--quiet", "--filter", &ours, "--filter", "status=paused"];
    let (ours, theirs) = pair.run(&none)?;
    ensure!(ours.is_empty() && theirs.is_empty(), "{ours} {theirs}");
    Ok(())
}

fn details_are_the_same(pair: &Pair, idle: &Container) -> Result<()> {
    let format = "{{.Id}} {{.Name}} {{.State.Pid}} {{.Created}} {{.Path}} {{.Args}}";
    pair.ensure_same(&["inspect", "--format", format, idle.name()])?;
    pair.ensure_same(&["top", idle.name(), "-eo", "pid,ppid,user,comm,args"])?;
    let (ours, theirs) = pair.run(&["top", idle.name()])?;
    ensure!(without_c(&ours) == without_c(&theirs), "{ours}\n{theirs}");
    let format = "{{.OSType}} {{.Architecture}} {{.NCPU}} {{.MemTotal}} {{.KernelVersion}} \
                  {{.CgroupVersion}} {{.Name}}";
    pair.ensure_same(&["info", "--format", format])?;
    pair.ensure_same(&["version", "--format", "{{.Server.Os}} {{.Server.Arch}}"])?;
    for plain in ["info", "version"] {
        let shown = pair.ours.client([plain])?;
        ensure!(shown.contains("Server"), "{plain}: {shown}");
    }
    Ok(())
}

/// The words of `docker top` without that column.
fn without_c(top: &str) -> Vec<Vec<&str>> {
    let mut lines: Vec<Vec<_>> = top.lines().map(|l| l.split_whitespace().collect()).collect();
    for words in lines.iter_mut().filter(|words| words.len() > C) {
        words.remove(C);
    }
    lines
}

/// The rows of these containers, in this order. There may be others on this host.
fn rows(text: &str, containers: &[&Container]) -> Result<Vec<Value>> {
    let all = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
    let all = all.with_context(|| text.to_owned())?;
    let row = |one: &&Container| {
        let row = all.iter().find(|row| row["ID"] == one.id()).cloned();
        row.with_context(|| format!("no row of {}: {text}", one.name()))
    };
    containers.iter().map(row).collect()
}

fn rows_are_the_same(pair: &Pair, containers: &[&Container; 3]) -> Result<()> {
    let [_, idle, over] = containers;
    let stats = ["stats", "--all", "--no-stream", "--no-trunc", "--format", "{{json .}}"];
    let (ours, theirs) = pair.run(&stats)?;
    let (ours, theirs) = (rows(&ours, containers)?, rows(&theirs, containers)?);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let found = differences(theirs, ours);
        ensure!(found.is_empty(), "{found:?}: {ours} {theirs}");
        for same in ["ID", "Name", "Container", "PIDs"] {
            ensure!(ours[same] == theirs[same], "{same}: {ours} {theirs}");
        }
        let percent = |row: &Value| -> Result<f64> {
            let text = row["CPUPerc"].as_str().and_then(|text| text.strip_suffix('%'));
            Ok(text.with_context(|| row.to_string())?.parse()?)
        };
        ensure!((percent(ours)? - percent(theirs)?).abs() < CPU_DRIFT, "{ours} {theirs}");
        let limit = |row: &Value| row["MemUsage"].as_str()?.split(" / ").nth(1).map(str::to_owned);
        ensure!(limit(ours).is_some() && limit(ours) == limit(theirs), "{ours} {theirs}");
    }
    ensure!(ours[2] == theirs[2], "{} has ended: {} {}", over.name(), ours[2], theirs[2]);
    pair.ensure_same(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", idle.name()])
}

/// `create`, `start` and `die` of a container that was killed.
fn events_are_the_same(pair: &Pair, over: &Container) -> Result<()> {
    // dockerd remembers seconds.
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().to_string();
    let filter = format!("container={}", over.name());
    let args = ["events", "--since", "10m", "--until", &now, "--filter", &filter];
    let (ours, theirs) = pair.run(&[&args[..], &["--format", "{{json .}}"]].concat())?;
    let events = |text: &str| -> Result<Vec<Value>> {
        let all = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let known = ["create", "start", "die"];
        let is_known = |event: &Value| event["Action"].as_str().is_some_and(|a| known.contains(&a));
        Ok(all.into_iter().filter(is_known).collect())
    };
    let (ours, theirs) = (events(&ours)?, events(&theirs)?);
    ensure!(ours.len() == 3 && theirs.len() == 3, "{ours:?}\n{theirs:?}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let mut found = differences(theirs, ours);
        found.retain(|difference| !EVENT_DIFFERENCES.contains(&difference.as_str()));
        ensure!(found.is_empty(), "{found:?}: {ours} {theirs}");
        for same in ["/Action", "/Actor", "/status", "/id", "/from", "/Type", "/scope"] {
            // How long it ran, in newer releases.
            let mut theirs = theirs.clone();
            if let Some(Value::Object(attributes)) = theirs.pointer_mut("/Actor/Attributes") {
                attributes.remove("execDuration");
            }
            ensure!(ours.pointer(same) == theirs.pointer(same), "{same}: {ours} {theirs}");
        }
    }
    Ok(())
}

/// The formulas that programs in Python use, and the SDK.
const PROGRAM: &str = include_str!("docker_api_clients.py");

#[test]
fn programs_in_python_get_over_tcp_what_docker_stats_shows() -> Result<()> {
    let lab = Lab::open()?;
    let address = free_address()?;
    let served = Served::start(&lab, &["--docker-api-listen", &address])?;
    let disk = lab.scratch.subdirectory()?;
    let load = "write --bytes 8MiB --path /disk/file --mode direct --linger";
    let writer = lab.start(labelled(&lab, load).mount(&disk, "/disk"))?;
    writer.outcome()?;
    let run = labelled(&lab, "spin --for 10m").option("--cpus", "0.3");
    let busy = lab.start(run.option("--memory", "64m"))?;
    served.know(writer.id())?;
    served.know(busy.id())?;
    let call = |what: &str, id: &str| -> Result<Value> {
        let mut program = Command::new(python()?);
        program.args(["-c", PROGRAM, what, &address, id]);
        program.env_remove("DOCKER_HOST");
        Ok(serde_json::from_str(&output(program, PATIENCE)?)?)
    };
    for container in [&busy, &writer] {
        formulas_give_the_numbers_of_the_client(
            &served,
            container,
            &call("formulas", container.id())?,
        )?;
    }
    let found = call("sdk", busy.name())?;
    for (pointer, expected) in [
        ("/ping", Value::from(true)),
        ("/server", "Tare".into()),
        ("/listed", true.into()),
        ("/filtered", vec![busy.name()].into()),
        ("/id", busy.id().into()),
        ("/status", "running".into()),
        ("/label", lab.image().into()),
        ("/command", vec!["/tare-load", "spin", "--for", "10m"].into()),
        ("/once/name", format!("/{}", busy.name()).into()),
        ("/once/memory_stats/limit", (64 << 20).into()),
        ("/streamed", 2.into()),
        ("/streamed_grow", true.into()),
        ("/top/Titles/1", "PID".into()),
        ("/top/Processes/0/7", "/tare-load spin --for 10m".into()),
        ("/unknown", "NotFound".into()),
        ("/refused", 405.into()),
    ] {
        ensure!(found.pointer(pointer) == Some(&expected), "{pointer} {expected}: {found}");
    }
    let actions = found["events"].as_array().context("events")?;
    ensure!(actions == &["create", "start"], "{found}");
    Ok(())
}

fn formulas_give_the_numbers_of_the_client(
    served: &Served,
    container: &Container,
    found: &Value,
) -> Result<()> {
    let args = ["stats", "--no-stream", "--format", "{{json .}}", container.name()];
    let row: Value = serde_json::from_str(&served.docker.client(args)?)?;
    let number = |name: &str| found[name].as_f64().with_context(|| format!("{name}: {found}"));
    let shown = |column: &str, part: usize| -> Result<f64> {
        let text = row[column].as_str().and_then(|text| text.split(" / ").nth(part));
        in_units(text.with_context(|| row.to_string())?)
    };
    ensure!((number("cpu_percent")? - shown("CPUPerc", 0)?).abs() < CPU_DRIFT, "{found} {row}");
    // The client shows three or four digits, and leaves inactive pages of files out of the memory.
    let is_near = |one: f64, other: f64| (one - other).abs() <= 0.02 * one.max(other);
    for (name, column, part) in [
        ("memory_limit", "MemUsage", 1),
        ("rx_bytes", "NetIO", 0),
        ("tx_bytes", "NetIO", 1),
        ("read_bytes", "BlockIO", 0),
        ("written_bytes", "BlockIO", 1),
    ] {
        let (ours, theirs) = (number(name)?, shown(column, part)?);
        // A packet more may have come meanwhile.
        ensure!(is_near(ours, theirs) || (ours - theirs).abs() < 500.0, "{name}: {found} {row}");
    }
    let used = shown("MemUsage", 0)?;
    ensure!(number("memory_usage")? >= 0.9 * used && used > 0.0, "{found} {row}");
    let percent = number("memory_usage")? / number("memory_limit")? * 100.0;
    ensure!(is_near(number("memory_percent")?, percent), "{found}");
    Ok(())
}

/// What Glances shows of containers after some updates, by the id of the container.
pub(crate) fn glances(served: &Served, lab: &Lab) -> Result<BTreeMap<String, Value>> {
    let mut program = Command::new(python()?.with_file_name("glances"));
    program.args(["--stdout-json", "containers", "--time", "1", "--stop-after", "4"]);
    program.args(["--disable-plugin", "all", "--enable-plugin", "containers"]);
    program.arg("--disable-check-update");
    program.env("HOME", lab.scratch.subdirectory()?).env_remove("XDG_CONFIG_HOME");
    program.env("DOCKER_HOST", format!("unix://{}", served.docker.socket().display()));
    let text = output(program, PATIENCE)?;
    let last = text.lines().last().with_context(|| text.clone())?;
    let shown: Value = serde_json::from_str(last).with_context(|| text.clone())?;
    let rows = shown["containers"].as_array().with_context(|| text.clone())?;
    let id = |row: &Value| row["id"].as_str().map(str::to_owned).with_context(|| row.to_string());
    rows.iter().map(|row| Ok((id(row)?, row.clone()))).collect()
}

#[test]
fn glances_shows_the_containers_and_their_use() -> Result<()> {
    let lab = Lab::open()?;
    let served = Served::start(&lab, &[])?;
    let disk = lab.scratch.subdirectory()?;
    let load = "write --bytes 8MiB --path /disk/file --mode direct --linger";
    let writer = lab.start(labelled(&lab, load).mount(&disk, "/disk"))?;
    writer.outcome()?;
    let run = labelled(&lab, "spin --for 10m").option("--cpus", "0.3");
    let busy = lab.start(run.option("--memory", "64m"))?;
    served.know(writer.id())?;
    served.know(busy.id())?;
    let shown = glances(&served, &lab)?;
    let row = |container: &Container| shown.get(container.id()).context("no row");
    let (busy_row, writer_row) = (row(&busy)?, row(&writer)?);
    for (pointer, expected) in [
        ("/name", Value::from(busy.name())),
        ("/status", "running".into()),
        ("/command", "/tare-load spin --for 10m".into()),
        ("/cpu_limit", 0.3.into()),
        ("/memory_limit", (64 << 20).into()),
    ] {
        ensure!(busy_row.pointer(pointer) == Some(&expected), "{pointer}: {busy_row}");
    }
    let number = |row: &Value, pointer: &str| {
        row.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("{pointer}: {row}"))
    };
    ensure!((number(busy_row, "/cpu_percent")? - 30.0).abs() < CPU_DRIFT, "{busy_row}");
    let used = lab.docker_stats(&busy)?.memory_bytes()?;
    let ratio = number(busy_row, "/memory_usage")? / f64::from(u32::try_from(used)?);
    ensure!((0.7..1.3).contains(&ratio), "{used}: {busy_row}");
    ensure!(number(busy_row, "/network/cumulative_rx")? > 0.0, "{busy_row}");
    let written = number(writer_row, "/io/cumulative_iow")?;
    ensure!((f64::from(8 << 20)..f64::from(9 << 20)).contains(&written), "{writer_row}");
    Ok(())
}

/// A number as Docker's client shows it: `1.5MiB`, `12.3kB`, `4.20%`.
fn in_units(text: &str) -> Result<f64> {
    const UNITS: [(&str, f64); 10] = [
        ("%", 1.0),
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("TiB", 1_099_511_627_776.0),
        ("kB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("TB", 1e12),
        ("B", 1.0),
    ];
    let found = UNITS.iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, size)));
    let (number, size) = found.with_context(|| text.to_owned())?;
    Ok(number.parse::<f64>().with_context(|| text.to_owned())? * size)
}

#[test]
fn a_daemon_whose_docker_host_is_its_own_socket_says_so_and_does_not_ask_itself() -> Result<()> {
    let lab = Lab::open()?;
    let run = tare_tests::daemon::RunDir::new()?;
    let socket = run.join("docker.sock");
    let path = socket.to_str().context("the socket's path is not UTF-8")?;
    // By `DOCKER_HOST`, as a user of its clients may have it, and by name.
    for named in [false, true] {
        let tare = tare_tests::tare::Tare::at(tare_tests::binaries::tare()?);
        let tare = tare.environment("DOCKER_HOST", &format!("unix://{path}"));
        let tare = if named { tare.option("--docker-socket", path) } else { tare };
        let args = ["--docker-api-socket", path, "--interval", "500ms"];
        let daemon = tare_tests::tare_daemon::TareDaemon::start(&tare, &args)?;
        let container = lab.start(Run::load("serve"))?;
        let docker = Docker::at(socket.clone());
        wait::until("the container in `docker ps`", PATIENCE, || {
            let ids = docker.client(["ps", "--quiet", "--no-trunc"])?;
            Ok(ids.contains(container.id()).then_some(()))
        })?;
        sleep(Duration::from_secs(2));
        let end = daemon.terminate()?;
        let said = end.stderr.matches("Tare itself serves this socket").count();
        ensure!((1..=3).contains(&said), "{said} times: {}", end.stderr);
        // Another daemon can be asked only where Docker has its usual socket.
        let is_another_there = std::path::Path::new("/run/docker.sock").exists();
        let is_another_asked = end.stderr.contains("is asked instead");
        ensure!(is_another_asked == (!named && is_another_there), "{}", end.stderr);
    }
    Ok(())
}
