//! Tasks by state, waiting for CPUs, and load averages, compared with `/proc`.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use tare_tests::{
    block::{LoopDevice, host},
    docker::{Container, Run},
    lab::Lab,
    process,
    report::Row,
    tare::Stream,
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

/// Between two passes over all tasks, at most, on a machine with a few thousand of them.
const PASS: Duration = Duration::from_secs(6);

const SPINNING: u64 = 5;
const BLOCKED: u64 = 3;
const STOPPED: u64 = 4;
const ZOMBIES: u64 = 6;
const SOCKETS: u64 = 30;

#[test]
fn every_task_is_in_one_state_and_the_load_is_that_of_the_tasks() -> Result<()> {
    let lab = Lab::open()?;
    let load = format!(
        "tasks --spinning {SPINNING} --blocked {BLOCKED} --stopped {STOPPED} --zombies {ZOMBIES} \
         --descriptors 100 --sockets {SOCKETS} --for 600s"
    );
    let container = lab.start(Run::load(&load).option("--cpus", "1"))?;
    container.ready()?;
    let mut tare = lab.tare.stream("1s")?;
    let row = pass_after(&mut tare, &container)?;
    let tasks = |name: &str| row.u64(&format!("/tasks/{name}"));
    ensure!(tasks("running")? + tasks("runnable")? == SPINNING, "{row:?}");
    ensure!(tasks("uninterruptible")? == BLOCKED && tasks("io_wait")? == 0, "{row:?}");
    ensure!(tasks("stopped")? == STOPPED, "{row:?}");
    ensure!(tasks("zombies")? == ZOMBIES, "{row:?}");
    // The first thread, and the children of those that are blocked.
    ensure!(tasks("sleeping")? == 1 + BLOCKED, "{row:?}");
    let processes = 1 + 2 * BLOCKED + STOPPED;
    ensure!(tasks("processes")? == processes, "{row:?}");
    ensure!(row.u64("/pids/processes")? == processes, "{row:?}");
    ensure!(tasks("threads")? == processes + SPINNING, "{row:?}");
    ensure!(tasks("file_descriptors")? == descriptors(&container, "")?, "{row:?}");
    // Children made before have none of them.
    ensure!(descriptors(&container, "socket:")? == SOCKETS, "the load has no such sockets");
    ensure!(tasks("sockets")? == SOCKETS, "{row:?}");
    #[allow(clippy::cast_precision_loss)]
    let expected = (SPINNING + BLOCKED) as f64;
    for window in ["ten_seconds", "one_minute", "five_minutes", "fifteen_minutes"] {
        let load = row.f64(&format!("/tasks/load/{window}"))?;
        ensure!((load - expected).abs() <= expected * 0.02, "{window}: {row:?}");
    }
    Ok(())
}

#[test]
fn writers_to_a_frozen_file_system_hang_until_it_thaws() -> Result<()> {
    const WRITERS: u64 = 3;
    let lab = Lab::open()?;
    let disk = LoopDevice::new(&lab.scratch, 64 << 20, false)?;
    let directory = lab.scratch.subdirectory()?;
    let (node, place) = (disk.node().display().to_string(), directory.display().to_string());
    host("mkfs.ext4", &["-q", &node])?;
    host("mount", &[&node, &place])?;
    let _mounted = Undo(vec!["umount", &place]);
    let container = lab.start(Run::load("serve").mount(&directory, "/data"))?;
    container.ready()?;
    let mut tare = lab.tare.stream("1s")?;
    let hanging = |tare: &mut Stream| pass_after(tare, &container)?.u64("/tasks/uninterruptible");
    ensure!(hanging(&mut tare)? == 0, "it hangs before");
    host("fsfreeze", &["--freeze", &place])?;
    let frozen = Undo(vec!["fsfreeze", "--unfreeze", &place]);
    for writer in 0..WRITERS {
        let load = format!("/tare-load write --bytes 4KiB --path /data/{writer} --mode buffered");
        let exec = ["exec", "--detach", container.id()];
        lab.docker.client(exec.into_iter().chain(load.split(' ')))?;
    }
    thread::sleep(Duration::from_secs(1));
    let row = pass_after(&mut tare, &container)?;
    ensure!(row.u64("/tasks/uninterruptible")? == WRITERS, "{row:?}");
    ensure!(row.u64("/tasks/threads")? == 1 + WRITERS, "{row:?}");
    ensure!(row.get("/tasks/waiting")?.as_array().map(Vec::len) == Some(3), "{row:?}");
    drop(frozen);
    wait::until("the writers to end", PATIENCE, || Ok((hanging(&mut tare)? == 0).then_some(())))
}

/// A command that undoes what was done.
struct Undo<'a>(Vec<&'a str>);

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Err(error) = host(self.0[0], &self.0[1..]) {
            eprintln!("{:?}: {error:#}", self.0);
        }
    }
}

#[test]
fn who_hangs_is_named_with_the_time_and_the_place() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("tasks --blocked 2 --for 600s"))?;
    container.ready()?;
    thread::sleep(Duration::from_secs(2));
    let mut tare = lab.tare.stream("1s")?;
    let row = pass_after(&mut tare, &container)?;
    let waiting = row.get("/tasks/waiting")?.as_array().context("waiting")?.clone();
    ensure!(waiting.len() == 2, "{row:?}");
    let all = pids(&container)?;
    for task in waiting {
        let task = Row::from(task);
        let pid = task.u64("/pid")?;
        ensure!(all.contains(&pid) && task.u64("/tid")? == pid, "{task:?} of {all:?}");
        ensure!(task.str("/command")? == "tare-load", "{task:?}");
        ensure!((2.0..600.0).contains(&task.f64("/seconds")?), "{task:?}");
        let place = fs::read_to_string(format!("/proc/{pid}/wchan"))?;
        let place = Some(place.trim()).filter(|place| !place.is_empty() && *place != "0");
        ensure!(task.get("/function")?.as_str() == place, "{task:?}, {place:?}");
    }
    Ok(())
}

#[test]
fn waiting_for_a_cpu_is_what_the_scheduler_counted() -> Result<()> {
    let lab = Lab::open()?;
    let load = Run::load(&format!("tasks --spinning {SPINNING} --for 600s"));
    let container = lab.start(load.option("--cpus", "1"))?;
    container.ready()?;
    let mut tare = lab.tare.stream("1s")?;
    let mut last = pass_after(&mut tare, &container)?;
    // What `/proc` says, and when it began and ended to say so.
    let mut said = Vec::new();
    let mut passes = 0;
    let end = Instant::now() + PATIENCE;
    while passes < 3 {
        ensure!(Instant::now() < end, "no pass over the tasks: {last:?}");
        let begun = Timestamp::now();
        let counts = scheduler(&container)?;
        said.push((begun, Timestamp::now(), counts));
        let row = tare.report()?.row(container.id())?;
        if row.str("/tasks/read_at")? == last.str("/tasks/read_at")? {
            continue;
        }
        last = row;
        let read_at: Timestamp = last.str("/tasks/read_at")?.parse()?;
        let sampled_by = read_at + SignedDuration::from_millis(500);
        let Some((.., before)) = said.iter().rev().find(|(_, ended, _)| *ended < read_at) else {
            continue;
        };
        thread::sleep(Duration::from_secs(1));
        ensure!(Timestamp::now() > sampled_by, "{read_at} is to come");
        let after = scheduler(&container)?;
        passes += 1;
        for (index, name) in ["run_seconds", "run_queue_seconds"].iter().enumerate() {
            #[allow(clippy::cast_precision_loss)]
            let between = before[index] as f64 / 1e9..=after[index] as f64 / 1e9;
            let found = last.f64(&format!("/tasks/{name}"))?;
            ensure!(between.contains(&found), "{name} {found} is not in {between:?}");
        }
        let found = last.u64("/tasks/run_periods")?;
        ensure!((before[2]..=after[2]).contains(&found), "{found}: {before:?}, {after:?}");
        // Five threads share one CPU: the others wait.
        let waiting = last.f64("/tasks/waiting_for_cpu")?;
        #[allow(clippy::cast_precision_loss)]
        let most = SPINNING as f64;
        ensure!(waiting > 0.5 && waiting < most, "{last:?}");
    }
    Ok(())
}

/// The share of lives that the kernel must have told of. It does not run programs for all of them
/// on every host (`docs/limits.md`).
const SEEN_MIN: f64 = 0.98;

#[test]
fn totals_have_lives_of_five_milliseconds_and_never_fall() -> Result<()> {
    let lab = Lab::open()?;
    let gate = lab.gate()?;
    let load = Run::load("lives --count 400 --each 5ms").behind(&gate).linger();
    let container = lab.start(load)?;
    let mut tare = lab.tare.stream("500ms")?;
    pass_after(&mut tare, &container)?;
    gate.open()?;
    let names = ["run_seconds", "run_queue_seconds", "run_periods"];
    let mut last = [0.0; 3];
    let mut look = |tare: &mut Stream| -> Result<[f64; 3]> {
        let row = tare.report()?.row(container.id())?;
        for (last, name) in last.iter_mut().zip(names) {
            let now = row.f64(&format!("/tasks/{name}"))?;
            ensure!(now >= *last, "{name} fell from {last} to {now}");
            *last = now;
        }
        Ok(last)
    };
    let is_done = || lab.docker.client(["logs", container.id()]).map(|log| log.contains('{'));
    while !is_done()? {
        look(&mut tare)?;
    }
    let outcome = container.outcome()?;
    // Whoever is alive hardly runs any more. The kernel may free the last ones some seconds late.
    let words = ["run_nanoseconds", "wait_nanoseconds", "periods"];
    let mut lacking = String::new();
    let done = wait::until("all lives in the totals", PATIENCE, || {
        let found = look(&mut tare)?;
        let alive = scheduler(&container)?;
        lacking.clear();
        for ((word, found), alive) in words.iter().zip(found).zip(alive) {
            let ended = outcome[word].as_u64().with_context(|| outcome.to_string())?;
            let unit = if *word == "periods" { 1.0 } else { 1e9 };
            #[allow(clippy::cast_precision_loss)]
            let expected = (ended + alive) as f64 / unit;
            ensure!(found <= expected * (1.0 + 1e-9), "{word}: {found} of {expected}");
            if found < expected * SEEN_MIN {
                lacking += &format!("{word}: {found} of {expected}; ");
            }
        }
        Ok(lacking.is_empty().then_some(()))
    });
    done.with_context(|| lacking.clone())
}

#[test]
fn the_switch_leaves_nothing_of_it() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("serve"))?;
    container.ready()?;
    let shows = |daemon: &TareDaemon| -> Result<bool> {
        let metrics = daemon.metrics()?;
        let mine = |line: &&str| line.contains(container.id());
        Ok(metrics
            .lines()
            .filter(mine)
            .any(|line| line.starts_with("container_cpu_load_average_10s{")))
    };
    let on = TareDaemon::start(&lab.tare, &[])?;
    wait::until("tasks in the metrics", PATIENCE, || Ok(shows(&on)?.then_some(())))?;
    ensure!(programs()?.contains("count_task"), "the program is not loaded");
    on.terminate()?;
    let off = TareDaemon::start(&lab.tare, &["--tasks", "off"])?;
    thread::sleep(PASS);
    ensure!(!shows(&off)?, "it is off");
    let programs = programs()?;
    ensure!(!programs.contains("count_task") && !programs.contains("task_freed"), "{programs}");
    let report = lab.tare.option("--tasks", "off").report()?;
    let (state, reason) = report.source("tasks")?;
    ensure!(state == "off" && reason == Some("switched off with --tasks off"), "{report:?}");
    let row = report.row(container.id())?;
    ensure!(row.get("/tasks/threads")?.is_null() && row.get("/tasks/load")?.is_null(), "{row:?}");
    ensure!(row.u64("/pids/processes")? == 1, "from files: {row:?}");
    Ok(())
}

/// A row of the container whose tasks were counted after this call.
fn pass_after(tare: &mut Stream, container: &Container) -> Result<Row> {
    let start = Timestamp::now();
    wait::until("a pass over the tasks", PATIENCE, || {
        let Some(row) = tare.report()?.find(container.id()) else { return Ok(None) };
        let read_at = row.get("/tasks/read_at")?.as_str().map(str::parse::<Timestamp>);
        Ok(read_at.transpose()?.is_some_and(|at| at > start).then_some(row))
    })
}

/// Ids of all processes of a container, as the host numbers them.
fn pids(container: &Container) -> Result<Vec<u64>> {
    let first: u64 = container.pid()?.parse()?;
    let mut all = vec![first];
    let mut at = 0;
    while let Some(pid) = all.get(at).copied() {
        for thread in threads(pid)? {
            let children = fs::read_to_string(thread.join("children")).unwrap_or_default();
            for child in children.split_whitespace() {
                all.push(child.parse()?);
            }
        }
        at += 1;
    }
    Ok(all)
}

fn threads(pid: u64) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Sums of `schedstat` of all tasks of a container: nanoseconds on a CPU and waiting for one, and
/// how often it got one.
fn scheduler(container: &Container) -> Result<[u64; 3]> {
    let mut sums = [0; 3];
    for pid in pids(container)? {
        for thread in threads(pid)? {
            let text = fs::read_to_string(thread.join("schedstat"))?;
            for (sum, word) in sums.iter_mut().zip(text.split_whitespace()) {
                *sum += word.parse::<u64>()?;
            }
        }
    }
    Ok(sums)
}

/// Open descriptors of all processes of a container, of files whose names begin like this.
fn descriptors(container: &Container, kind: &str) -> Result<u64> {
    let mut count = 0;
    for pid in pids(container)? {
        // A zombie has none.
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten() {
            let file = fs::read_link(entry?.path())?;
            count += u64::from(file.to_string_lossy().starts_with(kind));
        }
    }
    Ok(count)
}

/// The programs that are loaded on this host.
fn programs() -> Result<String> {
    let mut command = Command::new("bpftool");
    command.args(["prog", "list"]);
    process::output(command, PATIENCE)
}
