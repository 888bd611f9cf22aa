//! Faces: the ways to present what the daemon knows over HTTP. [`server`](crate::server) says how
//! to add one.

mod body;
mod cache;
mod events;
mod json;
mod prometheus;
mod status;

use std::rc::Rc;

use anyhow::Result;

use self::{events::Events, json::Json, prometheus::Prometheus, status::Status};
use crate::server::{Context, Router};

/// All faces.
///
/// # Errors
///
/// If the routes of two faces contradict each other.
pub(crate) fn router(context: &Rc<Context>) -> Result<Router> {
    Router::default()
        .with(Prometheus::new(context))
        .with(Status::new(context))
        .with(Json::new(context))
        .with(Events::new(context))
        .finish()
}
