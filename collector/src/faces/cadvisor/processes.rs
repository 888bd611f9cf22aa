//! `ps`: the processes of a container.

use std::{fs, path::Path};

use hyper::body::Bytes;
use serde::Serialize;
use tokio::task;

use super::{Answered, Cadvisor, Refusal, catalog::Catalog};
use crate::{
    cgroup::all_pids,
    faces::{
        body::json,
        processes::{
            self, PROCESSES_MAX,
            ps::{self, Column, Facts, Process},
        },
    },
    server::answer::{JSON, streamed},
};

/// Columns in the order of [`row`].
const COLUMNS: &str = "-opid,user,stime,pcpu,pmem,stat,time,comm";

/// A process.
#[derive(Serialize)]
struct Row {
    user: String,
    pid: u32,
    parent_pid: u32,
    start_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent_cpu: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent_mem: Option<f64>,
    rss: u64,
    virtual_size: u64,
    status: String,
    running_time: String,
    cgroup_path: String,
    cmd: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fd_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psr: Option<u32>,
}

impl Cadvisor {
    /// The processes of a cgroup and those below it; of the root, all of the host.
    pub(super) fn processes(&self, catalog: &Catalog, name: String) -> Answered {
        let failed = |error: String| Refusal(format!("process listing failed: {error}"));
        let columns = ps::columns(COLUMNS).map_err(failed)?;
        let source = &self.context.shared.processes;
        let proc_root = source.proc_root.clone();
        let is_root = name == "/";
        let pids = match is_root {
            true => Vec::new(),
            false => all_pids(&source.hierarchies, &name, PROCESSES_MAX)
                .map_err(|error| failed(error.to_string()))?,
        };
        let (boot_seconds, memory_bytes) =
            processes::boot_and_memory(&catalog.published.pair.newer);
        // Reading thousands of processes takes longer than other answers may wait.
        let read = task::spawn_blocking(move || {
            let pids = if is_root { every_pid(&proc_root) } else { pids };
            let facts = processes::facts(boot_seconds, memory_bytes);
            let read = processes::read_all(&proc_root, &pids);
            let rows = read.map(|process| row(&process, &columns, &facts, &proc_root, is_root));
            Bytes::from(json(&rows.collect::<Vec<_>>()))
        });
        let body = futures_util::stream::once(async { read.await.unwrap_or_default() });
        Ok(streamed(JSON, body))
    }
}

/// The cgroup is named only where there are several, as in cAdvisor.
fn row(
    process: &Process,
    columns: &[Column],
    facts: &Facts,
    proc_root: &Path,
    names_cgroup: bool,
) -> Row {
    let directory = proc_root.join(process.pid.to_string());
    let mut texts = columns.iter().map(|column| column.text(process, facts));
    let mut text = || texts.next().unwrap_or_default();
    let _pid = text();
    let cgroups = || fs::read_to_string(directory.join("cgroup")).unwrap_or_default();
    Row {
        user: text(),
        pid: process.pid,
        parent_pid: process.parent,
        start_time: text(),
        percent_cpu: text().parse().ok(),
        percent_mem: text().parse().ok(),
        rss: process.resident_bytes,
        virtual_size: process.virtual_bytes,
        status: text(),
        running_time: text(),
        cgroup_path: if names_cgroup { cgroup(&cgroups()) } else { String::new() },
        cmd: text(),
        fd_count: fs::read_dir(directory.join("fd")).ok().map(Iterator::count),
        psr: process.processor,
    }
}

/// The path in the hierarchy of the memory controller, or in cgroup2, in a `/proc/PID/cgroup`.
fn cgroup(text: &str) -> String {
    let fields = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let memory = |controllers: &str| controllers.split(',').any(|one| one == "memory");
    let found = fields.clone().find(|(controllers, _)| memory(controllers));
    let found = found.or_else(|| fields.clone().find(|(controllers, _)| controllers.is_empty()));
    found.map_or_else(|| "/".to_owned(), |(_, path)| path.to_owned())
}

fn every_pid(proc_root: &Path) -> Vec<u32> {
    let entries = fs::read_dir(proc_root).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut pids: Vec<u32> = pids.take(PROCESSES_MAX).collect();
    pids.sort_unstable();
    pids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_of_a_process_is_that_of_memory() {
        assert_eq!(cgroup("4:cpu,memory:/docker/a\n0::/b\n"), "/docker/a");
        assert_eq!(cgroup("0::/system.slice/a:b\n"), "/system.slice/a:b");
        assert_eq!(cgroup(""), "/");
    }

    #[test]
    fn this_process_is_a_row() {
        let columns = ps::columns(COLUMNS).unwrap();
        let (proc_root, facts) = (Path::new("/proc"), processes::facts(0, 1 << 30));
        let pid = std::process::id();
        let process = processes::read_all(proc_root, &[pid]).next().unwrap();
        let row = row(&process, &columns, &facts, proc_root, true);
        assert_eq!((row.pid, row.cgroup_path.starts_with('/')), (pid, true));
        assert!(row.fd_count > Some(2) && row.psr.is_some() && row.rss > 1 << 20);
        assert!(row.percent_cpu.is_some() && !row.status.is_empty() && !row.cmd.is_empty());
        assert!(every_pid(proc_root).contains(&pid));
    }
}
