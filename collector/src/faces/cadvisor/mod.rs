//! The REST API of cAdvisor, for its clients. `docs/cadvisor-api.md` says what is answered and what
//! differs.

mod catalog;
mod events;
mod machine;
mod processes;
mod request;
mod spec;
mod stats;
mod storage;
mod summary;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use self::{
    catalog::{Catalog, Item},
    events::EventLog,
    request::{InfoQuery, Options, absolute},
    spec::{Reference, Spec},
    stats::{Has, Stats},
};
use crate::{
    faces::{body::json_answer, cache::SampleCache},
    output::Scope,
    published::{Latest, Published},
    server::{
        Context, Face, Request, Route,
        answer::{Answer, failure, text},
    },
};

/// Versions, each with what may be asked of it, in the order of cAdvisor's own lists.
const VERSIONS: [(&str, &str); 6] = [
    ("v1.0", "containers,machine"),
    ("v1.1", "containers,machine,subcontainers"),
    ("v1.2", "containers,docker,machine,subcontainers"),
    ("v1.3", "containers,docker,events,machine,subcontainers"),
    ("v2.0", "appmetrics,attributes,events,machine,ps,spec,stats,storage,summary,version"),
    (
        "v2.1",
        "appmetrics,attributes,events,machine,machinestats,ps,spec,stats,storage,summary,version",
    ),
];

/// The longest accepted body of a request, in bytes: a query has three fields.
const QUERY_BYTES_MAX: usize = 4096;

/// cAdvisor's API.
pub(super) struct Cadvisor {
    context: Rc<Context>,
    cache: RefCell<SampleCache<Option<Rc<Catalog>>>>,
    log: RefCell<EventLog>,
}

/// Why a request is refused. cAdvisor says so in plain text, with status 500.
#[derive(Debug, PartialEq, Eq)]
struct Refusal(String);

type Answered = Result<Answer, Refusal>;

/// A container with its numbers, as version 1 has it.
#[derive(Serialize)]
struct Info {
    #[serde(flatten)]
    reference: Reference,
    subcontainers: Option<Vec<Reference>>,
    spec: Spec,
    stats: Option<Vec<Stats>>,
}

/// The same in version 2.1.
#[derive(Serialize)]
struct InfoV2 {
    spec: Spec,
    stats: Vec<Stats>,
}

impl Face for Cadvisor {
    const ROUTES: &'static [Route<Self>] = &[
        route("/api", "the versions of cAdvisor's API"),
        route("/api/", "the versions of cAdvisor's API"),
        route("/api/{version}", "what a version of cAdvisor's API answers"),
        route("/api/{version}/", "what a version of cAdvisor's API answers"),
        route("/api/{version}/{*path}", "cAdvisor's API, v1.0 to v1.3, v2.0 and v2.1"),
    ];

    fn sampled(&self, latest: &Arc<Published>) -> bool {
        let receipts = self.context.shared.receipts();
        self.log.borrow_mut().sampled(latest, &receipts);
        self.cache.borrow_mut().drop_older(latest)
    }

    fn receipts_published(&self, latest: &Latest) {
        self.log.borrow_mut().receipts_published(latest);
    }
}

/// Clients send queries by `POST`, and some in the body of a `GET`.
const fn route(path: &'static str, summary: &'static str) -> Route<Cadvisor> {
    Route {
        methods: &["GET", "HEAD", "POST"],
        body_bytes_max: QUERY_BYTES_MAX,
        ..Route::get(path, Cadvisor::answer, summary)
    }
}

impl Cadvisor {
    pub(super) fn new(context: &Rc<Context>) -> Self {
        Self { context: Rc::clone(context), cache: RefCell::default(), log: RefCell::default() }
    }

    fn answer(&self, request: Request) -> Answer {
        let list = |what: &str| text(StatusCode::BAD_REQUEST, format!("Supported {what}\n"));
        let Some(version) = request.param("version") else {
            let names: Vec<&str> = VERSIONS.iter().map(|(name, _)| *name).collect();
            return list(&format!("API versions: {}", names.join(",")));
        };
        let known = VERSIONS.iter().find(|(name, _)| *name == version);
        let path = request.param("path").unwrap_or_default();
        let answered = match known {
            // Tare's own API has no more paths than those that are served already.
            None if version == "v1" => {
                return failure(StatusCode::NOT_FOUND, "no such path; see /");
            }
            None => Err(Refusal(format!("unsupported API version {version:?}"))),
            Some((_, kinds)) if path.is_empty() => {
                return list(&format!("request types: {kinds:?}"));
            }
            Some((version, kinds)) => {
                let (kind, rest) = path.split_once('/').unwrap_or((&path, ""));
                match kinds.split(',').any(|known| known == kind) {
                    true if version.starts_with("v1") => self.version_1(kind, rest, &request),
                    true => self.version_2(version, kind, rest, &request),
                    false => Err(Refusal(format!("unknown request type {kind:?}"))),
                }
            }
        };
        answered.unwrap_or_else(|Refusal(message)| {
            text(StatusCode::INTERNAL_SERVER_ERROR, format!("{message}\n"))
        })
    }

    fn version_1(&self, kind: &str, rest: &str, request: &Request) -> Answered {
        if kind == "events" {
            return self.log.borrow().answer(request, &absolute(rest));
        }
        let catalog = self.catalog()?;
        if kind == "machine" {
            return Ok(self.machine(&catalog, |machine| json!(machine)));
        }
        let query = InfoQuery::parse(&request.body).map_err(Refusal)?;
        let info = |item: &Item| self.info(&catalog, item, &query);
        let name = absolute(rest);
        match kind {
            "containers" => {
                let found = catalog.named(&name);
                let found = found.map_err(|Refusal(error)| {
                    Refusal(format!("failed to get container {name:?} with error: {error}"))
                })?;
                Ok(compact(&info(found)))
            }
            "subcontainers" => {
                let found: Vec<_> = catalog.at_or_below(&name).map(info).collect();
                if found.is_empty() {
                    let error = "no containers found";
                    return Err(Refusal(format!(
                        "failed to get subcontainers for container {name:?} with error: {error}"
                    )));
                }
                Ok(compact(&found))
            }
            _ => {
                let parts: Vec<&str> = rest.split('/').collect();
                let found: Vec<&Item> = match parts[..] {
                    [""] => catalog.of_runtime("docker").collect(),
                    [name] => vec![catalog.aliased("docker", name).map_err(|Refusal(error)| {
                        Refusal(format!(
                            "failed to get Docker container {name:?} with error: {error}"
                        ))
                    })?],
                    _ => {
                        let parts = parts.join(" ");
                        return Err(Refusal(format!(
                            "unknown request for Docker container [{parts}]"
                        )));
                    }
                };
                let found: BTreeMap<&str, Info> =
                    found.into_iter().map(|item| (item.name(), info(item))).collect();
                Ok(compact(&found))
            }
        }
    }

    fn version_2(&self, version: &str, kind: &str, rest: &str, request: &Request) -> Answered {
        let options = Options::parse(|name| request.query(name)).map_err(Refusal)?;
        let name = absolute(rest);
        if kind == "events" {
            return self.log.borrow().answer(request, &name);
        }
        let catalog = self.catalog()?;
        match kind {
            "version" => return Ok(json_answer(&env!("CARGO_PKG_VERSION"))),
            "attributes" => return Ok(self.machine(&catalog, machine::Machine::attributes)),
            "machine" => return Ok(self.machine(&catalog, |machine| json!(machine))),
            "storage" => return Ok(self.storage(&catalog, request)),
            "machinestats" => {
                let root = catalog.named("/")?;
                let stats = self.stats(root, options.count, (None, None));
                let stats: Vec<_> = stats.into_iter().map(Stats::of_machine).collect();
                return Ok(compact(&stats));
            }
            "ps" => {
                let one = Options { is_recursive: false, ..options };
                let found = catalog.requested(&name, &one)?;
                let found = found.first().map_or("/", |item| item.name()).to_owned();
                return self.processes(&catalog, found);
            }
            _ => {}
        }
        let found = catalog.requested(&name, &options)?;
        let each = |write: &dyn Fn(&Item) -> Value| -> Answer {
            let map: BTreeMap<&str, Value> =
                found.iter().map(|item| (item.name(), write(item))).collect();
            compact(&map)
        };
        Ok(match (version, kind) {
            (_, "spec") => each(&|item| json!(Spec::new(item, &catalog).version_2(item))),
            (_, "summary") => each(&|item| json!(self.summary(&catalog, item))),
            // No container has metrics of its own that Tare would collect.
            (_, "appmetrics") => each(&|_| json!({})),
            ("v2.0", _) => each(&|item| {
                let has = Has::new(&Spec::new(item, &catalog));
                let stats = self.stats(item, options.count, (None, None));
                let stats = stats.into_iter().map(|stats| stats.version_2_0(has));
                json!(stats.collect::<Vec<_>>())
            }),
            _ => {
                // The root is in `machinestats`.
                let found = found.iter().filter(|item| item.name() != "/");
                let info = |item: &&Item| {
                    let stats = self.stats(item, options.count, (None, None));
                    let stats = stats.into_iter().map(Stats::version_2_1).collect();
                    let spec = Spec::new(item, &catalog).version_2(item);
                    (item.name().to_owned(), InfoV2 { spec, stats })
                };
                compact(&found.map(info).collect::<BTreeMap<_, _>>())
            }
        })
    }

    fn info(&self, catalog: &Catalog, item: &Item, query: &InfoQuery) -> Info {
        let stats = self.stats(item, query.count, (query.start, query.end));
        let stats = stats.into_iter().map(Stats::version_1).collect::<Vec<_>>();
        let below = catalog.children(item).map(Reference::short).collect::<Vec<_>>();
        Info {
            reference: Reference::new(item),
            subcontainers: Some(below).filter(|below| !below.is_empty()),
            spec: Spec::new(item, catalog),
            stats: Some(stats).filter(|stats| !stats.is_empty()),
        }
    }

    /// The containers of the latest sample.
    fn catalog(&self) -> Result<Rc<Catalog>, Refusal> {
        let published = self.context.shared.published();
        let published = published.ok_or_else(|| Refusal("no sample yet".to_owned()))?;
        let scope: Scope = self.context.config().run.scope;
        let mut cache = self.cache.borrow_mut();
        let made = cache.of(&published);
        Ok(Rc::clone(made.get_or_insert_with(|| Rc::new(Catalog::new(&published, scope)))))
    }
}

/// A document without what is unknown.
fn compact(value: &impl Serialize) -> Answer {
    json_answer(&without_nulls(json!(value)))
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let known = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(known.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_absent() {
        let found = without_nulls(json!({"a": null, "b": [{"c": null, "d": 0}], "e": {"f": null}}));
        assert_eq!(found, json!({"b": [{"d": 0}], "e": {}}));
    }
}
