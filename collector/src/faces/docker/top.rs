//! `/containers/ID/top`: the processes of a container.

use hyper::{StatusCode, body::Bytes};
use serde::Serialize;
use tokio::task;

use super::{Answered, Docker, Failure, catalog::Item};
use crate::{
    cgroup::all_pids,
    faces::{
        body::json,
        processes::{
            self, PROCESSES_MAX,
            ps::{self, Column, Facts, Process},
        },
    },
    server::{
        Request,
        answer::{JSON, streamed},
    },
};

/// What the Engine asks `ps` for without `ps_args`.
const USUAL: &str = "-ef";

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
        let source = &self.context.shared.processes;
        let pids = all_pids(&source.hierarchies, &item.usage().instance.path, PROCESSES_MAX);
        let pids = pids
            .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))?;
        let (boot_seconds, memory_bytes) = processes::boot_and_memory(&item.published().pair.newer);
        let proc_root = source.proc_root.clone();
        // Reading thousands of processes takes longer than other answers may wait.
        let read = task::spawn_blocking(move || {
            let facts = processes::facts(boot_seconds, memory_bytes);
            let read = processes::read_all(&proc_root, &pids);
            Bytes::from(table(read, &columns, &facts))
        });
        let body = futures_util::stream::once(async { read.await.unwrap_or_default() });
        Ok(streamed(JSON, body))
    }
}

fn table(processes: impl Iterator<Item = Process>, columns: &[Column], facts: &Facts) -> Vec<u8> {
    let row = |process| columns.iter().map(|column| column.text(&process, facts)).collect();
    json(&Table {
        titles: columns.iter().map(|column| column.title.as_str()).collect(),
        processes: processes.map(row).collect(),
    })
}
