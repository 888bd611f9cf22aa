//! Faces and their routes.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use anyhow::{Context as _, Result};
use hyper::{
    StatusCode,
    body::Bytes,
    header::{self, HeaderValue},
};

use crate::{
    published::{Latest, Published},
    server::{
        answer::{Answer, failure, failure_in, text},
        request::Request,
    },
};

/// Listeners that serve the same faces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ListenerGroup {
    /// The addresses of `--listen` and the socket of `--socket`.
    Main,
    /// Those of `--docker-api-listen` and `--docker-api-socket`.
    Docker,
}

impl ListenerGroup {
    /// A failure, as the clients of these listeners expect it.
    pub(crate) fn failure(self, status: StatusCode, message: &str) -> Answer {
        match self {
            Self::Main => failure(status, message),
            Self::Docker => failure_in("message", status, message),
        }
    }
}

/// A way to present what the daemon knows over HTTP: a set of routes.
///
/// All faces are on the server's one thread. A handler must not block.
pub(crate) trait Face: Sized + 'static {
    /// Which listeners serve it.
    const SERVED_ON: &'static [ListenerGroup] = &[ListenerGroup::Main];

    /// What it answers.
    const ROUTES: &'static [Route<Self>];

    /// There is a new sample. Drops what was made of older ones; returns whether that freed memory.
    fn sampled(&self, _latest: &Arc<Published>) -> bool {
        false
    }

    /// Receipts, or a sample with its receipts, were published. Called before [`Face::sampled`].
    fn receipts_published(&self, _latest: &Latest) {}
}

/// A path, and what answers it.
pub(crate) struct Route<F> {
    /// In the notation of `matchit`: `{name}` takes one segment, `{*name}` all that are left.
    pub(crate) path: &'static str,
    /// The allowed methods.
    pub(crate) methods: &'static [&'static str],
    /// A line for the index at `/`.
    pub(crate) summary: &'static str,
    /// Whether clients need a key, if there are keys. Without one, it must disclose nothing.
    pub(crate) needs_key: bool,
    /// The longest accepted body of a request, in bytes.
    pub(crate) body_bytes_max: usize,
    /// Answers a request.
    pub(crate) handler: fn(&F, Request) -> Answer,
}

impl<F> Route<F> {
    /// A route for `GET` and `HEAD`.
    pub(crate) const fn get(
        path: &'static str,
        handler: fn(&F, Request) -> Answer,
        summary: &'static str,
    ) -> Self {
        let methods = &["GET", "HEAD"];
        Self { path, methods, summary, needs_key: true, body_bytes_max: 0, handler }
    }
}

/// A route without the type of its face.
pub(super) struct Endpoint {
    methods: &'static [&'static str],
    pub(super) needs_key: bool,
    pub(super) body_bytes_max: usize,
    pub(super) handler: Box<dyn Fn(Request) -> Answer>,
}

/// What a path leads to.
pub(super) enum Found<'r> {
    Endpoint(&'r Endpoint, Vec<(String, String)>),
    /// The path is there for these methods only.
    WrongMethod(String),
    Nothing,
}

/// All routes of all faces.
#[derive(Default)]
pub(crate) struct Router {
    endpoints: Vec<Endpoint>,
    paths: Vec<(ListenerGroup, &'static str, usize)>,
    index: Vec<(&'static str, &'static str)>,
    tables: HashMap<ListenerGroup, matchit::Router<Vec<usize>>>,
    front_page: Option<FrontPage>,
    sampled: Vec<OnSample>,
    receipts_published: Vec<OnReceipts>,
}

type FrontPage = Box<dyn Fn(&Request) -> Option<Answer>>;
type OnSample = Box<dyn Fn(&Arc<Published>) -> bool>;
type OnReceipts = Box<dyn Fn(&Latest)>;

impl Router {
    /// Adds a face.
    #[must_use]
    pub(crate) fn with<F: Face>(self, face: F) -> Self {
        self.with_shared(Rc::new(face))
    }

    fn with_shared<F: Face>(mut self, face: Rc<F>) -> Self {
        for route in F::ROUTES {
            let (owner, handler) = (Rc::clone(&face), route.handler);
            self.add(
                F::SERVED_ON,
                route,
                Box::new(move |request: Request| handler(&owner, request)),
            );
        }
        let (one, other) = (Rc::clone(&face), face);
        self.sampled.push(Box::new(move |published| one.sampled(published)));
        self.receipts_published.push(Box::new(move |latest| other.receipts_published(latest)));
        self
    }

    /// Adds a face that also answers `/` to some clients.
    #[must_use]
    pub(crate) fn with_front_page<F: Face>(
        self,
        face: F,
        front_page: fn(&F, &Request) -> Option<Answer>,
    ) -> Self {
        let face = Rc::new(face);
        let owner = Rc::clone(&face);
        let front_page: FrontPage = Box::new(move |request| front_page(&owner, request));
        Self { front_page: Some(front_page), ..self.with_shared(face) }
    }

    /// All faces are there: adds the index at `/`.
    ///
    /// # Errors
    ///
    /// If two routes contradict each other.
    pub(crate) fn finish(mut self) -> Result<Self> {
        let width = self.index.iter().map(|(path, _)| path.len()).max().unwrap_or_default();
        let lines = self.index.iter().map(|(path, summary)| format!("{path:width$}  {summary}\n"));
        let heading = "tare: what every container on this host uses\n\n";
        let page = [heading.to_owned(), lines.collect()].concat();
        let index = Route::<()>::get("/", |(), _| text(StatusCode::NOT_FOUND, ""), "this list");
        // It discloses nothing of the host.
        let index = Route { needs_key: false, ..index };
        let page = Bytes::from(page);
        let front_page = self.front_page.take();
        let handler = move |request: Request| {
            let front_page = front_page.as_ref().and_then(|front_page| front_page(&request));
            let mut answer = front_page.unwrap_or_else(|| text(StatusCode::OK, page.clone()));
            answer
                .headers_mut()
                .insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
            answer
        };
        self.add(&[ListenerGroup::Main], &index, Box::new(handler));
        let mut grouped: HashMap<_, Vec<usize>> = HashMap::new();
        for (group, path, endpoint) in std::mem::take(&mut self.paths) {
            grouped.entry((group, path)).or_default().push(endpoint);
        }
        for ((group, path), endpoints) in grouped {
            let table = self.tables.entry(group).or_default();
            table.insert(path, endpoints).with_context(|| format!("the route {path}"))?;
        }
        Ok(self)
    }

    fn add<F>(
        &mut self,
        groups: &[ListenerGroup],
        route: &Route<F>,
        handler: Box<dyn Fn(Request) -> Answer>,
    ) {
        let Route { path, methods, summary, needs_key, body_bytes_max, .. } = *route;
        let endpoint = self.endpoints.len();
        self.endpoints.push(Endpoint { methods, needs_key, body_bytes_max, handler });
        self.paths.extend(groups.iter().map(|group| (*group, path, endpoint)));
        if groups.contains(&ListenerGroup::Main) {
            self.index.push((path, summary));
        }
    }

    pub(super) fn find(&self, group: ListenerGroup, method: &str, path: &str) -> Found<'_> {
        let table = self.tables.get(&group);
        let Some(matched) = table.and_then(|table| table.at(path).ok()) else {
            return Found::Nothing;
        };
        let endpoints = matched.value.iter().filter_map(|index| self.endpoints.get(*index));
        if let Some(endpoint) = endpoints.clone().find(|one| one.methods.contains(&method)) {
            let params = matched.params.iter();
            let params = params.map(|(name, value)| (name.to_owned(), value.to_owned()));
            return Found::Endpoint(endpoint, params.collect());
        }
        let allowed: Vec<&str> = endpoints.flat_map(|one| one.methods.iter().copied()).collect();
        Found::WrongMethod(allowed.join(", "))
    }

    /// Passes a new sample to all faces; whether that freed memory.
    pub(super) fn sampled(&self, latest: &Arc<Published>) -> bool {
        self.sampled.iter().fold(false, |freed, sampled| sampled(latest) | freed)
    }

    /// Passes receipts to all faces.
    pub(super) fn receipts_published(&self, latest: &Latest) {
        self.receipts_published.iter().for_each(|published| published(latest));
    }
}
