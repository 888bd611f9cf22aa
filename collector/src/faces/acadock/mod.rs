//! The HTTP API of acadock-monitoring, for its clients. `docs/acadock.md` says what is answered and
//! what differs.

mod host;
mod queue_length;
mod usage;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

use hyper::{StatusCode, body::Bytes};
use serde::Serialize;
use tare_model::{Container, Snapshot};

use self::{host::HostUsage, queue_length::QueueLength, usage::Usage};
use crate::{
    config::AcadockApi,
    faces::{
        body::{json, json_answer},
        cache::SampleCache,
    },
    output::{Scope, filter::Filters, select},
    published::Published,
    server::{
        Context, Face, Request, Route,
        answer::{Answer, failure},
    },
};

/// The API of acadock-monitoring.
pub(super) struct Acadock {
    context: Rc<Context>,
    seen_from_host: bool,
    queue_length: RefCell<QueueLength>,
    cache: RefCell<SampleCache<Option<Rc<Snapshot>>>>,
}

/// What an event says.
#[derive(Serialize)]
struct GuiEvent<'a> {
    value: &'a str,
    name: &'a str,
}

impl Face for Acadock {
    const ROUTES: &'static [Route<Self>] = &[
        Route::get("/containers/usage", Self::all, "what every container uses, for acadock"),
        Route::get("/containers/{id}/mem", Self::memory, "memory of one container, for acadock"),
        Route::get("/containers/{id}/cpu", Self::cpu, "CPU of one container, for acadock"),
        Route::get("/containers/{id}/net", Self::net, "network of one container, for acadock"),
        Route::get("/containers/{id}/io", Self::io, "block I/O of one container, for acadock"),
        Route::get("/containers/{id}/usage", Self::one, "all of these together, for acadock"),
        Route::get(
            "/host/usage",
            Self::host,
            "the host, for acadock; include_container_if_label=NAME chooses containers",
        ),
    ];

    fn sampled(&self, latest: &Arc<Published>) -> bool {
        let sample = &latest.pair.newer;
        if let Some(tasks) = sample.host.runnable_tasks {
            self.queue_length.borrow_mut().add(sample.time, tasks);
        }
        self.cache.borrow_mut().drop_older(latest)
    }
}

impl Acadock {
    pub(super) fn new(context: &Rc<Context>, view: AcadockApi) -> Self {
        Self {
            context: Rc::clone(context),
            seen_from_host: view == AcadockApi::Host,
            queue_length: RefCell::default(),
            cache: RefCell::default(),
        }
    }

    fn all(&self, _: Request) -> Answer {
        self.answer(|snapshot| {
            let all: BTreeMap<&str, Usage<'_>> = snapshot
                .report
                .containers
                .iter()
                .map(|row| {
                    let usage = Usage::new(row, snapshot, self.seen_from_host);
                    (row.id.as_str(), usage.with_labels(row))
                })
                .collect();
            json_answer(&all)
        })
    }

    fn memory(&self, request: Request) -> Answer {
        self.of_one(&request, |usage| json_answer(&usage.memory))
    }

    fn cpu(&self, request: Request) -> Answer {
        self.of_one(&request, |usage| json_answer(&usage.cpu))
    }

    fn net(&self, request: Request) -> Answer {
        self.of_one(&request, |usage| json_answer(&usage.net))
    }

    fn io(&self, request: Request) -> Answer {
        self.of_one(&request, |usage| json_answer(&usage.io))
    }

    fn one(&self, request: Request) -> Answer {
        self.of_one(&request, |usage| json_answer(&usage))
    }

    fn host(&self, request: Request) -> Answer {
        let label = request.query("include_container_if_label").filter(|label| !label.is_empty());
        let is_included = |row: &&Container| {
            label.as_ref().is_none_or(|label| row.labels.contains_key(label.as_str()))
        };
        let queue_length = self.queue_length.borrow().smoothed();
        self.answer(|snapshot| {
            let included = snapshot.report.containers.iter().filter(is_included);
            json_answer(&HostUsage::new(&snapshot.report.host, included, queue_length))
        })
    }

    /// What one container uses: by its id, the beginning of its id, or its name.
    fn of_one(&self, request: &Request, write: impl FnOnce(Usage<'_>) -> Answer) -> Answer {
        let Some(id) = request.param("id") else {
            return failure(StatusCode::BAD_REQUEST, "the id is not UTF-8");
        };
        self.answer(|snapshot| {
            let rows = &snapshot.report.containers;
            let found = select::find(rows, &id).map_err(|unknown| unknown.ambiguous);
            match found.as_deref() {
                Ok(&[at, ..]) => write(Usage::new(&rows[at], snapshot, self.seen_from_host)),
                Err(true) => failure(
                    StatusCode::BAD_REQUEST,
                    &format!("{id} is the beginning of several ids"),
                ),
                _ => failure(StatusCode::NOT_FOUND, "not found"),
            }
        })
    }

    fn answer(&self, write: impl FnOnce(&Snapshot) -> Answer) -> Answer {
        let Some(published) = self.context.shared.published() else {
            return failure(StatusCode::SERVICE_UNAVAILABLE, "no sample yet");
        };
        let snapshot = {
            let mut cache = self.cache.borrow_mut();
            Rc::clone(cache.of(&published).get_or_insert_with(|| Rc::new(snapshot(&published))))
        };
        write(&snapshot)
    }
}

/// The events of acadock's GUI about one container. Each is a name, and the body of the answer of
/// that name with the container's id.
pub(super) fn gui_events(row: &Container, snapshot: &Snapshot, view: AcadockApi) -> [Bytes; 3] {
    let usage = Usage::new(row, snapshot, view == AcadockApi::Host);
    let event = |name: &str, body: Vec<u8>| {
        let value = String::from_utf8_lossy(body.trim_ascii());
        Bytes::from(json(&(name, GuiEvent { value: &value, name: &row.id })))
    };
    [
        event("mem_usage", json(&usage.memory)),
        event("cpu_usage", json(&usage.cpu)),
        event("net_usage", json(&usage.net)),
    ]
}

/// The containers of a sample, and what changed since the one before.
fn snapshot(published: &Published) -> Snapshot {
    let mut snapshot = published.pair.snapshot();
    select::retain_rows(&mut snapshot.report, Scope::Containers, &Filters::default());
    snapshot
}
