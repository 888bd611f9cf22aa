//! Containers of Podman and of containerd in the table of a running `docker stats`.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tare_tests::{
    containerd::Containerd,
    lab::Lab,
    podman::Podman,
    process::Process,
    wait::{self, PATIENCE},
};

use crate::{docker_api::Served, docker_api_clients::glances};

const WRITTEN: u64 = 8 << 20;

/// Half a second until the next sample, and half a second until the client draws again. The rest is
/// for a busy machine.
const GONE_AFTER: Duration = Duration::from_millis(2500);

/// The table that `docker stats` draws again and again.
struct Table(Process);

impl Table {
    fn open(served: &Served) -> Result<Self> {
        let stats = served.docker.command(["stats", "--no-trunc"]);
        Process::spawn(stats).map(Self)
    }

    /// Waits until a drawing of the table fits.
    fn until(&mut self, what: &str, fits: impl Fn(&[String]) -> bool) -> Result<Vec<String>> {
        let end = Instant::now() + PATIENCE;
        let mut rows: Option<Vec<String>> = None;
        loop {
            let line = self.0.next_line(PATIENCE)?;
            if line.contains("CONTAINER ID") {
                // The rows before it are complete.
                if let Some(rows) = rows.replace(Vec::new()) {
                    if fits(&rows) {
                        return Ok(rows);
                    }
                    ensure!(Instant::now() < end, "waited {PATIENCE:?} for {what}: {rows:#?}");
                }
            } else if let Some(rows) = &mut rows {
                rows.push(line);
            }
        }
    }
}

/// The columns of a row, which are two or more spaces apart.
fn columns<'a>(rows: &'a [String], name: &str) -> Option<Vec<&'a str>> {
    let columns = |row: &'a String| -> Vec<&'a str> {
        row.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect()
    };
    rows.iter().map(columns).find(|columns| columns.get(1) == Some(&name))
}

fn has(rows: &[String], name: &str) -> bool {
    columns(rows, name).is_some_and(|columns| columns.get(2).is_some_and(|cpu| cpu.ends_with('%')))
}

#[test]
fn podman_and_containerd_are_in_a_running_docker_stats_and_gone_within_a_tick() -> Result<()> {
    let lab = Lab::open()?;
    let podman = Podman::start(&lab.scratch, &lab.image)?;
    let mut containerd = Containerd::start(&lab.scratch, &lab.image)?;
    let (podman_socket, cri_socket) = (podman.socket(), containerd.socket());
    let text = |path: &'_ Path| path.to_str().map(str::to_owned).context("a path is not UTF-8");
    let sockets = [text(&podman_socket)?, text(&cri_socket)?];
    let served =
        Served::start(&lab, &["--podman-socket", &sockets[0], "--cri-socket", &sockets[1]])?;
    let mut table = Table::open(&served)?;
    let directory = lab.scratch.subdirectory()?;
    let disk = text(&directory)?;
    // Its pages stay in the page cache, and are on the device when it is done.
    let bytes = WRITTEN.to_string();
    let write = |file| -> [&str; 8] {
        ["write", "--bytes", &bytes, "--path", file, "--mode", "sync", "--linger"]
    };
    let spin = ["spin", "--for", "10m"];
    let volume = format!("--volume={disk}:/disk");
    let pod_writer = podman.run("pod-writer", &["--memory=64m", &volume], &write("/disk/a"))?;
    let pod_spinner = podman.run("pod-spinner", &["--cpus=0.2"], &spin)?;
    let id = |digit: &str| digit.repeat(64);
    let (writer, spinner) = (id("a"), id("b"));
    let mount = format!("--mount=type=bind,src={disk},dst=/disk,options=rbind:rw");
    let memory = format!("--memory-limit={}", 64 << 20);
    containerd.run_plain_with(
        &writer,
        "nerdctl/name=ctr-writer",
        &[&memory, &mount],
        &write("/disk/b"),
    )?;
    containerd.run_plain_with(&spinner, "nerdctl/name=ctr-spinner", &["--cpus=0.2"], &spin)?;
    let names = ["pod-writer", "pod-spinner", "ctr-writer", "ctr-spinner"];
    let rows = table.until("all rows with their I/O", |rows| {
        // 8.39 MB, and what the file system writes about them.
        let is_written = |name| {
            let is_sum = |one: &&str| one.contains(" / 8.") && one.ends_with("MB");
            columns(rows, name).is_some_and(|columns| columns.iter().any(is_sum))
        };
        names.iter().all(|name| has(rows, name))
            && is_written("pod-writer")
            && is_written("ctr-writer")
    })?;
    for name in ["pod-writer", "ctr-writer"] {
        let row = columns(&rows, name).context(name)?;
        // Without the 8 MiB in the page cache.
        let memory = row.iter().find(|column| column.ends_with(" / 64MiB")).context(name)?;
        ensure!(memory.contains("KiB /") || memory.starts_with(['1', '2', '3']), "{row:?}");
    }
    for (name, id) in [("pod-spinner", &pod_spinner), ("ctr-spinner", &spinner)] {
        // It may have started in the latest sample.
        wait::until(&format!("{name} to be throttled"), PATIENCE, || {
            let stats = served.json(&format!("/containers/{name}/stats?stream=false"))?;
            let number = |pointer: &str| stats.pointer(pointer).and_then(serde_json::Value::as_u64);
            ensure!(stats["id"] == id.as_str(), "{stats}");
            let throttled = ["throttled_periods", "throttled_time"]
                .map(|name| number(&format!("/cpu_stats/throttling_data/{name}")));
            Ok(throttled.iter().all(|count| *count > Some(0)).then_some(()))
        })?;
    }

    // Glances asks for more: it inspects each, and cuts the id of its image at the colon.
    // Its first rate may be of a time that began before the container.
    wait::until("Glances to have the CPU time of both", PATIENCE, || {
        let shown = glances(&served, &lab)?;
        let mut is_right = true;
        for (id, name) in [(&pod_spinner, "pod-spinner"), (&spinner, "ctr-spinner")] {
            let row = shown.get(id).with_context(|| format!("{name}: {shown:?}"))?;
            ensure!(row["name"] == name && row["status"] == "running", "{row}");
            let command = row["command"].as_str();
            ensure!(command.is_some_and(|one| one.ends_with("spin --for 10m")), "{row}");
            let percent = row["cpu_percent"].as_f64().context("cpu_percent")?;
            is_right &= (10.0..30.0).contains(&percent);
        }
        Ok(is_right.then_some(()))
    })?;

    podman.client(["kill", "pod-writer"])?;
    let ended = Instant::now();
    table.until("the end of a row", |rows| !has(rows, "pod-writer") && has(rows, "ctr-spinner"))?;
    ensure!(ended.elapsed() < GONE_AFTER, "Podman: {:?}", ended.elapsed());
    containerd.remove_plain(&writer)?;
    let ended = Instant::now();
    table.until("the end of a row", |rows| !has(rows, "ctr-writer") && has(rows, "ctr-spinner"))?;
    ensure!(ended.elapsed() < GONE_AFTER, "containerd: {:?}", ended.elapsed());
    removals_are_reported(&served, &podman, &pod_writer)
}

/// Podman keeps a container that has ended; nothing is left of one of containerd.
fn removals_are_reported(served: &Served, podman: &Podman, pod_writer: &str) -> Result<()> {
    let actions = |container: &str, last: &str| {
        wait::until(&format!("{last} of {container}"), PATIENCE, || {
            let filter = format!("container={container}");
            let args = ["events", "--since", "10m", "--until", "0s", "--format", "{{.Action}}"];
            let text = served.docker.client([&args[..], &["--filter", &filter]].concat())?;
            let actions: Vec<_> = text.lines().map(str::to_owned).collect();
            Ok(actions.iter().any(|action| action == last).then_some(actions))
        })
    };
    let found = actions("ctr-writer", "destroy")?;
    ensure!(found == ["create", "start", "die", "destroy"], "{found:?}");
    let found = actions("pod-writer", "die")?;
    ensure!(found == ["create", "start", "die"], "{found:?}");
    let listed = || served.docker.client(["ps", "--all", "--quiet", "--no-trunc"]);
    ensure!(listed()?.contains(pod_writer), "not listed: {}", listed()?);
    podman.client(["rm", "pod-writer"])?;
    let removed = Instant::now();
    let found = actions("pod-writer", "destroy")?;
    ensure!(removed.elapsed() < GONE_AFTER, "{:?}", removed.elapsed());
    ensure!(found == ["create", "start", "die", "destroy"], "{found:?}");
    ensure!(!listed()?.contains(pod_writer), "still listed: {}", listed()?);
    Ok(())
}
