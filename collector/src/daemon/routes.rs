//! Which path answers what.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use hyper::{
    Method, Request, StatusCode,
    body::{Body, Bytes},
    header::{self, HeaderName, HeaderValue},
};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use tokio::sync::watch;

use crate::{
    daemon::{
        answers::{Answer, JSON, answer, failure, stream, text},
        formatted::{Formatted, Page, json},
        history::Missing,
        process,
        published::{Published, State},
        query,
        settings::Settings,
    },
    model::Report,
    output::select::{self, UnknownNames},
    telemetry::{ProcessStats, Telemetry},
};

/// Without a sample for so many intervals the loop hangs.
const OVERDUE_MAX: f64 = 30.0;

/// Without a sample for so many intervals numbers are not fresh.
const STALE: f64 = 3.0;

/// Paths that tell nothing of anybody and that everybody may ask for.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

const OPENAPI: &str = include_str!("openapi.json");

const INDEX: &str = "\
tare: what every container on this host uses

/metrics                     for Prometheus
/healthz /readyz             whether it works, whether it is ready
/api/v1/snapshot             everything, as `tare snapshot --format json`; window=
/api/v1/containers           what is alive; /api/v1/containers/NAME-OR-ID for one
/api/v1/ended                what ended
/api/v1/host                 the host
/api/v1/sources              where numbers come from
/api/v1/events               created, started, ended and oom, as they happen
/api/v1/history?container=   the last minutes of one; from=, to=, step=
/api/openapi.json            all of this for programs";

/// Answers requests.
pub(super) struct Service {
    pub(super) state: Arc<State>,
    settings: watch::Receiver<Arc<Settings>>,
    formatted: RefCell<Formatted>,
    started_at: Timestamp,
}

impl Service {
    pub(super) fn new(state: Arc<State>, settings: watch::Receiver<Arc<Settings>>) -> Self {
        Self { state, settings, formatted: RefCell::default(), started_at: Timestamp::now() }
    }

    /// What the server goes by now.
    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// The answer to a request. Its body is never read. Whoever is trusted needs no key.
    pub(super) fn answer<B: Body>(&self, request: &Request<B>, trusted: bool) -> Answer {
        let mut answer = self.checked(request, trusted);
        self.state.counts.answered(answer.status().as_u16());
        let headers = answer.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer
    }

    fn checked<B: Body>(&self, request: &Request<B>, trusted: bool) -> Answer {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut refused = failure(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
            let allowed = HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(header::ALLOW, allowed);
            return closing(refused);
        }
        if !request.body().is_end_stream() {
            return closing(failure(StatusCode::PAYLOAD_TOO_LARGE, "no body is taken"));
        }
        let open = trusted || OPEN.contains(&request.uri().path());
        let key = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        if !open && !self.settings().access.allows(key) {
            let mut refused = failure(StatusCode::UNAUTHORIZED, "a token or a password is missing");
            let schemes = HeaderValue::from_static("Bearer, Basic realm=\"tare\"");
            refused.headers_mut().insert(header::WWW_AUTHENTICATE, schemes);
            return refused;
        }
        self.route(request)
    }

    fn route<B>(&self, request: &Request<B>) -> Answer {
        let path = request.uri().path();
        let page = match path {
            "/" => return text(StatusCode::OK, INDEX),
            "/healthz" => return self.health(OVERDUE_MAX, false),
            "/readyz" => return self.health(STALE, true),
            "/api/openapi.json" => {
                return answer(StatusCode::OK, JSON, Bytes::from_static(OPENAPI.as_bytes()));
            }
            "/api/v1/events" => return self.stream(),
            "/api/v1/history" => return self.history(request),
            "/api/v1/snapshot" if request.uri().query().is_some() => {
                return self.look_back(request);
            }
            "/metrics" => Page::Metrics(query::exposition(header_text(request, header::ACCEPT))),
            "/api/v1/snapshot" => Page::Snapshot,
            "/api/v1/containers" => Page::Containers,
            "/api/v1/ended" => Page::Ended,
            "/api/v1/host" => Page::Host,
            "/api/v1/sources" => Page::Sources,
            _ => match path.strip_prefix("/api/v1/containers/") {
                Some(name) => return self.container(name),
                None => return failure(StatusCode::NOT_FOUND, "no such path; see /"),
            },
        };
        self.with_latest(|shot| self.page(shot, page, request))
    }

    fn page<B>(&self, shot: &Arc<Published>, page: Page, request: &Request<B>) -> Answer {
        let gzip = query::accepts_gzip(header_text(request, header::ACCEPT_ENCODING));
        let telemetry = || Telemetry {
            sampling: shot.sampling.clone(),
            server: self.state.counts.now(),
            process: ProcessStats { started_at: Some(self.started_at), ..process::read() },
        };
        let body =
            self.formatted.borrow_mut().body(shot, page, gzip, &self.settings().run, telemetry);
        let content_type = match page {
            Page::Metrics(exposition) => exposition.content_type(),
            _ => JSON,
        };
        let mut answer = answer(StatusCode::OK, content_type, body);
        let headers = answer.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }

    /// One container that is alive, or else the receipt of the last one that was called so.
    fn container(&self, name: &str) -> Answer {
        let Ok(name) = percent_decode_str(name).decode_utf8() else {
            return failure(StatusCode::BAD_REQUEST, "the name is not UTF-8");
        };
        self.with_latest(|shot| {
            let report = self.report(shot);
            let found = select::find(&report.containers, &name);
            let alive =
                found.as_ref().ok().and_then(|found| report.containers.get(*found.first()?));
            if let Some(container) = alive {
                return answer(StatusCode::OK, JSON, json(container));
            }
            let mut ended = report.ended.iter();
            if let Some(ended) = ended.find(|ended| select::is_called(&ended.container, &name)) {
                return answer(StatusCode::OK, JSON, json(ended));
            }
            let names = found.err().into_iter().collect();
            failure(StatusCode::NOT_FOUND, &UnknownNames { names }.to_string())
        })
    }

    fn history<B>(&self, request: &Request<B>) -> Answer {
        let get = |name: &str| parameter(request, name);
        let Some(container) = get("container") else {
            return failure(StatusCode::BAD_REQUEST, "`container` is missing: a name or an id");
        };
        let span = match query::span(get) {
            Ok(span) => span,
            Err(message) => return failure(StatusCode::BAD_REQUEST, &message),
        };
        let excerpt = self.state.history().excerpt(&container, span);
        match excerpt {
            Ok(excerpt) => answer(StatusCode::OK, JSON, json(&excerpt)),
            Err(Missing::Unknown) => {
                failure(StatusCode::NOT_FOUND, &format!("no history of `{container}`"))
            }
            Err(Missing::Ambiguous) => {
                let message = format!("`{container}` is the beginning of several ids");
                failure(StatusCode::BAD_REQUEST, &message)
            }
        }
    }

    /// Everything, with rates over a longer time than between two samples.
    fn look_back<B>(&self, request: &Request<B>) -> Answer {
        let window = match query::seconds("window", parameter(request, "window")) {
            Ok(window) => window.unwrap_or_default(),
            Err(message) => return failure(StatusCode::BAD_REQUEST, &message),
        };
        self.with_latest(|shot| {
            let mut snapshot = Formatted::snapshot(shot, self.settings().run.scope);
            snapshot.watched_since = Some(self.started_at);
            let window = self.state.history().window(shot.pair.newer.time, window);
            // Without a history there is the interval between the last two samples.
            if let Some(window) = window {
                snapshot.look_back(&window);
            }
            answer(StatusCode::OK, JSON, json(&snapshot))
        })
    }

    fn stream(&self) -> Answer {
        match self.state.events.subscribe() {
            Some(events) => stream(events),
            None => failure(StatusCode::SERVICE_UNAVAILABLE, "too many streams of events"),
        }
    }

    fn health(&self, overdue_max: f64, first: bool) -> Answer {
        match self.state.latest() {
            None if first => text(StatusCode::SERVICE_UNAVAILABLE, "no sample yet"),
            Some(shot) if shot.overdue() > overdue_max => {
                text(StatusCode::SERVICE_UNAVAILABLE, "samples are overdue")
            }
            _ => text(StatusCode::OK, "ok"),
        }
    }

    fn with_latest(&self, answer: impl FnOnce(&Arc<Published>) -> Answer) -> Answer {
        match self.state.latest() {
            Some(shot) => answer(&shot),
            None => failure(StatusCode::SERVICE_UNAVAILABLE, "no sample yet"),
        }
    }

    /// Forgets what was made of older samples than this one.
    pub(super) fn forget_all_but(&self, shot: &Arc<Published>) {
        self.formatted.borrow_mut().forget_all_but(shot);
    }

    /// The report of a sample, made at most once.
    pub(super) fn report(&self, shot: &Arc<Published>) -> Rc<Report> {
        let scope = self.settings().run.scope;
        self.formatted.borrow_mut().report(shot, scope)
    }
}

/// Whoever sends what is not wanted is not listened to any longer.
fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// A parameter of the query, decoded.
fn parameter<B>(request: &Request<B>, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(request.uri().query()?.as_bytes());
    pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}

fn header_text<B>(request: &Request<B>, name: HeaderName) -> &str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
