//! Bodies that are the same for everyone who asks between two samples: each is written once, when
//! the first one asks.

use std::{
    collections::HashMap,
    io::{self, Write as _},
    rc::Rc,
    sync::Arc,
};

use flate2::{Compression, write::GzEncoder};
use hyper::body::Bytes;
use serde::Serialize;

use crate::{
    collector::give_memory_back,
    config::Run,
    daemon::{answers::Pages, published::Published},
    model::{Report, Snapshot},
    output::{
        Scope,
        filter::Filters,
        prometheus::{self, Exposition, Scrape},
        select,
    },
    report::ReportOptions,
    telemetry::Telemetry,
};

/// A body that depends on the sample only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Page {
    Metrics(Exposition),
    Snapshot,
    Containers,
    Ended,
    Host,
    Sources,
}

/// What was made of the latest sample.
#[derive(Default)]
pub(super) struct Formatted {
    shot: Option<Arc<Published>>,
    report: Option<Rc<Report>>,
    scrapes: HashMap<Exposition, Arc<Scrape>>,
    bodies: HashMap<(Page, bool), Bytes>,
}

impl Formatted {
    /// The report of a sample.
    pub(super) fn report(&mut self, shot: &Arc<Published>, scope: Scope) -> Rc<Report> {
        let make = || {
            let mut report = shot.pair.report();
            select::retain_rows(&mut report, scope, &Filters::default());
            Rc::new(report)
        };
        Rc::clone(self.of(shot).report.get_or_insert_with(make))
    }

    /// A snapshot that looks back to the sample before.
    pub(super) fn snapshot(shot: &Published, scope: Scope) -> Snapshot {
        let mut snapshot = shot.pair.snapshot();
        select::retain_rows(&mut snapshot.report, scope, &Filters::default());
        snapshot.prune();
        snapshot
    }

    /// A body, compressed if that is wanted.
    pub(super) fn body(
        &mut self,
        shot: &Arc<Published>,
        page: Page,
        gzip: bool,
        run: &Run,
        telemetry: impl FnOnce() -> Telemetry,
    ) -> Pages {
        if let Some(body) = self.of(shot).bodies.get(&(page, gzip)) {
            return body.clone().into();
        }
        let body = match page {
            Page::Metrics(exposition) => {
                let scrape = self.scrape(shot, exposition, run, telemetry);
                let pages = prometheus::Chunks::new(scrape);
                if !gzip {
                    return pages.into();
                }
                compressed(|out| pages.write(out))
            }
            _ => self.json(shot, page, gzip, run.scope, telemetry),
        };
        let body = Bytes::from(body);
        self.bodies.insert((page, gzip), body.clone());
        body.into()
    }

    /// What a scrape is written of. Containers are derived one after the other, so that a report of
    /// all of them is never there.
    fn scrape(
        &mut self,
        shot: &Arc<Published>,
        exposition: Exposition,
        run: &Run,
        telemetry: impl FnOnce() -> Telemetry,
    ) -> Arc<Scrape> {
        let make = || {
            let mut options = run.metrics.clone();
            options.histograms &= shot.sampling.histograms;
            let draft = shot.pair.draft(options.extent());
            let containers = draft.containers(|kind| select::in_scope(kind, run.scope));
            Arc::new(Scrape::new(&draft.frame, containers, &telemetry(), &options, exposition))
        };
        Arc::clone(self.of(shot).scrapes.entry(exposition).or_insert_with(make))
    }

    fn json(
        &mut self,
        shot: &Arc<Published>,
        page: Page,
        gzip: bool,
        scope: Scope,
        telemetry: impl FnOnce() -> Telemetry,
    ) -> Vec<u8> {
        // Made of two reports of its own.
        if page == Page::Snapshot {
            let watched_since = telemetry().process.started_at;
            let snapshot = Snapshot { watched_since, ..Self::snapshot(shot, scope) };
            return document(&snapshot, gzip);
        }
        match page {
            Page::Containers => document(&self.report(shot, scope).containers, gzip),
            Page::Ended => document(&self.report(shot, scope).ended, gzip),
            Page::Host => document(&shot.pair.draft(ReportOptions::FRAME).frame.host, gzip),
            _ => document(&shot.pair.draft(ReportOptions::FRAME).frame.sources, gzip),
        }
    }

    /// What was made of this sample, and nothing of another.
    fn of(&mut self, shot: &Arc<Published>) -> &mut Self {
        if self.shot.as_ref().is_none_or(|known| !Arc::ptr_eq(known, shot)) {
            *self = Self { shot: Some(Arc::clone(shot)), ..Self::default() };
        }
        self
    }

    /// Forgets everything if it is of an older sample than this one. Between two scrapes nothing is
    /// held that only scrapes need.
    pub(super) fn forget_all_but(&mut self, shot: &Arc<Published>) {
        if self.shot.as_ref().is_some_and(|known| !Arc::ptr_eq(known, shot)) {
            *self = Self::default();
            give_memory_back();
        }
    }
}

/// A compact JSON document. Numbers that JSON cannot hold become `null`.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    document(value, false)
}

fn document(value: &impl Serialize, gzip: bool) -> Vec<u8> {
    if gzip {
        return compressed(|out| json_to(value, out));
    }
    let mut out = Vec::new();
    tell(json_to(value, &mut out));
    out
}

fn compressed(write: impl FnOnce(&mut GzEncoder<Vec<u8>>) -> io::Result<()>) -> Vec<u8> {
    // Names and labels repeat: the fastest level already takes most of them out.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = write(&mut encoder);
    tell(written.and_then(|()| encoder.try_finish()));
    std::mem::take(encoder.get_mut())
}

fn json_to(value: &impl Serialize, out: &mut impl io::Write) -> io::Result<()> {
    // Many small pieces go through one buffer on their way to be compressed.
    let mut out = io::BufWriter::new(out);
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Memory does not fail to be written, and the types of the contract have text for keys.
fn tell(written: io::Result<()>) {
    if let Err(error) = written {
        tracing::error!(%error, "cannot write a body");
    }
}
