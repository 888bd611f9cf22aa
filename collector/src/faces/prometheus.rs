//! `/metrics`: text, `OpenMetrics` or protobuf for Prometheus.

use std::{
    cell::RefCell,
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{self, Poll},
};

use hyper::{
    StatusCode,
    body::{Body, Bytes, Frame, SizeHint},
    header,
};

use crate::{
    faces::{
        body::{compressed, describe},
        cache::SampleCache,
    },
    output::{
        prometheus::{Chunks, Exposition, Options, Scrape, Selection},
        select,
    },
    published::Published,
    server::{
        Context, Face, Request, Route,
        answer::{Answer, answer, bytes, failure},
        query,
    },
};

/// Scrapes of one sample that are kept for further scrapers; more are made for each request anew.
const SCRAPES_MAX: usize = 8;

/// `/metrics`.
pub(super) struct Prometheus {
    context: Rc<Context>,
    cache: RefCell<SampleCache<Made>>,
}

/// What was made of a sample. Many scrapers share it.
#[derive(Default)]
struct Made {
    scrapes: HashMap<Kind, Arc<Scrape>>,
    compressed: HashMap<Kind, Bytes>,
}

/// What distinguishes scrapes of one sample.
type Kind = (Exposition, Selection);

impl Face for Prometheus {
    const ROUTES: &'static [Route<Self>] =
        &[Route::get("/metrics", Self::metrics, "metrics for Prometheus")];

    fn sampled(&self, latest: &Arc<Published>) -> bool {
        self.cache.borrow_mut().drop_older(latest)
    }
}

impl Prometheus {
    pub(super) fn new(context: &Rc<Context>) -> Self {
        Self { context: Rc::clone(context), cache: RefCell::default() }
    }

    fn metrics(&self, request: Request) -> Answer {
        let Some(published) = self.context.shared.published() else {
            return failure(StatusCode::SERVICE_UNAVAILABLE, "no sample yet");
        };
        let exposition = query::exposition(request.header(header::ACCEPT));
        let selection = match self.selection(&request.query_all("collect[]")) {
            Ok(selection) => selection,
            Err(message) => return failure(StatusCode::BAD_REQUEST, &message),
        };
        let gzip = request.accepts_gzip();
        let content_type = exposition.content_type();
        let mut cache = self.cache.borrow_mut();
        let made = cache.of(&published);
        let kind = (exposition, selection);
        let scrape = made.scrapes.get(&kind).cloned();
        let scrape = scrape.unwrap_or_else(|| self.scrape(&published, &kind));
        let chunks = Chunks::new(Arc::clone(&scrape));
        let body = made.compressed.get(&kind).cloned();
        let is_kept = made.scrapes.contains_key(&kind) || made.scrapes.len() < SCRAPES_MAX;
        if is_kept {
            made.scrapes.insert(kind.clone(), scrape);
        }
        let mut answer = if gzip {
            let body = body.unwrap_or_else(|| compressed(|out| chunks.write(out)).into());
            if is_kept {
                made.compressed.insert(kind, body.clone());
            }
            bytes(StatusCode::OK, content_type, body)
        } else {
            answer(StatusCode::OK, content_type, ScrapeBody(chunks))
        };
        describe(answer.headers_mut(), gzip);
        answer
    }

    /// The configured metrics; only the named ones of them, if there are names.
    fn selection(&self, names: &[String]) -> Result<Selection, String> {
        let configured = self.context.config().run.metrics.selection.clone();
        if names.is_empty() {
            return Ok(configured);
        }
        let patterns = names.iter().map(|name| name.parse()).collect::<Result<Vec<_>, _>>()?;
        Ok(configured.only(&patterns))
    }

    /// What a scrape is written from. Containers are derived one by one, so that there is never a
    /// report of all of them in memory.
    fn scrape(&self, published: &Arc<Published>, (exposition, selection): &Kind) -> Arc<Scrape> {
        let run = &self.context.config().run;
        let mut options = Options { selection: selection.clone(), ..run.metrics.clone() };
        options.histograms &= published.sampling.histograms;
        let builder = published.pair.builder(options.extent());
        let containers = builder.containers(|kind| select::in_scope(kind, run.scope));
        let own = self.context.own(published);
        Scrape::new(&builder.frame, containers, &own, &options, *exposition).into()
    }
}

/// A scrape that is written while the client reads it.
struct ScrapeBody(Chunks);

impl Body for ScrapeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut chunk = Vec::with_capacity(Chunks::BYTES_MAX);
        self.0.next(&mut chunk);
        Poll::Ready((!chunk.is_empty()).then(|| Ok(Frame::data(chunk.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.length() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.length() as u64)
    }
}
