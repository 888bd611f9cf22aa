//! The read-only part of Docker's Engine API, for `docker stats` and other clients of it.
//!
//! Containers of every runtime are in it. Numbers come from the latest sample and the one before,
//! so no answer waits. `docs/docker-api.md` says what is answered and what differs from dockerd.

mod blkio;
mod catalog;
mod events;
mod filters;
mod host;
mod inspect;
mod list;
mod log;
mod stats;
mod streams;
mod top;
mod version;

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use hyper::{
    StatusCode,
    body::Bytes,
    header::{self, HeaderValue},
};
use percent_encoding::percent_decode_str;

use self::{
    catalog::{Catalog, Item},
    log::EventLog,
    streams::Streams,
};
use crate::{
    faces::cache::SampleCache,
    published::{Latest, Published},
    registry::InstanceId,
    server::{
        Context, Face, ListenerGroup, Request, Route,
        answer::{Answer, JSON, bytes},
    },
};

/// Things that the Engine has, that Tare does not know, and that clients ask for by name.
const NOT_KEPT: [(&str, &str); 9] = [
    ("images", "image"),
    ("networks", "network"),
    ("volumes", "volume"),
    ("services", "service"),
    ("tasks", "task"),
    ("nodes", "node"),
    ("plugins", "plugin"),
    ("secrets", "secret"),
    ("configs", "config"),
];

/// The Engine API.
pub(super) struct Docker {
    context: Rc<Context>,
    cache: RefCell<SampleCache<Made>>,
    streams: RefCell<Streams>,
    log: RefCell<EventLog>,
}

/// What was made of a sample.
#[derive(Default)]
struct Made {
    /// With the generation of the receipts in it.
    catalog: Option<(u64, Rc<Catalog>)>,
    /// One document for each container and shape, for all clients.
    stats: HashMap<(InstanceId, Shape), Bytes>,
}

/// Whether a document of statistics holds the sample before as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shape {
    WithBefore,
    OneShot,
}

/// Why a request is refused.
#[derive(Debug)]
struct Failure {
    status: StatusCode,
    message: String,
}

type Answered = Result<Answer, Failure>;

impl Face for Docker {
    const SERVED_ON: &'static [ListenerGroup] = &[ListenerGroup::Docker];

    const ROUTES: &'static [Route<Self>] = &[
        Route::get("/", Self::answer, "the Engine API"),
        Route::get("/{*path}", Self::answer, "the Engine API"),
    ];

    fn sampled(&self, latest: &Arc<Published>) -> bool {
        let freed = self.cache.borrow_mut().drop_older(latest);
        let receipts = self.context.shared.receipts();
        self.log.borrow_mut().sampled(latest, &receipts);
        self.feed_streams(latest);
        freed
    }

    fn receipts_published(&self, latest: &Latest) {
        self.log.borrow_mut().receipts_published(latest);
        self.streams.borrow_mut().end(&latest.receipts);
    }
}

impl Docker {
    pub(super) fn new(context: &Rc<Context>) -> Self {
        Self {
            context: Rc::clone(context),
            cache: RefCell::default(),
            streams: RefCell::default(),
            log: RefCell::default(),
        }
    }

    fn answer(&self, request: Request) -> Answer {
        let mut answer = self.routed(&request).unwrap_or_else(|failure| {
            ListenerGroup::Docker.failure(failure.status, &failure.message)
        });
        let headers = answer.headers_mut();
        for (name, value) in [
            ("api-version", version::NEWEST),
            ("docker-experimental", "false"),
            ("ostype", "linux"),
            (header::SERVER.as_str(), concat!("Tare/", env!("CARGO_PKG_VERSION"), " (linux)")),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        answer
    }

    fn routed(&self, request: &Request) -> Answered {
        let segments = segments(request.uri().path())?;
        let mut path: Vec<&str> = segments.iter().map(String::as_str).collect();
        if let Some(version) = path.first().and_then(|first| version::parse(first)) {
            version.check()?;
            path.remove(0);
        }
        match path[..] {
            ["_ping"] => Ok(host::ping()),
            ["version"] => Ok(host::version(&*self.catalog()?)),
            ["info"] => Ok(host::info(&*self.catalog()?)),
            ["events"] => self.log.borrow().stream(request),
            ["containers", "json"] => list::list(&*self.catalog()?, request),
            ["containers", name, "json"] => Ok(self.inspect(self.catalog()?.find(name)?)),
            ["containers", name, "stats"] => self.stats(&*self.catalog()?, name, request),
            ["containers", name, "top"] => self.top(&self.catalog()?.find(name)?, request),
            ["containers", name, ..] => {
                self.catalog()?.find(name)?;
                Err(Failure::unsupported(
                    "Tare has the statistics of a container, not its contents",
                ))
            }
            [kind] | [kind, "json"] if is_kept(kind).is_none() => Err(unknown_path(kind)),
            [kind] | [kind, "json"] => {
                Err(Failure::unsupported(&format!("Tare knows containers, and no {kind}")))
            }
            [kind, name, ..] => match is_kept(kind) {
                Some(singular) => Err(Failure::not_found(&format!("No such {singular}: {name}"))),
                None => Err(unknown_path(kind)),
            },
            [] => Err(unknown_path("")),
        }
    }

    /// The containers of the latest sample and the receipts.
    fn catalog(&self) -> Result<Rc<Catalog>, Failure> {
        let published = self.context.shared.published().ok_or_else(Failure::no_sample)?;
        Ok(self.catalog_of(&published))
    }

    fn catalog_of(&self, published: &Arc<Published>) -> Rc<Catalog> {
        let receipts = self.context.shared.receipts();
        let generation = receipts.generation();
        let mut cache = self.cache.borrow_mut();
        let made = cache.of(published);
        let known = made.catalog.take().filter(|(of, _)| *of == generation);
        let make = || (generation, Rc::new(Catalog::new(Arc::clone(published), receipts)));
        Rc::clone(&made.catalog.insert(known.unwrap_or_else(make)).1)
    }

    fn stats(&self, catalog: &Catalog, name: &str, request: &Request) -> Answered {
        let item = catalog.find(name)?;
        let (stream, one_shot) = (flag(request, "stream", true), flag(request, "one-shot", false));
        if stream && one_shot {
            return Err(Failure::bad("cannot have stream=true and one-shot=true"));
        }
        if item.receipt().is_some() {
            return Ok(bytes(StatusCode::OK, JSON, stats::ended(&item)));
        }
        let shape = if one_shot { Shape::OneShot } else { Shape::WithBefore };
        let body = self.document(catalog, &item, shape);
        if !stream {
            return Ok(bytes(StatusCode::OK, JSON, body));
        }
        let instance = item.usage().instance.id;
        Ok(self.streams.borrow_mut().open(instance, body, || stats::ended(&item)))
    }

    /// The statistics of a container, written once for all clients.
    fn document(&self, catalog: &Catalog, item: &Item<'_>, shape: Shape) -> Bytes {
        let instance = item.usage().instance.id;
        let mut cache = self.cache.borrow_mut();
        let documents = &mut cache.of(catalog.published()).stats;
        let document = documents.entry((instance, shape));
        document.or_insert_with(|| stats::document(item, shape).into()).clone()
    }

    fn feed_streams(&self, latest: &Arc<Published>) {
        let mut streams = self.streams.borrow_mut();
        if streams.is_empty() {
            return;
        }
        let catalog = self.catalog_of(latest);
        streams.feed(|instance| {
            let item = catalog.living(instance)?;
            Some(self.document(&catalog, &item, Shape::WithBefore))
        });
    }
}

impl Failure {
    fn new(status: StatusCode, message: &str) -> Self {
        Self { status, message: message.to_owned() }
    }

    fn bad(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    fn unsupported(message: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    fn no_sample() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no sample yet")
    }
}

/// The segments of a path, decoded.
fn segments(path: &str) -> Result<Vec<String>, Failure> {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let decode =
        |segment| percent_decode_str(segment).decode_utf8().map(std::borrow::Cow::into_owned);
    segments
        .map(|segment| decode(segment).map_err(|_| Failure::bad("the path is not UTF-8")))
        .collect()
}

fn unknown_path(_: &str) -> Failure {
    Failure::not_found("page not found")
}

/// What one of them is called, if the Engine keeps things of this kind.
fn is_kept(kind: &str) -> Option<&'static str> {
    NOT_KEPT.iter().find(|(plural, _)| *plural == kind).map(|(_, singular)| *singular)
}

/// A parameter that is true or false, as the Engine reads it.
fn flag(request: &Request, name: &str, default: bool) -> bool {
    request.query(name).map_or(default, |value| {
        !["", "0", "no", "false", "none"].contains(&value.trim().to_ascii_lowercase().as_str())
    })
}
