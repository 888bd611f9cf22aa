//! Bodies that are the same for everyone who asks between two samples: each is written once, when
//! the first one asks.

use std::{collections::HashMap, io::Write as _, rc::Rc, sync::Arc};

use flate2::{Compression, write::GzEncoder};
use hyper::body::Bytes;
use serde::Serialize;

use crate::{
    config::Run,
    daemon::shot::Shot,
    model::Report,
    output::{
        Scope,
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

/// The bodies made of the latest sample.
#[derive(Default)]
pub(super) struct Formatted {
    shot: Option<Arc<Shot>>,
    report: Option<Rc<Report>>,
    bodies: HashMap<(Page, bool), Bytes>,
    /// Bodies of the sample before, whose memory is used again when nobody reads them any more.
    spares: Vec<Bytes>,
}

impl Formatted {
    /// The report of a sample.
    pub(super) fn report(&mut self, shot: &Arc<Shot>, scope: Scope) -> Rc<Report> {
        self.turn_to(shot);
        let make = || {
            let mut report = shot.picture.report();
            select::narrow(&mut report, scope);
            Rc::new(report)
        };
        Rc::clone(self.report.get_or_insert_with(make))
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
        let report = self.report(shot, run.scope);
        if let Some(body) = self.bodies.get(&(page, gzip)) {
            return body.clone();
        }
        let plain = match self.bodies.get(&(page, false)) {
            Some(body) => body.clone(),
            None => {
                let body = Bytes::from(write(page, &report, run, own, self.spare()));
                self.bodies.insert((page, false), body.clone());
                body
            }
        };
        if !gzip {
            return plain;
        }
        let body = Bytes::from(compress(&plain, self.spare()));
        self.bodies.insert((page, true), body.clone());
        body
    }

    fn turn_to(&mut self, shot: &Arc<Shot>) {
        if self.shot.as_ref().is_none_or(|known| !Arc::ptr_eq(known, shot)) {
            self.shot = Some(Arc::clone(shot));
            self.report = None;
            self.spares = self.bodies.drain().map(|(_, body)| body).collect();
        }
    }

    /// An empty buffer, if there is one with the memory of a body that nobody reads any more.
    fn spare(&mut self) -> Vec<u8> {
        while let Some(spare) = self.spares.pop() {
            if let Ok(spare) = spare.try_into_mut() {
                let mut buffer = Vec::from(spare);
                buffer.clear();
                return buffer;
            }
        }
        Vec::new()
    }
}

/// A compact JSON document. Numbers that JSON cannot hold become `null`.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    json_into(value, Vec::new())
}

fn json_into(value: &impl Serialize, mut out: Vec<u8>) -> Vec<u8> {
    if let Err(error) = serde_json::to_writer(&mut out, value) {
        // Types of the contract have text for keys, and memory does not fail to be written.
        tracing::error!(%error, "cannot write JSON");
    }
    out.push(b'\n');
    out
}

fn write(
    page: Page,
    report: &Report,
    run: &Run,
    own: impl FnOnce() -> Own,
    mut out: Vec<u8>,
) -> Vec<u8> {
    match page {
        Page::Metrics(exposition) => {
            prometheus::write(report, &own(), &run.metrics, exposition, &mut out);
            out
        }
        Page::Snapshot => json_into(report, out),
        Page::Containers => json_into(&report.containers, out),
        Page::Ended => json_into(&report.ended, out),
        Page::Host => json_into(&report.host, out),
        Page::Sources => json_into(&report.sources, out),
    }
}

fn compress(plain: &[u8], out: Vec<u8>) -> Vec<u8> {
    // Names and labels repeat: the fastest level already takes most of them out.
    let mut encoder = GzEncoder::new(out, Compression::fast());
    if let Err(error) = encoder.write_all(plain).and_then(|()| encoder.try_finish()) {
        tracing::error!(%error, "cannot compress");
    }
    std::mem::take(encoder.get_mut())
}
