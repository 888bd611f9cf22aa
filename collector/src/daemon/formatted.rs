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
    daemon::shot::Shot,
    model::{Extent, Report, Snapshot},
    output::{
        Scope,
        filter::Filters,
        prometheus::{self, Exposition, Own},
        select,
    },
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
    shot: Option<Arc<Shot>>,
    report: Option<Rc<Report>>,
    bodies: HashMap<(Page, bool), Bytes>,
}

impl Formatted {
    /// The report of a sample.
    pub(super) fn report(&mut self, shot: &Arc<Shot>, scope: Scope) -> Rc<Report> {
        let make = || Rc::new(extract(shot, scope, Extent::WHOLE));
        Rc::clone(self.of(shot).report.get_or_insert_with(make))
    }

    /// A snapshot that looks back to the sample before.
    pub(super) fn snapshot(shot: &Shot, scope: Scope) -> Snapshot {
        let mut snapshot = shot.picture.snapshot();
        select::narrow(&mut snapshot.report, scope, &Filters::default());
        snapshot.prune();
        snapshot
    }

    /// A body, compressed if that is wanted.
    pub(super) fn body(
        &mut self,
        shot: &Arc<Shot>,
        page: Page,
        gzip: bool,
        run: &Run,
        own: impl FnOnce() -> Own,
    ) -> Bytes {
        if let Some(body) = self.of(shot).bodies.get(&(page, gzip)) {
            return body.clone();
        }
        let report = match page {
            Page::Metrics(_) => Rc::new(extract(shot, run.scope, run.metrics.extent())),
            Page::Containers | Page::Ended => self.report(shot, run.scope),
            // A snapshot is made of two reports of its own.
            Page::Host | Page::Sources | Page::Snapshot => {
                Rc::new(extract(shot, run.scope, Extent::NO_ROWS))
            }
        };
        let body = {
            let mut options = run.metrics.clone();
            options.histograms &= shot.sampling.histograms;
            let page = Writer { page, shot, scope: run.scope, report: &report, options: &options };
            Bytes::from(page.body(own, gzip))
        };
        self.bodies.insert((page, gzip), body.clone());
        body
    }

    /// What was made of this sample, and nothing of another.
    fn of(&mut self, shot: &Arc<Shot>) -> &mut Self {
        if self.shot.as_ref().is_none_or(|known| !Arc::ptr_eq(known, shot)) {
            *self = Self { shot: Some(Arc::clone(shot)), ..Self::default() };
        }
        self
    }

    /// Forgets everything if it is of an older sample than this one. Between two scrapes nothing is
    /// held that only scrapes need.
    pub(super) fn forget_all_but(&mut self, shot: &Arc<Shot>) {
        if self.shot.as_ref().is_some_and(|known| !Arc::ptr_eq(known, shot)) {
            *self = Self::default();
            give_memory_back();
        }
    }
}

fn extract(shot: &Shot, scope: Scope, extent: Extent) -> Report {
    let mut report = shot.picture.extract(extent);
    select::narrow(&mut report, scope, &Filters::default());
    report
}

/// A compact JSON document. Numbers that JSON cannot hold become `null`.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    tell(json_to(value, &mut out));
    out
}

/// A body, and what it is made of.
struct Writer<'a> {
    page: Page,
    shot: &'a Shot,
    scope: Scope,
    report: &'a Report,
    options: &'a prometheus::Options,
}

impl Writer<'_> {
    fn body(&self, own: impl FnOnce() -> Own, gzip: bool) -> Vec<u8> {
        let mut plain = Vec::new();
        if !gzip {
            tell(self.write(own, &mut plain));
            return plain;
        }
        // Names and labels repeat: the fastest level already takes most of them out.
        let mut encoder = GzEncoder::new(plain, Compression::fast());
        let written = self.write(own, &mut encoder);
        tell(written.and_then(|()| encoder.try_finish()));
        std::mem::take(encoder.get_mut())
    }

    fn write(&self, own: impl FnOnce() -> Own, out: &mut impl io::Write) -> io::Result<()> {
        let Self { page, shot, scope, report, options } = self;
        match page {
            Page::Metrics(exposition) => {
                prometheus::write(report, &own(), options, *exposition, out)
            }
            Page::Snapshot => {
                let watched_since = own().process.started_at;
                json_to(&Snapshot { watched_since, ..Formatted::snapshot(shot, *scope) }, out)
            }
            Page::Containers => json_to(&report.containers, out),
            Page::Ended => json_to(&report.ended, out),
            Page::Host => json_to(&report.host, out),
            Page::Sources => json_to(&report.sources, out),
        }
    }
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
