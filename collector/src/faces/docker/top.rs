//! `/containers/ID/top`: the processes of a container.

use std::{fs, path::Path};

use hyper::{StatusCode, body::Bytes};
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use tokio::task;

use super::{
    Answered, Docker, Failure,
    catalog::Item,
    ps::{self, Column, Facts, Process},
};
use crate::{
    cgroup::all_pids,
    clock::clock_ticks,
    faces::body::json,
    process::page_bytes,
    server::{
        Request,
        answer::{JSON, streamed},
    },
};

/// What the Engine asks `ps` for without `ps_args`.
const USUAL: &str = "-ef";

/// Processes of a container that are listed at most.
const PROCESSES_MAX: usize = 16_384;

/// The longest list of arguments that is shown, in bytes.
pub(super) const ARGUMENTS_BYTES_MAX: usize = 4096;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Table<'a> {
    titles: Vec<&'a str>,
    processes: Vec<Vec<String>>,
}

impl Docker {
    /// The processes of a container.
    pub(super) fn top(&self, item: &Item<'_>, request: &Request) -> Answered {
        let asked = request.query("ps_args").filter(|text| !text.trim().is_empty());
        let columns = ps::columns(asked.as_deref().unwrap_or(USUAL));
        let columns = columns.map_err(|message| Failure::bad(&message))?;
        if item.receipt().is_some() {
            let message = format!("container {} is not running", item.id());
            return Err(Failure::new(StatusCode::CONFLICT, &message));
        }
        let processes = &self.context.shared.processes;
        let pids = all_pids(&processes.hierarchies, &item.usage().instance.path, PROCESSES_MAX);
        let pids = pids
            .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))?;
        let host = &item.published().pair.newer.host;
        let boot_seconds = host.boot_time_seconds.unwrap_or_default();
        let memory_bytes = host.memory.total_bytes.unwrap_or_default();
        let proc_root = processes.proc_root.clone();
        // Reading thousands of processes takes longer than other answers may wait.
        let read = task::spawn_blocking(move || {
            let facts = Facts {
                now: Timestamp::now(),
                boot_seconds,
                memory_bytes,
                clock_ticks: clock_ticks(),
                users: ps::parse_users(&fs::read_to_string("/etc/passwd").unwrap_or_default()),
                time_zone: TimeZone::system(),
            };
            Bytes::from(table(&proc_root, &pids, &columns, &facts))
        });
        let body = futures_util::stream::once(async { read.await.unwrap_or_default() });
        Ok(streamed(JSON, body))
    }
}

fn table(proc_root: &Path, pids: &[u32], columns: &[Column], facts: &Facts) -> Vec<u8> {
    let page_bytes = page_bytes().unwrap_or(0);
    // Those that end meanwhile are left out.
    let processes = pids.iter().filter_map(|pid| read(proc_root, *pid, page_bytes));
    let row = |process| columns.iter().map(|column| column.text(&process, facts)).collect();
    json(&Table {
        titles: columns.iter().map(|column| column.title.as_str()).collect(),
        processes: processes.map(row).collect(),
    })
}

fn read(proc_root: &Path, pid: u32, page_bytes: u64) -> Option<Process> {
    let directory = proc_root.join(pid.to_string());
    let text = |name: &str| fs::read(directory.join(name)).ok();
    let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let mut process = ps::parse_stat(&lossy(text("stat")?), page_bytes)?;
    process.uid = ps::parse_uid(&lossy(text("status")?))?;
    let mut arguments = text("cmdline").unwrap_or_default();
    arguments.truncate(ARGUMENTS_BYTES_MAX);
    let arguments = lossy(arguments);
    process.arguments = arguments.trim_end_matches('\0').replace('\0', " ");
    Some(process)
}
