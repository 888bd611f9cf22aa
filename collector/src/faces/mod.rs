//! Faces: the ways to present what the daemon knows over HTTP. [`server`](crate::server) says how
//! to add one.

mod acadock;
mod body;
mod cache;
mod cadvisor;
mod changes;
mod docker;
mod event_buffer;
mod events;
mod json;
mod live;
mod page;
mod processes;
mod prometheus;
mod recorded;
mod status;

use std::rc::Rc;

use anyhow::Result;

use self::{
    acadock::Acadock, cadvisor::Cadvisor, docker::Docker, events::Events, json::Json, live::Live,
    page::Page, prometheus::Prometheus, status::Status,
};
use crate::{
    config::{AcadockApi, CadvisorApi},
    server::{Context, Router},
};

/// All faces.
///
/// # Errors
///
/// If the routes of two faces contradict each other.
pub(crate) fn router(context: &Rc<Context>) -> Result<Router> {
    let router = Router::default()
        .with(Prometheus::new(context))
        .with(Status::new(context))
        .with(Json::new(context))
        .with(Events::new(context))
        .with(Live::new(context))
        .with_front_page(Page::new(), Page::list);
    // Without listeners it would follow containers for nothing.
    let has_docker = context.config().run.docker_api.is_on();
    let router = if has_docker { router.with(Docker::new(context)) } else { router };
    let router = match context.config().run.acadock_api {
        AcadockApi::Off => router,
        view => router.with(Acadock::new(context, view)),
    };
    let router = match context.config().run.cadvisor_api {
        CadvisorApi::Off => router,
        CadvisorApi::On => router.with(Cadvisor::new(context)),
    };
    router.finish()
}
