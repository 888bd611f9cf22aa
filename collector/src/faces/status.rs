//! Whether the daemon works, and the description of its API.

use std::rc::Rc;

use hyper::StatusCode;

use crate::server::{
    Context, Face, Request, Route,
    answer::{Answer, JSON, bytes, text},
};

/// Without a sample for so many intervals the sampling loop hangs.
const HANGING_INTERVALS: f64 = 30.0;

/// Without a sample for so many intervals numbers are not fresh.
const STALE_INTERVALS: f64 = 3.0;

const OPENAPI: &str = include_str!("openapi.json");

/// `/healthz`, `/readyz`, `/api/openapi.json`.
pub(super) struct Status {
    context: Rc<Context>,
}

impl Face for Status {
    const ROUTES: &'static [Route<Self>] = &[
        Route {
            needs_key: false,
            ..Route::get("/healthz", Self::health, "whether samples are taken")
        },
        Route {
            needs_key: false,
            ..Route::get("/readyz", Self::readiness, "whether there is a fresh sample")
        },
        Route::get("/api/openapi.json", Self::api, "this list for programs"),
    ];
}

impl Status {
    pub(super) fn new(context: &Rc<Context>) -> Self {
        Self { context: Rc::clone(context) }
    }

    fn health(&self, _: Request) -> Answer {
        // Without a first sample the loop is still starting.
        self.unless_overdue(HANGING_INTERVALS)
    }

    fn readiness(&self, _: Request) -> Answer {
        match self.context.shared.published() {
            None => text(StatusCode::SERVICE_UNAVAILABLE, "no sample yet\n"),
            Some(_) => self.unless_overdue(STALE_INTERVALS),
        }
    }

    fn unless_overdue(&self, intervals_max: f64) -> Answer {
        match self.context.shared.published() {
            Some(published) if published.overdue() > intervals_max => {
                text(StatusCode::SERVICE_UNAVAILABLE, "samples are overdue\n")
            }
            _ => text(StatusCode::OK, "ok\n"),
        }
    }

    fn api(&self, _: Request) -> Answer {
        bytes(StatusCode::OK, JSON, OPENAPI)
    }
}
