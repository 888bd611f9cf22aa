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
        prometheus::{Chunks, Exposition, Scrape},
        select,
    },
    published::Published,
    server::{
        Context, Face, Request, Route,
        answer::{Answer, answer, bytes, failure},
        query,
    },
};

/// `/metrics`.
pub(super) struct Prometheus {
    context: Rc<Context>,
    cache: RefCell<SampleCache<Made>>,
}

/// What was made of a sample. Many scrapers share it.
#[derive(Default)]
struct Made {
    scrapes: HashMap<Exposition, Arc<Scrape>>,
    compressed: HashMap<Exposition, Bytes>,
}

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
        let gzip = request.accepts_gzip();
        let content_type = exposition.content_type();
        let mut cache = self.cache.borrow_mut();
        let made = cache.of(&published);
        let scrape = made.scrapes.entry(exposition);
        let scrape = scrape.or_insert_with(|| self.scrape(&published, exposition));
        let chunks = Chunks::new(Arc::clone(scrape));
        let mut answer = if gzip {
            let body = made.compressed.entry(exposition);
            let body = body.or_insert_with(|| compressed(|out| chunks.write(out)).into());
            bytes(StatusCode::OK, content_type, body.clone())
        } else {
            answer(StatusCode::OK, content_type, ScrapeBody(chunks))
        };
        describe(answer.headers_mut(), gzip);
        answer
    }

    /// What a scrape is written from. Containers are derived one by one, so that there is never a
    /// report of all of them in memory.
    fn scrape(&self, published: &Arc<Published>, exposition: Exposition) -> Arc<Scrape> {
        let run = &self.context.config().run;
        let mut options = run.metrics.clone();
        options.histograms &= published.sampling.histograms;
        let builder = published.pair.builder(options.extent());
        let containers = builder.containers(|kind| select::in_scope(kind, run.scope));
        let own = self.context.own(published);
        Scrape::new(&builder.frame, containers, &own, &options, exposition).into()
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
