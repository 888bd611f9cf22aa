//! The JSON API, `/api/v1/`, without its events.

use std::{cell::RefCell, collections::HashMap, path::PathBuf, rc::Rc, sync::Arc, time::Duration};

use futures_util::stream;
use hyper::{StatusCode, body::Bytes};
use tare_model::{Container, Ended, Snapshot};
use tokio::{sync::Semaphore, task};

use crate::{
    faces::{
        body::{describe, document, json_answer},
        cache::SampleCache,
        recorded,
    },
    output::{
        filter::Filters,
        select::{self, UnknownNames},
    },
    published::{
        Published,
        excerpt::{Excerpt, Missing, Span},
    },
    registry::InstanceId,
    report::ReportOptions,
    sample::Receipts,
    server::{
        Context, Face, Request, Route,
        answer::{Answer, JSON, bytes, failure, streamed},
        query,
    },
};

/// `/api/v1/`.
pub(super) struct Json {
    context: Rc<Context>,
    cache: RefCell<SampleCache<Made>>,
    /// Those who may read the recording.
    readers: Arc<Semaphore>,
}

/// Clients that may read the recording at a time.
const RECORDING_READERS_MAX: usize = 2;

/// What was made of a sample.
#[derive(Default)]
struct Made {
    living: Option<Rc<Living>>,
    ended: Option<CurrentEnded>,
    bodies: HashMap<(Document, bool), Bytes>,
}

/// The rows of a sample in scope, each with its instance.
struct Living {
    rows: Vec<Container>,
    instances: Vec<InstanceId>,
}

/// The rows of receipts, the latest first. There may be newer receipts than the sample.
struct CurrentEnded {
    generation: u64,
    rows: Rc<Vec<Ended>>,
    bodies: HashMap<bool, Bytes>,
}

/// A body that depends on the sample only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Document {
    Snapshot,
    Containers,
    Host,
    Sources,
}

impl Face for Json {
    const ROUTES: &'static [Route<Self>] = &[
        Route::get(
            "/api/v1/snapshot",
            Self::snapshot,
            "everything, as `tare snapshot --format json`; window=SECONDS looks back",
        ),
        Route::get("/api/v1/containers", Self::containers, "what is alive"),
        Route::get(
            "/api/v1/containers/{name}",
            Self::container,
            "one container by its name or id, alive or ended",
        ),
        Route::get("/api/v1/ended", Self::ended, "what ended, with the last totals"),
        Route::get("/api/v1/host", Self::host, "the host"),
        Route::get("/api/v1/sources", Self::sources, "where the numbers come from"),
        Route::get(
            "/api/v1/history",
            Self::history,
            "the totals of one container over time: container=NAME-OR-ID, from=, to=, step=SECONDS, \
             latency=true",
        ),
    ];

    fn sampled(&self, latest: &Arc<Published>) -> bool {
        self.cache.borrow_mut().drop_older(latest)
    }
}

impl Json {
    pub(super) fn new(context: &Rc<Context>) -> Self {
        let readers = Arc::new(Semaphore::new(RECORDING_READERS_MAX));
        Self { context: Rc::clone(context), cache: RefCell::default(), readers }
    }

    fn snapshot(&self, request: Request) -> Answer {
        match request.query("window") {
            None if request.uri().query().is_none() => self.document(Document::Snapshot, &request),
            window => self.look_back(window),
        }
    }

    fn containers(&self, request: Request) -> Answer {
        self.document(Document::Containers, &request)
    }

    fn host(&self, request: Request) -> Answer {
        self.document(Document::Host, &request)
    }

    fn sources(&self, request: Request) -> Answer {
        self.document(Document::Sources, &request)
    }

    fn document(&self, document: Document, request: &Request) -> Answer {
        let Some(published) = self.context.shared.published() else { return no_sample() };
        let gzip = request.accepts_gzip();
        let known = self.cache.borrow_mut().of(&published).bodies.get(&(document, gzip)).cloned();
        let body = known.unwrap_or_else(|| {
            let body = Bytes::from(self.write(document, &published, gzip));
            let mut cache = self.cache.borrow_mut();
            cache.of(&published).bodies.insert((document, gzip), body.clone());
            body
        });
        encoded(body, gzip)
    }

    fn write(&self, wanted: Document, published: &Arc<Published>, gzip: bool) -> Vec<u8> {
        let frame = || published.pair.builder(ReportOptions::FRAME).frame;
        match wanted {
            Document::Snapshot => document(&self.whole(published), gzip),
            Document::Containers => document(&self.living(published).rows, gzip),
            Document::Host => document(&frame().host, gzip),
            Document::Sources => document(&frame().sources, gzip),
        }
    }

    /// A snapshot that looks back to the sample before.
    fn whole(&self, published: &Published) -> Snapshot {
        let mut snapshot = published.pair.snapshot();
        let scope = self.context.config().run.scope;
        select::retain_rows(&mut snapshot.report, scope, &Filters::default());
        snapshot.prune();
        snapshot.watched_since = Some(self.context.started_at);
        snapshot
    }

    /// A snapshot with rates over a longer time than between two samples.
    fn look_back(&self, window: Option<String>) -> Answer {
        let window = match query::seconds("window", window) {
            Ok(window) => window.unwrap_or(Duration::ZERO),
            Err(message) => return failure(StatusCode::BAD_REQUEST, &message),
        };
        let Some(published) = self.context.shared.published() else { return no_sample() };
        let mut snapshot = self.whole(&published);
        let window = self.context.shared.history().window(published.pair.newer.time, window);
        // Without a history it is the interval between the last two samples.
        if let Some(window) = window {
            snapshot.look_back(&window);
        }
        json_answer(&snapshot)
    }

    /// All receipts, those newer than the sample included.
    fn ended(&self, request: Request) -> Answer {
        let Some(published) = self.context.shared.published() else { return no_sample() };
        let gzip = request.accepts_gzip();
        let mut cache = self.cache.borrow_mut();
        let ended = current_ended(cache.of(&published), &published, self.context.shared.receipts());
        let rows = Rc::clone(&ended.rows);
        let body = ended.bodies.entry(gzip).or_insert_with(|| document(&*rows, gzip).into());
        encoded(body.clone(), gzip)
    }

    /// One container that is alive, or else the latest receipt of that name.
    fn container(&self, request: Request) -> Answer {
        let Some(name) = request.param("name") else {
            return failure(StatusCode::BAD_REQUEST, "the name is not UTF-8");
        };
        let Some(published) = self.context.shared.published() else { return no_sample() };
        let living = self.living(&published);
        let receipts = self.context.shared.receipts();
        let has_ended = |id| receipts.iter().rev().any(|receipt| receipt.usage.instance.id == id);
        let found = select::find(&living.rows, &name);
        if let Ok(&[index, ..]) = found.as_deref()
            && let (Some(row), Some(id)) = (living.rows.get(index), living.instances.get(index))
            && !has_ended(*id)
        {
            return json_answer(row);
        }
        let mut cache = self.cache.borrow_mut();
        let ended = current_ended(cache.of(&published), &published, receipts);
        let mut rows = ended.rows.iter();
        if let Some(row) = rows.find(|row| select::is_called(&row.container, &name)) {
            return json_answer(row);
        }
        let names = found.err().into_iter().collect();
        failure(StatusCode::NOT_FOUND, &UnknownNames { names }.to_string())
    }

    fn history(&self, request: Request) -> Answer {
        let Some(container) = request.query("container") else {
            return failure(StatusCode::BAD_REQUEST, "`container` is missing: a name or an id");
        };
        let span = match query::span(|name| request.query(name)) {
            Ok(span) => span,
            Err(message) => return failure(StatusCode::BAD_REQUEST, &message),
        };
        let excerpt = self.context.shared.history().excerpt(&container, span);
        let directory = self.context.config().run.record.as_ref().map(|it| it.directory.clone());
        if let Some(directory) = directory
            && recorded::is_wanted(&excerpt, span)
        {
            return self.recorded_history(directory, container, span, excerpt.ok());
        }
        match excerpt {
            Ok(excerpt) => json_answer(&excerpt),
            Err(Missing::Unknown) => {
                failure(StatusCode::NOT_FOUND, &format!("no history of `{container}`"))
            }
            Err(Missing::Ambiguous) => {
                let message = format!("`{container}` is the beginning of several ids");
                failure(StatusCode::BAD_REQUEST, &message)
            }
        }
    }

    /// The same with what is on disk. It is read beside the server, by few clients at a time.
    fn recorded_history(
        &self,
        directory: PathBuf,
        container: String,
        span: Span,
        excerpt: Option<Excerpt>,
    ) -> Answer {
        let Ok(permit) = Arc::clone(&self.readers).try_acquire_owned() else {
            let message = "others read the recording; try again";
            return failure(StatusCode::SERVICE_UNAVAILABLE, message);
        };
        let read = task::spawn_blocking(move || {
            let body = recorded::history(&directory, &container, span, excerpt);
            drop(permit);
            body
        });
        streamed(JSON, stream::once(async { read.await.unwrap_or_default() }))
    }

    fn living(&self, published: &Arc<Published>) -> Rc<Living> {
        let make = || {
            let scope = self.context.config().run.scope;
            let options = ReportOptions { ended_max: 0, ..ReportOptions::WHOLE };
            let builder = published.pair.builder(options);
            let rows = builder.rows(|kind| select::in_scope(kind, scope));
            let (instances, rows) = rows.unzip();
            Rc::new(Living { rows, instances })
        };
        Rc::clone(self.cache.borrow_mut().of(published).living.get_or_insert_with(make))
    }
}

fn current_ended<'m>(
    made: &'m mut Made,
    published: &Published,
    receipts: Receipts,
) -> &'m mut CurrentEnded {
    let generation = receipts.generation();
    let known = made.ended.take().filter(|ended| ended.generation == generation);
    let current = known.unwrap_or_else(|| {
        let builder = published.pair.builder(ReportOptions::FRAME);
        let rows = receipts.iter().rev().map(|receipt| builder.ended(receipt)).collect();
        CurrentEnded { generation, rows: Rc::new(rows), bodies: HashMap::new() }
    });
    made.ended.insert(current)
}

fn encoded(body: Bytes, gzip: bool) -> Answer {
    let mut answer = bytes(StatusCode::OK, JSON, body);
    describe(answer.headers_mut(), gzip);
    answer
}

fn no_sample() -> Answer {
    failure(StatusCode::SERVICE_UNAVAILABLE, "no sample yet")
}
